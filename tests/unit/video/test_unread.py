"""Damage that the decoder is silent about shows in bytes that it never read; sound pictures read all of theirs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.error import InvalidDataError
from av.video.stream import VideoStream

from wmkit.clip import rng_for
from wmkit.video import VideoConfig, discover, identify, open_source
from wmkit.video.unread import TAMPERS, Tamper, tampered, unread_pts
from wmkit.worlds.defects import Footage
from wmkit.worlds.footage_file import write_footage

ONES, CUT = Tamper(part=16, ones=True), Tamper(part=16, ones=False)
WIDTH, HEIGHT, COUNT = 256, 144, 14


def unit(kind: int, size: int) -> bytes:
    """A NAL unit of `size` bytes behind its length of four."""
    return size.to_bytes(4, "big") + bytes([kind]) + bytes([90] * (size - 1))


def test_the_end_of_every_slice_is_tampered_with_and_nothing_else() -> None:
    other, slice_ = unit(6, 200), unit(0x65, 320)  # SEI, IDR
    assert tampered(other + slice_, 4, ONES) == other + slice_[:-20] + b"\xff" * 20
    assert tampered(other + slice_ + slice_, 4, CUT) == other + 2 * ((300).to_bytes(4, "big") + slice_[4:-20])


def test_padding_is_none_of_a_slice() -> None:
    padded = (323).to_bytes(4, "big") + unit(0x65, 320)[4:] + b"\x00\x00\x03"
    assert tampered(padded, 4, ONES) == tampered(unit(0x65, 320), 4, ONES)


@pytest.mark.parametrize(
    "coded",
    [
        pytest.param(unit(0x41, 127), id="too small a slice"),
        pytest.param(unit(0x41, 320) + unit(0x41, 20), id="one of two too small"),
        pytest.param(unit(6, 320), id="no slice"),
        pytest.param(unit(0x41, 320)[:-1], id="cut off"),
        pytest.param(bytes(400), id="units of no bytes"),
        pytest.param(unit(0x41, 320) + b"\x00\x00", id="half a length"),
    ],
)
def test_what_says_nothing_is_left_alone(coded: bytes) -> None:
    assert tampered(coded, 4, ONES) is None


def drifting(seed: int, noise: float) -> Footage:
    """A wall of smooth spots that slides by a pixel a frame under grain, as H.264 likes it and as it does not."""
    rng = np.random.default_rng(seed)
    wall = rng.integers(30, 220, (HEIGHT // 12, WIDTH // 8, 3)).repeat(12, axis=0).repeat(12, axis=1)
    rgb = np.stack([wall[:, k : k + WIDTH] for k in range(COUNT)]) + rng.normal(0, noise, (COUNT, HEIGHT, WIDTH, 3))
    return Footage(rgb=np.clip(rgb, 0, 255).astype(np.uint8), time_s=np.arange(COUNT) / 10)


def unread(path: Path) -> set[int]:
    @contextmanager
    def opened() -> Iterator[tuple[InputContainer, VideoStream]]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "FRAME"
            stream.codec_context.thread_count = 1
            yield container, stream

    return unread_pts(opened, last_s=np.inf)


def decoded(path: Path) -> tuple[bool, np.ndarray]:
    """Whether FFmpeg itself complains, and the pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "FRAME"
        stream.codec_context.thread_count = 1
        frames = list(container.decode(stream))
    return any(frame.is_corrupt for frame in frames), np.stack([frame.to_ndarray(format="gray") for frame in frames])


def write_damaged(sound: Path, path: Path, draw: int) -> None:
    """A quarter of one coded frame overwritten, like the planted defect, without coding the rest again."""
    with av.open(str(sound)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None]
    rng = rng_for(draw, "damage", "test")
    start, size = places[int(rng.integers(len(places)))]
    data = bytearray(sound.read_bytes())
    first, last = start + size // 2, start + 3 * size // 4
    data[first:last] = rng.bytes(last - first)
    path.write_bytes(data)


def test_damage_that_ffmpeg_passes_over_is_found(tmp_path: Path) -> None:
    silent = 0
    for seed, noise in enumerate((0.0, 4.0, 8.0)):
        sound, damaged = tmp_path / f"sound{seed}.mp4", tmp_path / "damaged.mp4"
        write_footage(sound, drifting(seed, noise), rng_for(seed, "sound", "test"))
        assert unread(sound) == set()
        pictures = decoded(sound)[1]
        for draw in range(40):
            write_damaged(sound, damaged, draw)
            try:
                told, seen = decoded(damaged)
            except InvalidDataError:
                continue
            if told or seen.shape != pictures.shape or np.abs(seen.astype(int) - pictures).max() < 8:
                continue
            silent += 1
            facts = open_source(identify(discover([damaged]).clips[0]), VideoConfig(fps=None)).facts
            assert facts.corrupt.sum() == 1, (seed, draw)
            assert not facts.errors
    assert silent >= 3  # of 120, else nothing was tried


def test_of_other_streams_nothing_is_said(tmp_path: Path) -> None:
    sound = tmp_path / "sound.mp4"
    write_footage(sound, drifting(0, 4.0), rng_for(0, "sound", "test"))
    bare = tmp_path / "bare.h264"
    with av.open(str(sound)) as source, av.open(str(bare), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert unread(bare) == set()
    assert len(TAMPERS) == len(set(TAMPERS))
