"""Damage, traps and refusals of the default decoder."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video_clips import Encoding, clip_file, numbered_picture, remux, write_clip
from wmkit.errors import ClipError
from wmkit.video import DecodeFacts, VideoConfig
from wmkit.video.frames import DecodeLimits
from wmkit.video.guard import IndexBuilder
from wmkit.video.pyav import PyavDecoder, probe

SIZE = (160, 96)
CONFIG = VideoConfig()


def index(path: Path) -> DecodeFacts:
    return PyavDecoder().index(clip_file(path), CONFIG)


def code_of(path: Path) -> str:
    with pytest.raises(ClipError) as caught:
        index(path)
    assert caught.value.stage == "decode"
    assert caught.value.message.startswith(f"{path.name}: expected")
    assert "\n" not in caught.value.message
    return caught.value.code


def flipped(path: Path, count: int) -> Path:
    """The clip with `count` bits of its packets turned over, headers untouched."""
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 2000, data.index(b"moov") - 100
    for place in np.random.default_rng(0).integers(start, end, count):
        data[place] ^= 1 << int(place % 8)
    damaged = path.with_name("flipped.mp4")
    damaged.write_bytes(data)
    return damaged


def test_flipped_bits_are_flagged_and_left_out(tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "sound.mp4", range(150), SIZE)
    assert not index(sound).corrupt.any()
    facts = index(flipped(sound, 12))
    flagged = int(facts.corrupt.sum())
    # a flip may also make its picture undecodable: seen once in some hundred runs, the decoder's choice, not ours
    assert 150 - 12 <= len(facts.pts_s) <= 150
    # 12 flips hit at most 12 pictures; a flip in a few bytes that no decoder checks goes unseen
    assert 4 <= flagged <= 12
    again = index(flipped(sound, 12))
    np.testing.assert_array_equal(facts.corrupt, again.corrupt)


def test_truncated_file_keeps_what_decodes(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", range(60), SIZE)
    fast = remux(whole, tmp_path / "fast.mp4", after=("-movflags", "+faststart"))
    data = fast.read_bytes()
    fast.write_bytes(data[: len(data) * 6 // 10])
    facts = index(fast)
    assert 20 < len(facts.pts_s) < 60
    assert facts.errors
    np.testing.assert_allclose(facts.pts_s, np.arange(len(facts.pts_s)) / 30, atol=1e-9)


def test_second_pass_of_a_damaged_file_yields_the_index(tmp_path: Path) -> None:
    path = flipped(write_clip(tmp_path / "sound.mp4", range(60), SIZE), 8)
    facts = index(path)
    pictures = list(PyavDecoder().frames(clip_file(path), CONFIG, facts, np.ones(len(facts.pts_s), dtype=np.bool_)))
    assert len(pictures) == len(facts.pts_s)
    assert {picture.shape for picture in pictures} == {(96, 160, 3)}


def test_a_file_exchanged_between_the_passes_is_an_error(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", range(20), SIZE)
    facts = index(path)
    keep = np.ones(20, dtype=np.bool_)
    for ticks in (range(19), range(21), range(0, 40, 2)):
        write_clip(path, ticks, SIZE)
        with pytest.raises(ClipError) as caught:
            list(PyavDecoder().frames(clip_file(path), CONFIG, facts, keep))
        assert caught.value.code == "file_changed"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"This is not a video.\n", "not_a_video"),
        ("Gr\u00fc\u00dfe aus K\u00f6ln, ".encode() * 200, "not_a_video"),
        (b"<!DOCTYPE html><title>404</title>", "not_a_video"),
        (b"\x00" * 5000, "not_a_video"),
        (bytes(range(256)) * 20, "not_a_video"),
    ],
)
def test_files_that_are_no_video(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert code_of(path) == code


def test_playlists_open_nothing_else(tmp_path: Path) -> None:
    """A playlist or script named .mp4 must not make a worker read another file, whatever follows its first line."""
    write_clip(tmp_path / "secret.mp4", range(5), SIZE)
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
    ):
        for tail in (b"", b"\x00\xff\x80binary"):
            path = tmp_path / "clip.mp4"
            path.write_bytes(text.encode() + tail)
            assert code_of(path) == "not_a_video"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert code_of(tmp_path / "gone.mp4") == "unreadable"
    assert code_of(tmp_path) == "unreadable"


@pytest.mark.parametrize(
    ("option", "code"),
    [
        (("-display_hflip",), "mirrored"),
        (("-display_vflip",), "mirrored"),
        (("-display_rotation:v:0", "90", "-display_hflip"), "mirrored"),
        (("-display_rotation:v:0", "45"), "odd_rotation"),
    ],
)
def test_display_matrices_that_are_no_quarter_turn(tmp_path: Path, option: tuple[str, ...], code: str) -> None:
    """FFmpeg's angle calls a horizontal mirror a half turn: only the matrix tells."""
    path = write_clip(tmp_path / "clip.mp4", range(3), SIZE)
    assert code_of(remux(path, tmp_path / "turned.mp4", before=option)) == code


def test_size_change_in_the_stream(tmp_path: Path) -> None:
    """Two elementary streams glued together change the picture size half-way."""
    parts = []
    for name, size in (("a", (160, 96)), ("b", (96, 64))):
        clip = write_clip(tmp_path / f"{name}.mp4", range(5), size)
        parts.append(remux(clip, tmp_path / f"{name}.h264").read_bytes())
    glued = tmp_path / "glued.h264"
    glued.write_bytes(b"".join(parts))
    assert code_of(glued) == "size_changes"


def test_cover_art_is_no_video_stream(tmp_path: Path) -> None:
    """A song with a picture has a video stream that no player plays."""
    import av

    song = tmp_path / "song.mp3"
    with av.open(str(song), "w") as container:
        stream = container.add_stream("mp3", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))  # type: ignore[arg-type]
        container.mux(stream.encode(None))  # type: ignore[arg-type]
    assert code_of(song) == "no_video_stream"
    cover = _png(tmp_path / "cover.png")
    covered = remux(
        song, tmp_path / "covered.mp3", before=("-i", str(cover)), after=("-map", "0", "-map", "1", "-c:v", "copy")
    )
    assert code_of(covered) == "no_video_stream"


def _png(path: Path) -> Path:
    import cv2

    cv2.imwrite(str(path), numbered_picture(1, *SIZE))
    return path


def test_raw_stream_takes_the_rate_that_its_bitstream_states(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", range(12), SIZE, Encoding(time_base=Fraction(1, 24)))
    raw = remux(clip, tmp_path / "clip.h264")
    facts = index(raw)
    stated = probe(clip_file(raw), CONFIG)
    assert len(facts.errors) == 1
    assert "no timestamps" in facts.errors[0]
    # x264 writes 24 frames a second, from the time base, into the stream; FFmpeg's demuxer would have guessed 25
    np.testing.assert_allclose(facts.pts_s, np.arange(12) / 24, atol=1e-9)
    assert stated.first_pts_s == 0.0


def test_colours_follow_the_stated_matrix(tmp_path: Path) -> None:
    """BT.709 and BT.601 files of one colour decode to that colour; mixing the two up errs by more than 10 levels."""
    from imageio_ffmpeg import get_ffmpeg_exe

    colour = np.array([200, 40, 90])
    picture = np.broadcast_to(colour.astype(np.uint8), (64, 64, 3))
    for matrix, tag in (("bt709", "bt709"), ("bt601", "smpte170m")):
        raw = tmp_path / "raw.rgb"
        raw.write_bytes(picture.tobytes() * 3)
        path = tmp_path / f"{matrix}.mp4"
        command = [get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64"]
        command += ["-i", str(raw), "-vf", f"scale=out_color_matrix={matrix}", "-colorspace", tag]
        command += ["-c:v", "libx264", "-crf", "4", "-pix_fmt", "yuv420p", str(path)]
        _run(command)
        facts = index(path)
        keep = np.ones(len(facts.pts_s), dtype=np.bool_)
        decoded = next(PyavDecoder().frames(clip_file(path), CONFIG, facts, keep))
        # 8-bit YUV cannot hold every RGB value: up to 2 levels each
        np.testing.assert_allclose(decoded.reshape(-1, 3).mean(axis=0), colour, atol=3)


def _run(command: list[str]) -> None:
    import subprocess

    subprocess.run(command, check=True)


def test_nothing_is_written_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """FFmpeg's own complaints are facts of the clip, not lines on the user's terminal."""
    facts = index(flipped(write_clip(tmp_path / "sound.mp4", range(60), SIZE), 8))
    assert facts.corrupt.any()
    assert code_of(_zeros(tmp_path)) == "not_a_video"
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def _zeros(folder: Path) -> Path:
    path = folder / "zeros.mp4"
    path.write_bytes(struct.pack(">I4s", 16, b"ftyp") + bytes(300))
    return path


def test_index_builder_drops_and_notes() -> None:
    builder = IndexBuilder("clip", DecodeLimits(max_source_frames=3))
    kept = [builder.keeps(pts_s, corrupt=pts_s == 0.1) for pts_s in (None, 0.0, 0.1, 0.1, 0.05, 0.2)]
    assert kept == [False, True, True, False, False, True]
    pts_s, corrupt = builder.arrays()
    assert pts_s.tolist() == [0.0, 0.1, 0.2]
    assert corrupt.tolist() == [False, True, False]
    assert builder.notes == (
        "frame without a timestamp after the start: dropped",
        "frame at 0.100000 s, not after 0.100000 s: dropped",
        "frame at 0.050000 s, not after 0.100000 s: dropped",
    )
    with pytest.raises(ClipError) as caught:
        builder.keeps(0.3, corrupt=False)
    assert caught.value.code == "too_many_frames"


def test_index_builder_keeps_a_hundred_notes() -> None:
    builder = IndexBuilder("clip", DecodeLimits())
    for _ in range(1000):
        builder.note("decode: bad")
    assert len(builder.notes) == 101
    assert builder.notes[-1] == "and 900 more"
