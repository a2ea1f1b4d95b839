"""Sampling by timestamp, upright square output, windows."""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.video_clips import Encoding, clip_file, numbered_picture, read_number, write_clip
from wmkit.errors import ClipError, InputError
from wmkit.video import WINDOW_FRAMES, ClipFile, DecodeFacts, DecodeLimits, VideoConfig, open_source
from wmkit.video.source import DecodedSource, output_size, select_frames, upright


def facts(pts_s: object, corrupt: tuple[int, ...] = (), **changes: Any) -> DecodeFacts:
    pts_s = np.asarray(pts_s, dtype=np.float64)
    damaged = np.zeros(len(pts_s), dtype=np.bool_)
    damaged[list(corrupt)] = True
    values: dict[str, Any] = {
        "decoder": "fake",
        "codec": "raw",
        "pixel_format": "rgb24",
        "decoded_width": 64,
        "decoded_height": 36,
        "rotation_deg": 0,
        "sample_aspect_ratio": 1.0,
    }
    return DecodeFacts(**(values | changes), pts_s=pts_s, corrupt=damaged)


def picked(pts_s: object, fps: float | None, corrupt: tuple[int, ...] = ()) -> list[int]:
    return np.flatnonzero(select_frames(facts(pts_s, corrupt), fps)).tolist()


def test_ntsc_to_16_takes_every_second_frame_and_sometimes_the_next() -> None:
    index = picked(np.arange(60) * 1001 / 30000, 16.0)
    assert set(np.diff(index)) == {1, 2}
    # the grid has floor(59 * 1.001 / 30 * 16 + 1/2) + 1 times, and each has its own nearest frame
    assert len(index) == 32
    grid_s = np.arange(32) / 16
    np.testing.assert_allclose(np.array(index) * 1001 / 30000, grid_s, atol=1001 / 30000 / 2 + 1e-12)


@pytest.mark.parametrize("rate", [10.0, 15.9, 16.0, 16.0001, 16.015])
def test_every_frame_up_to_the_same_rate(rate: float) -> None:
    """A rate within 1 % is the asked rate: dropping one frame in a hundred would only make a double gap."""
    assert picked(np.arange(200) / rate, 16.0) == list(range(200))


def test_millisecond_timestamps_of_16_fps_keep_every_frame() -> None:
    assert picked(np.round(np.arange(50) * 62.5) / 1000, 16.0) == list(range(50))


def test_native_rate_delivers_everything() -> None:
    assert picked(np.arange(30) / 240, None) == list(range(30))


def test_60_to_30_takes_every_second() -> None:
    assert picked(np.arange(61) / 60, 30.0) == list(range(0, 61, 2))


def test_a_gap_is_not_filled() -> None:
    """Grid times inside a gap fall on its two ends, each once."""
    pts_s = np.concatenate([np.arange(31) / 60, 2 + np.arange(31) / 60])
    index = picked(pts_s, 20.0)
    assert index == list(range(0, 31, 3)) + list(range(31, 62, 3))


def test_damaged_frames_are_left_out_and_replaced_by_the_nearest_sound_one() -> None:
    pts_s = np.arange(61) / 60
    assert picked(pts_s, None, corrupt=(3, 4)) == [k for k in range(61) if k not in (3, 4)]
    index = picked(pts_s, 30.0, corrupt=(10,))
    assert 10 not in index
    assert set(range(0, 61, 2)) - set(index) == {10}
    assert 9 in index


def test_all_damaged_selects_nothing() -> None:
    assert picked(np.arange(5) / 60, 16.0, corrupt=(0, 1, 2, 3, 4)) == []


@settings(deadline=None)  # no test asserts wall-clock time
@given(
    steps=st.lists(st.floats(min_value=1e-3, max_value=0.5), min_size=1, max_size=80),
    fps=st.floats(min_value=0.5, max_value=60),
    start_s=st.floats(min_value=-100, max_value=1e5),
)
def test_never_faster_than_asked_and_never_repeated(steps: list[float], fps: float, start_s: float) -> None:
    pts_s = start_s + np.concatenate([[0.0], np.cumsum(steps)])
    given_facts = facts(pts_s)
    index = np.flatnonzero(select_frames(given_facts, fps))
    assert (np.diff(index) > 0).all()
    assert index[0] == 0
    duration_s = pts_s[-1] - pts_s[0]
    # as many as grid times, or every frame of a source within 1 % of the rate
    assert len(index) <= max(np.floor(duration_s * fps + 0.5), np.floor(duration_s * fps * 1.01 + 1e-6)) + 1


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((1920, 1080), 960, (960, 540)),
        ((1080, 1920), 960, (540, 960)),
        ((640, 480), 960, (640, 480)),
        ((961, 541), 960, (960, 540)),
        ((10000, 3), 100, (100, 2)),
        ((10000, 1), 100, (100, 1)),
    ],
)
def test_output_size(size: tuple[int, int], max_side: int, expected: tuple[int, int]) -> None:
    assert output_size(*size, max_side) == expected


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_upright_turns_clockwise_before_it_scales(rotation_deg: int) -> None:
    shown = numbered_picture(693, 120, 80)
    stored = np.ascontiguousarray(np.rot90(shown, rotation_deg // 90))
    np.testing.assert_array_equal(upright(stored, rotation_deg, (120, 80)), shown)
    small = upright(stored, rotation_deg, (60, 40))
    assert small.shape == (40, 60, 3)
    assert read_number(small) == 693


class FakeDecoder:
    """A decoder of flat pictures that counts how many it has handed out and how many are still held."""

    name: ClassVar[str] = "fake"

    def __init__(self, given_facts: DecodeFacts, *, lost: int = 0, extra: int = 0) -> None:
        self.facts, self.lost, self.extra, self.handed_out = given_facts, lost, extra, 0

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        return self.facts

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        for number in np.flatnonzero(keep)[: -self.lost or None].tolist() + [0] * self.extra:
            self.handed_out += 1
            yield np.full((facts.decoded_height, facts.decoded_width, 3), number % 256, dtype=np.uint8)


FILE = ClipFile(path="/clip", name="clip", content_hash="ab", clip_id="ab")
NATIVE = VideoConfig(fps=None)


def test_windows_stream() -> None:
    """At most 64 frames a window, decoded only when asked for, the last one short, from the start on every call."""
    decoder = FakeDecoder(facts(np.arange(150) / 30))
    source = DecodedSource(FILE, NATIVE, decoder)
    windows = source.windows()
    first = next(windows)
    assert (first.start, len(first.rgb), decoder.handed_out) == (0, WINDOW_FRAMES, WINDOW_FRAMES)
    rest = list(windows)
    assert [(window.start, len(window.rgb)) for window in rest] == [(64, 64), (128, 22)]
    assert rest[0].rgb[3, 0, 0, 0] == 67
    np.testing.assert_allclose(rest[1].time_s, np.arange(128, 150) / 30)
    assert [len(window.rgb) for window in source.windows(50)] == [50, 50, 50]
    assert decoder.handed_out == 300


def test_windows_are_read_only() -> None:
    """Two stages share a window; neither may draw on it."""
    window = next(DecodedSource(FILE, NATIVE, FakeDecoder(facts(np.arange(3) / 30))).windows())
    with pytest.raises(ValueError, match="read-only"):
        window.rgb[0] = 0


@pytest.mark.parametrize("size", [0, -1, 65])
def test_window_size_is_checked_at_the_call(size: int) -> None:
    source = DecodedSource(FILE, NATIVE, FakeDecoder(facts(np.arange(3) / 30)))
    with pytest.raises(InputError, match="1 to 64"):
        source.windows(size)


@pytest.mark.parametrize("change", [{"lost": 1}, {"extra": 1}])
def test_a_second_pass_with_other_frames_is_an_error(change: dict[str, int]) -> None:
    source = DecodedSource(FILE, NATIVE, FakeDecoder(facts(np.arange(70) / 30), **change))
    with pytest.raises(ClipError) as caught:
        list(source.windows())
    assert caught.value.code == "file_changed"


@pytest.mark.parametrize(
    ("given_facts", "code"),
    [
        (facts([0.0]), "too_few_frames"),
        (facts(np.arange(5) / 30, corrupt=(0, 1, 2, 3)), "too_few_frames"),
        (facts(np.arange(5) / 30, decoded_width=64, decoded_height=1), "too_small"),
        (facts(np.arange(5) / 30, sample_aspect_ratio=1e6), "too_many_pixels"),
    ],
)
def test_unusable_sources(given_facts: DecodeFacts, code: str) -> None:
    with pytest.raises(ClipError) as caught:
        DecodedSource(FILE, NATIVE, FakeDecoder(given_facts))
    assert (caught.value.stage, caught.value.code) == ("decode", code)


def test_clip_and_view() -> None:
    source = DecodedSource(
        FILE,
        VideoConfig(fps=10.0, max_side=32),
        FakeDecoder(facts(7 + np.arange(31) / 30, rotation_deg=90, sample_aspect_ratio=1.5)),
    )
    assert (source.clip.width, source.clip.height) == (36, 96)
    assert (source.view.width, source.view.height) == (12, 32)
    assert source.clip.fps == pytest.approx(30)
    assert source.clip.span_s == pytest.approx((7.0, 8.0 + 1 / 30))
    np.testing.assert_allclose(source.view.pts_s, 7 + np.arange(0, 31, 3) / 30)
    np.testing.assert_allclose(source.view.time_s, np.arange(0, 31, 3) / 30, atol=1e-12)
    assert source.view.rotation_deg == 90


def test_two_passes_and_two_sources_give_equal_bytes(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", range(40), (96, 64), Encoding(time_base=Fraction(1, 30)))
    digests = []
    for source in (open_source(clip_file(path), VideoConfig(max_side=48)) for _ in range(2)):
        for size in (64, 7):
            digest = hashlib.sha256()
            for window in source.windows(size):
                digest.update(window.rgb.tobytes())
            digests.append(digest.hexdigest())
    assert len(set(digests)) == 1


def test_sampled_pictures_are_those_of_their_times(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", range(40), (160, 96))
    source = open_source(clip_file(path), VideoConfig(fps=12.5))
    numbers = [read_number(picture) for window in source.windows() for picture in window.rgb]
    assert numbers == np.rint(source.view.pts_s * 30).astype(int).tolist()
    assert len(numbers) == 17


def test_limits_come_from_the_config(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", range(12), (160, 96))
    for limits, code in (
        (DecodeLimits(max_pixels=160 * 96 - 1), "too_many_pixels"),
        (DecodeLimits(max_source_frames=11), "too_many_frames"),
    ):
        with pytest.raises(ClipError) as caught:
            open_source(clip_file(path), VideoConfig(limits=limits))
        assert caught.value.code == code
    exact = DecodeLimits(max_pixels=160 * 96, max_source_frames=12)
    assert len(open_source(clip_file(path), VideoConfig(limits=exact, fps=None)).view) == 12


def test_unknown_decoder() -> None:
    with pytest.raises(InputError, match="--decoder: expected one of pyav, opencv, decord, torchcodec, got 'ffmpeg'"):
        open_source(FILE, VideoConfig(decoder="ffmpeg"))
