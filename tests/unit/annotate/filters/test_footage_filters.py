"""Footage filters on pictures whose motion and cuts are known, and on the real clips."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data, transform

from tests.annotate_doubles import ArraySource, shown
from wmkit.annotate.filters.hard_cut import HardCutConfig
from wmkit.annotate.filters.static_camera import StaticCameraConfig
from wmkit.clip import Verdict
from wmkit.video import VideoConfig, discover, identify, open_source

WIDTH, HEIGHT, FPS = 200, 150, 10.0


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """(400, 600, 3) uint8: a picture with texture everywhere."""
    return np.asarray(transform.resize(data.chelsea(), (400, 600)) * 255).round().astype(np.uint8)


def pan(photo: np.ndarray, shifts: list[int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """(N, h, w, 3): windows of `photo` that start at the given columns."""
    return np.stack([photo[100 : 100 + size[1], shift : shift + size[0]] for shift in shifts])


def measure(config, rgb: np.ndarray) -> Verdict:
    return shown(config, ArraySource(rgb, FPS))


def test_a_pan_of_whole_pixels_has_its_own_speed(photo: np.ndarray) -> None:
    verdict = measure(StaticCameraConfig(), pan(photo, list(range(0, 60, 4))))
    # Lucas-Kanade stops at 0.03 px of an exact 4 px shift, and the border's points err by more: 2 % in the median.
    assert verdict.value == pytest.approx(4 / np.hypot(WIDTH, HEIGHT) * FPS, rel=0.02)
    assert verdict.unit == "diagonal/s"


def test_the_speed_is_a_share_of_the_picture_whatever_its_size(photo: np.ndarray) -> None:
    once = pan(photo, list(range(0, 40, 4)), (400, 260))
    twice = np.repeat(np.repeat(once, 2, axis=1), 2, axis=2)
    small, large = (measure(StaticCameraConfig(), rgb).value for rgb in (once, twice))
    # Both are shrunk to a long side of 256 px; only the resampling differs.
    assert small is not None
    assert large == pytest.approx(small, rel=0.02)


def test_a_moving_subject_does_not_move_the_camera(photo: np.ndarray) -> None:
    rgb = pan(photo, [50] * 12)
    subject = np.random.default_rng(0).integers(0, 255, (90, 60, 3), dtype=np.uint8)
    for index, frame in enumerate(rgb):
        frame[30:120, 5 + 8 * index : 65 + 8 * index] = subject  # a quarter of the picture at 0.3 diagonals a second
    value = measure(StaticCameraConfig(), rgb).value
    assert value is not None
    # Fewer than half of the points are covered or uncovered, so the median stands still but for LK's 0.03 px.
    assert value < 0.003


def test_a_still_camera_measures_zero(photo: np.ndarray) -> None:
    assert measure(StaticCameraConfig(), pan(photo, [50] * 5)).value == 0.0


def test_a_blank_clip_has_no_motion_to_measure() -> None:
    verdict = measure(StaticCameraConfig(), np.zeros((8, 48, 64, 3), dtype=np.uint8))
    assert verdict.reason == "too_few_tracks"


def test_a_cut_does_not_count_as_motion(photo: np.ndarray) -> None:
    other = np.random.default_rng(1).integers(0, 255, (6, HEIGHT, WIDTH, 3), dtype=np.uint8)[:1].repeat(6, axis=0)
    value = measure(StaticCameraConfig(), np.concatenate([pan(photo, [50] * 6), other])).value
    assert value is not None
    # One pair in eleven is the cut; chance tracks across it may survive, but not carry the average.
    assert value < 0.02


def test_cuts_are_counted(photo: np.ndarray) -> None:
    inverse = 255 - photo
    rgb = np.concatenate(
        [pan(photo, [0, 2, 4, 6, 8]), pan(inverse, [90, 92, 94, 96]), pan(photo, [200, 202, 204, 206])]
    )
    verdict = measure(HardCutConfig(), rgb)
    assert (verdict.value, verdict.unit) == (2.0, "cuts")


def test_a_fast_pan_is_not_a_cut(photo: np.ndarray) -> None:
    rgb = pan(photo, list(range(0, 300, 25)))  # an eighth of the picture a frame
    assert measure(HardCutConfig(), rgb).value == 0.0


def test_fewer_frames_than_the_window_are_unmeasured(photo: np.ndarray) -> None:
    assert measure(HardCutConfig(), pan(photo, [0, 1, 2, 3])).reason == "too_few_frames"
    assert measure(HardCutConfig(), pan(photo, [0, 1, 2, 3, 4])).value == 0.0


@pytest.mark.parametrize("config", [StaticCameraConfig(), HardCutConfig()], ids=lambda config: config.name)
def test_one_pass_over_the_frames_is_enough(config, photo: np.ndarray) -> None:
    source = ArraySource(pan(photo, list(range(70))))  # more than one window of 64
    shown(config, source)
    assert source.passes == 1


def measure_file(config, path: Path) -> float:
    (found,) = discover([path]).clips
    source = open_source(identify(found), VideoConfig())
    value = shown(config, source).value
    assert value is not None
    return value


def test_real_cuts(shared_data: Path) -> None:
    assert measure_file(HardCutConfig(), shared_data / "awkward" / "hard_cut.mp4") == 1.0
    # Motion blur, exposure that pumps, a subject that fills the picture: no cut in any of these.
    for name in ("awkward/flash_exposure.mp4", "raw/davis_lady_running.mp4", "posed/sevenscenes_kitchen/video.mp4"):
        assert measure_file(HardCutConfig(), shared_data / name) == 0.0, name


def test_real_cameras_that_stand_still_are_told_from_those_that_move(shared_data: Path) -> None:
    still = measure_file(StaticCameraConfig(), shared_data / "raw" / "coffee_static.mp4")
    moving = [
        measure_file(StaticCameraConfig(), shared_data / name)
        for name in ("raw/carphone.mp4", "posed/kitti06_gray/video.mp4", "posed/sevenscenes_kitchen/video.mp4")
    ]
    # Measured 0.005 against 0.057, 0.12 and 0.12: a factor of five leaves room for other codecs' noise.
    assert still * 5 < min(moving)
