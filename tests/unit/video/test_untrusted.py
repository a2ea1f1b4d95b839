"""Files that attack: playlists, lying headers, exotic codecs, tables of gigabytes. Each is one clip's failure."""

import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from av.error import FFmpegError

from tests.http_folder import Served, http_folder
from tests.video_clips import Encoding, clip_file, write_clip
from wmkit.errors import ClipError
from wmkit.executor.limits import address_space
from wmkit.telemetry.gopro import read_payloads
from wmkit.video import DecodeLimits, VideoConfig, open_source
from wmkit.video.container_tags import container_tags
from wmkit.video.frames import ClipFile

SIZE = (64, 48)
NATIVE = VideoConfig(fps=None)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "www").mkdir()
    write_clip(tmp_path / "www" / "secret.mp4", range(5), SIZE)
    with http_folder(tmp_path / "www") as found:
        yield found


def failure(path: Path, config: VideoConfig = NATIVE) -> ClipError:
    with pytest.raises(ClipError) as caught:
        open_source(clip_file(path), config)
    assert "\n" not in str(caught.value)
    return caught.value


def outcome_of(path: Path) -> int | str:
    """How many frames, or the code of the failure."""
    try:
        return len(open_source(clip_file(path), NATIVE).view)
    except ClipError as error:
        return error.code


def patched(source: Path, target: Path, box: bytes, offset: int, value: bytes) -> Path:
    """A copy of an mp4 with `value` written `offset` bytes after a box's name."""
    data = bytearray(source.read_bytes())
    start = data.index(box) + offset
    data[start : start + len(value)] = value
    target.write_bytes(data)
    return target


def traps(url: str, folder: Path) -> dict[str, bytes]:
    """Containers that make FFmpeg open another file or address, when it may."""
    secret = f"{url}/secret.mp4"
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
        "hls_byte_order_mark": f"\ufeff#EXTM3U\n#EXTINF:1,\n{secret}\n".encode(),
        "hls_binary_tail": f"#EXTM3U\n#EXTINF:1,\n{secret}\n".encode() + bytes(range(256)),
        "hls_of_a_file": f"#EXTM3U\n#EXTINF:1,\nfile://{folder}/www/secret.mp4\n\x00".encode(),
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n\x00".encode(),
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>\x00'.encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n\x00",
        "asx": f'<asx version="3.0"><entry><ref href="{secret}"/></entry></asx>\x00'.encode(),
        "pls": f"[playlist]\nFile1={secret}\n\x00".encode(),
    }


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
def test_no_file_makes_a_decoder_read_another(decoder: str, served: Served, tmp_path: Path) -> None:
    for name, content in traps(served.url, tmp_path).items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        error = failure(path, VideoConfig(fps=None, decoder=decoder))
        assert (name, error.code) == (name, "not_a_video")
    assert served.requests == []


def test_no_reader_of_metadata_reads_another(served: Served, tmp_path: Path) -> None:
    """What opens a container besides the decoders, asked by itself: it stands behind no other check."""
    for name, content in traps(served.url, tmp_path).items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        assert container_tags(clip_file(path)) == ()
        assert read_payloads(str(path)) == []
    assert served.requests == []


def test_a_codec_of_no_camera_is_not_decoded(tmp_path: Path) -> None:
    for codec, pixel_format in (("zmbv", "bgra"), ("snow", "yuv420p")):
        path = tmp_path / f"{codec}.mkv"
        try:
            encoding = Encoding(codec=codec, pixel_format=pixel_format, options=(("strict", "-2"),))
            write_clip(path, range(5), SIZE, encoding)
        except (FFmpegError, ValueError):
            continue
        error = failure(path)
        assert error.code == "unsupported_codec"
        assert codec in error.message
        break
    else:
        pytest.fail("no codec outside the list can be encoded here")


def test_a_promise_beyond_the_budget_is_refused_unread(tmp_path: Path) -> None:
    """The header's own number of frames and duration, before a packet is decoded; a part of such a file may be used."""
    clip = write_clip(tmp_path / "clip.mp4", range(20), SIZE)
    error = failure(clip, VideoConfig(fps=None, limits=DecodeLimits(max_source_frames=19)))
    assert error.code == "too_many_frames"
    long = tmp_path / "long.mkv"
    data = bytearray(write_clip(long, range(20), SIZE).read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # EBML: Duration, eight bytes of float, in ms
    data[at : at + 8] = struct.pack(">d", 25 * 3600e3)
    long.write_bytes(data)
    assert failure(long).code == "too_long"
    whole = clip_file(long)
    part = ClipFile(path=whole.path, name="a", content_hash="0", clip_id="0", span_s=(0.0, 0.5))
    assert len(open_source(part, NATIVE).view) == 15


@pytest.mark.parametrize(("box", "offset"), [(b"stsz", 12), (b"stts", 8), (b"ctts", 8), (b"stsc", 8), (b"stco", 8)])
def test_tables_that_promise_two_billion_entries(box: bytes, offset: int, tmp_path: Path) -> None:
    """A few kB that ask for tables of 16 GB: refused or survived within 1 GiB, never a crash."""
    clip = write_clip(tmp_path / "clip.mp4", range(20), SIZE)
    bad = patched(clip, tmp_path / "bad.mp4", box, offset, struct.pack(">I", 0x7FFFFFFF))
    with address_space(1.0):
        outcome = outcome_of(bad)
    assert outcome in (20, "not_a_video", "unreadable", "zero_frames", "too_few_frames", "too_many_frames")


def test_the_address_space_is_given_back_after_an_error() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), address_space(0.1):
        bytearray(1 << 30)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytearray(1 << 28)) == 1 << 28
