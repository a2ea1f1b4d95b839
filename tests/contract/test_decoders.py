"""Every decoder, on the same clips: exact frames, exact times, the same picture. What one cannot do is listed."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video_clips import Encoding, clip_file, numbered_picture, read_number, remux, write_clip
from wmkit.errors import ClipError, InputError
from wmkit.video import DECODERS, DecodeLimits, FrameSource, VideoConfig, make_decoder, open_source

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
OPEN_GOP = Encoding(
    codec="libx265",
    time_base=MPEG,
    options=(("crf", "8"), ("preset", "veryfast"), ("x265-params", "log-level=none:open-gop=1:keyint=12:bframes=4")),
)
VP9 = Encoding(codec="libvpx-vp9", time_base=MS, options=(("crf", "8"), ("b", "0"), ("g", "12"), ("cpu-used", "8")))
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
    "open_gop_hevc": Case(write=lambda f: ntsc(f, OPEN_GOP), pts_s=seconds(NTSC, MPEG)),
    "vp9_webm": Case(
        write=lambda f: write_clip(f / "clip.webm", VFR, SIZE, VP9),
        pts_s=seconds(VFR, MS),
    ),
    "mpegts": Case(
        write=lambda f: remux(ntsc(f), f / "clip.ts"),
        # FFmpeg's TS muxer starts 1.4 s after zero, and one frame of B-frame delay later
        pts_s=tuple(1.4 + 2 * 1001 / 30000 + float(tick * MPEG) for tick in NTSC),
    ),
    "av1": Case(write=lambda f: ntsc(f, AV1), pts_s=seconds(NTSC, MPEG)),
}

# What a library cannot do and its module refuses; a release that learns it fails this test and is noticed.
LIMITS = {
    ("opencv", "av1"): "zero_frames",
    ("decord", "av1"): "decode_error",
    ("decord", "edit_list"): "edit_list",
    ("decord", "mpegts"): "unsupported_container",
    ("torchcodec", "mpegts"): "unsupported_container",
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


@pytest.mark.parametrize(("name", "module"), [("decord", "decord"), ("torchcodec", "torchcodec.decoders")])
def test_a_missing_package_is_one_clear_line(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"--decoder {name}: expected it to be installed, got .*'wmkit\[{name}\]'"):
        make_decoder(name, clip_file(Path("clip.mp4")))


def test_torchcodec_without_ffmpeg_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise RuntimeError("Could not load libtorchcodec.\nLikely causes: ...")

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(InputError, match="got no FFmpeg libraries beside it") as caught:
        make_decoder("torchcodec", clip_file(Path("clip.mp4")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "empty_file"), (b"text", "not_a_video"), (bytes(4096), "not_a_video")]
)
def test_bad_files_have_the_same_codes_everywhere(decoder: str, content: bytes, code: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        opened(decoder, path)
    assert (caught.value.stage, caught.value.code) == ("decode", code)


def test_limits_hold_everywhere(decoder: str, clip_of: Callable[[str], Path]) -> None:
    for limits, code in (
        (DecodeLimits(max_pixels=100), "too_many_pixels"),
        (DecodeLimits(max_source_frames=9), "too_many_frames"),
    ):
        with pytest.raises(ClipError) as caught:
            open_source(clip_file(clip_of("ntsc")), VideoConfig(decoder=decoder, limits=limits))
        assert caught.value.code == code


def test_a_file_exchanged_between_the_passes(decoder: str, clip_of: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_of("ntsc").read_bytes())
    frames = opened(decoder, path)
    path.write_bytes(clip_of("vfr").read_bytes())
    with pytest.raises(ClipError) as caught:
        list(frames.windows())
    assert caught.value.code == "file_changed"


def test_two_passes_are_equal(decoder: str, clip_of: Callable[[str], Path]) -> None:
    frames = opened(decoder, clip_of("vfr"))
    first, second = ([window.rgb.tobytes() for window in frames.windows(16)] for _ in range(2))
    assert first == second
