"""The encoder: the same bytes, exact times, and errors that leave nothing behind."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video_clips import Picture, clip_file, numbered_picture, read_number
from wmkit.errors import InputError
from wmkit.video import VideoConfig, open_source
from wmkit.video.encode import write_mp4

SIZE = (160, 96)


def pictures(count: int) -> Iterator[Picture]:
    return (numbered_picture(number, *SIZE) for number in range(count))


@pytest.mark.parametrize(("fps", "rate"), [(16.0, 16.0), (29.97, 29.97), (Fraction(30000, 1001), 30000 / 1001)])
def test_frames_and_times_come_back(tmp_path: Path, fps: float | Fraction, rate: float) -> None:
    path = tmp_path / "clip.mp4"
    assert write_mp4(path, pictures(40), fps, SIZE) == 40
    source = open_source(clip_file(path), VideoConfig(fps=None))
    np.testing.assert_allclose(source.facts.pts_s, np.arange(40) / rate, atol=1e-9)
    delivered = [picture for window in source.windows() for picture in window.rgb]
    assert [read_number(picture) for picture in delivered] == list(range(40))
    # crf 18 and 4:2:0: the flat parts come back within a level or two, block edges smear
    assert np.abs(delivered[7].astype(int) - numbered_picture(7, *SIZE)).mean() < 5
    assert (source.facts.codec, source.facts.pixel_format) == ("h264", "yuv420p")


def test_colours_come_back(tmp_path: Path) -> None:
    """A flat picture through BT.709 and back; the BT.601 matrix would be off by more than 10 levels."""
    colour = np.array([200, 40, 90], dtype=np.uint8)
    write_mp4(tmp_path / "c.mp4", itertools.repeat(np.broadcast_to(colour, (64, 64, 3)), 3), 10, (64, 64), crf=4)
    window = next(open_source(clip_file(tmp_path / "c.mp4"), VideoConfig()).windows())
    # 8-bit limited-range YUV cannot hold every RGB value: up to 2 levels each
    np.testing.assert_allclose(window.rgb[1].reshape(-1, 3).mean(axis=0), colour, atol=3)


@pytest.mark.parametrize("gop", [1, 5, 250])
def test_keyframes_come_at_least_every_gop(gop: int, tmp_path: Path) -> None:
    import av

    pictures = [numbered_picture(number, 64, 48) for number in range(24)]
    write_mp4(tmp_path / "a.mp4", pictures, 16, (64, 48), gop=gop)
    with av.open(str(tmp_path / "a.mp4"), "r") as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
    keys = [*(index for index, packet in enumerate(packets) if packet.is_keyframe), len(packets)]
    assert keys[0] == 0
    assert max(after - before for before, after in itertools.pairwise(keys)) <= gop
    with pytest.raises(InputError, match="gop"):
        write_mp4(tmp_path / "b.mp4", pictures, 16, (64, 48), gop=0)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    contents = set()
    for name in ("a.mp4", "b.mp4", "a.mp4"):
        write_mp4(tmp_path / name, pictures(20), 16, SIZE)
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("fps", "size", "crf", "words"),
    [
        (16, (161, 96), 18, "even size"),
        (16, (160, 95), 18, "even size"),
        (16, (0, 96), 18, "even size"),
        (0, SIZE, 18, "positive rate"),
        (-1.0, SIZE, 18, "positive rate"),
        (float("nan"), SIZE, 18, "positive rate"),
        (float("inf"), SIZE, 18, "positive rate"),
        (16, SIZE, 52, "crf from 0 to 51"),
    ],
)
def test_bad_arguments(tmp_path: Path, fps: float, size: tuple[int, int], crf: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_mp4(tmp_path / "clip.mp4", pictures(2), fps, size, crf)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "at least one frame"),
        ([np.zeros((96, 158, 3), np.uint8)], r"shape \(96, 160, 3\), got uint8 \(96, 158, 3\)"),
        ([np.zeros((96, 160, 3), np.float32)], "uint8 frames"),
        ([np.zeros((96, 160), np.uint8)], "uint8 frames"),
    ],
)
def test_bad_frames_leave_the_old_file_alone(tmp_path: Path, frames: list, words: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match=words):
        write_mp4(path, itertools.chain(pictures(3) if frames else [], frames), 16, SIZE)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_frame_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Picture]:
        yield from pictures(3)
        raise RuntimeError("render")

    with pytest.raises(RuntimeError, match="render"):
        write_mp4(tmp_path / "clip.mp4", failing(), 16, SIZE)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a writable folder, got No such file"):
        write_mp4(tmp_path / "gone" / "clip.mp4", pictures(2), 16, SIZE)
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(InputError, match=r"clip\.mp4: expected a file name, got a folder"):
        write_mp4(tmp_path / "clip.mp4", pictures(2), 16, SIZE)
    assert [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]


def test_encoder_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ffmpeg that ends early must neither hang the writer nor lose its reason."""
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\necho 'no such\nencoder' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    with pytest.raises(InputError, match=r"got exit 3: no such encoder$"):
        write_mp4(tmp_path / "clip.mp4", pictures(200), 16, SIZE)
    assert [item.name for item in tmp_path.iterdir()] == ["ffmpeg"]
