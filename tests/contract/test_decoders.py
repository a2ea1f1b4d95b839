"""Every decoder, on the same clips: exact frames, exact times, the same picture. What one cannot do is listed."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video_clips import Encoding, clip_file, numbered_picture, read_number, remux, write_clip
from wmkit.errors import ClipError, InputError
from wmkit.video import DECODERS, FrameSource, VideoConfig, make_decoder, open_source

MS = Fraction(1, 1000)
MPEG = Fraction(1, 90000)
SIZE = (160, 96)
COUNT = 30
NTSC = tuple(3003 * k for k in range(COUNT))
# Gaps of 20 to 140 ms without a rule; x264 needs them only to increase.
VFR = tuple(int(t) for t in np.cumsum([0, *[20 + (37 * k) % 121 for k in range(COUNT - 1)]]))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A clip and its truth: numbers of the frames, their pts, upright size, clockwise turn and aspect ratio."""

    write: Callable[[Path], Path]
    pts_s: tuple[float, ...]
    numbers: tuple[int, ...] = tuple(range(COUNT))
    upright: tuple[int, int] = SIZE
    rotation_deg: int = 0
    ratio: float = 1.0


H264 = Encoding(time_base=MPEG)


def ntsc(folder: Path, encoding: Encoding = H264) -> Path:
    return write_clip(folder / "clip.mp4", NTSC, SIZE, encoding)


def turned(clockwise_deg: int) -> Case:
    """Stored turned counter-clockwise, with the display matrix that turns it back (FFmpeg counts the other way)."""

    def write(folder: Path) -> Path:
        stored = ntsc(folder, Encoding(time_base=MPEG, turn=clockwise_deg // 90))
        return remux(stored, folder / "turned.mp4", before=("-display_rotation:v:0", str(-clockwise_deg)))

    return Case(write=write, pts_s=seconds(NTSC, MPEG), rotation_deg=clockwise_deg)


def cut_by_edit_list(folder: Path) -> Path:
    """Starts at frame 17, between the key frames 12 and 24: the packets 12 to 16 are there and must not show."""
    return remux(ntsc(folder), folder / "cut.mp4", before=("-ss", str(17 * 1001 / 30000)))


def seconds(ticks: tuple[int, ...], time_base: Fraction) -> tuple[float, ...]:
    return tuple(float(tick * time_base) for tick in ticks)


HEVC = Encoding(
    codec="libx265",
    pixel_format="yuv420p10le",
    time_base=MPEG,
    options=(("crf", "8"), ("g", "12"), ("preset", "veryfast"), ("x265-params", "log-level=none")),
)
AV1 = Encoding(codec="libsvtav1", time_base=MPEG, options=(("crf", "8"), ("g", "12"), ("preset", "10")))

CASES = {
    "ntsc": Case(write=ntsc, pts_s=seconds(NTSC, MPEG)),
    "vfr": Case(write=lambda f: write_clip(f / "vfr.mp4", VFR, SIZE, Encoding(time_base=MS)), pts_s=seconds(VFR, MS)),
    "vfr_mkv": Case(
        write=lambda f: write_clip(f / "vfr.mkv", VFR, SIZE, Encoding(time_base=MS)), pts_s=seconds(VFR, MS)
    ),
    "starts_at_5_s": Case(
        write=lambda f: write_clip(f / "late.mp4", tuple(t + 450000 for t in NTSC), SIZE, Encoding(time_base=MPEG)),
        pts_s=seconds(tuple(t + 450000 for t in NTSC), MPEG),
    ),
    "edit_list": Case(write=cut_by_edit_list, pts_s=seconds(NTSC[:13], MPEG), numbers=tuple(range(17, COUNT))),
    "turn_90": turned(90),
    "turn_180": turned(180),
    "turn_270": turned(270),
    "odd_size": Case(
        write=lambda f: write_clip(f / "odd.mp4", NTSC, (161, 97), Encoding(time_base=MPEG, pixel_format="yuv444p")),
        pts_s=seconds(NTSC, MPEG),
        upright=(161, 97),
    ),
    "anamorphic": Case(
        write=lambda f: ntsc(f, Encoding(time_base=MPEG, ratio=Fraction(4, 3))),
        pts_s=seconds(NTSC, MPEG),
        upright=(213, 96),
        ratio=4 / 3,
    ),
    "hevc_10bit": Case(
        write=lambda f: ntsc(f, HEVC),
        pts_s=seconds(NTSC, MPEG),
    ),
    "av1": Case(write=lambda f: ntsc(f, AV1), pts_s=seconds(NTSC, MPEG)),
}

# What a library cannot do and its module refuses; a release that learns it fails this test and is noticed.
LIMITS = {
    ("opencv", "av1"): "zero_frames",
    ("decord", "av1"): "decode_error",
    ("decord", "edit_list"): "edit_list",
}


@pytest.fixture(scope="session")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the clip of a case once for all decoders."""
    written: dict[str, Path] = {}

    def clip(case: str) -> Path:
        if case not in written:
            written[case] = CASES[case].write(tmp_path_factory.mktemp(case))
        return written[case]

    return clip


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of each decoder that is installed."""
    try:
        make_decoder(request.param, clip_file(tmp_path))
    except InputError as error:
        pytest.skip(str(error))
    return request.param


def opened(decoder: str, path: Path) -> FrameSource:
    return open_source(clip_file(path), VideoConfig(decoder=decoder, fps=None, max_side=4096))


@pytest.mark.parametrize("case", CASES)
def test_exact_frames_and_times(decoder: str, case: str, clip_of: Callable[[str], Path]) -> None:
    truth = CASES[case]
    path = clip_of(case)
    if (decoder, case) in LIMITS:
        with pytest.raises(ClipError) as caught:
            opened(decoder, path)
        assert (caught.value.stage, caught.value.code) == ("decode", LIMITS[decoder, case])
        return
    frames = opened(decoder, path)
    numbers, worst = [], 0.0
    for window in frames.windows():
        for picture in window.rgb:
            assert picture.shape == (truth.upright[1], truth.upright[0], 3)
            numbers.append(read_number(picture))
            expected = numbered_picture(numbers[-1], *truth.upright).astype(int)
            worst = max(worst, float(np.abs(picture - expected).mean()))
    assert tuple(numbers) == truth.numbers
    # decord's clock is float32; the others lose at most the rounding of one division
    tolerance_s = 1e-6 if decoder == "decord" else 1e-9
    np.testing.assert_allclose(frames.facts.pts_s, truth.pts_s, rtol=0, atol=tolerance_s)
    np.testing.assert_array_equal(frames.view.pts_s, frames.facts.pts_s)
    assert frames.facts.rotation_deg == truth.rotation_deg
    assert frames.facts.sample_aspect_ratio == pytest.approx(truth.ratio)
    assert (frames.clip.width, frames.clip.height) == truth.upright
    assert not frames.facts.corrupt.any()
    # 4:2:0 chroma smears the block edges over a few columns of each picture: 2 to 3 levels on average
    assert worst < 5
