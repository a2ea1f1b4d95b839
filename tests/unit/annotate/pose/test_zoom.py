"""Focal lengths that follow a curve, and ones that only jump about."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, arc_scene
from wmkit.annotate.pose.bundle import focal_of_all
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.zoom import ZoomConfig, follows_curve, smooth_zoom

FRAMES = 24
CONFIG = ZoomConfig()


def with_focal(focal: np.ndarray) -> Scene:
    return replace(arc_scene(frames=FRAMES), focal=focal, zooms=True)


def ramp(ratio: float) -> np.ndarray:
    """A hold, a smooth rise by `ratio`, a hold."""
    way = np.clip(np.linspace(-0.3, 1.3, FRAMES), 0, 1)
    return FOCAL_PX * ratio ** (way * way * (3 - 2 * way))


@pytest.mark.parametrize("ratio", [1.2, 2.0, 0.6])
def test_a_zoom_follows_a_curve(ratio: float) -> None:
    noise = np.exp(np.random.default_rng(0).normal(0, 0.01, FRAMES))
    assert follows_curve(with_focal(ramp(ratio) * noise), CONFIG)


def test_noise_follows_none_however_wide() -> None:
    noise = np.exp(np.random.default_rng(1).normal(0, 0.2, FRAMES))
    assert not follows_curve(with_focal(FOCAL_PX * noise), CONFIG)


def test_what_hardly_changes_is_no_zoom() -> None:
    assert not follows_curve(with_focal(ramp(1.05)), CONFIG)


def test_too_few_frames_tell_nothing_and_stay() -> None:
    few = with_focal(ramp(1.5)).at_frames(np.arange(5))
    assert not follows_curve(few, CONFIG)
    assert smooth_zoom(few).focal.tobytes() == few.focal.tobytes()


def test_smoothing_takes_the_noise_and_leaves_the_zoom() -> None:
    truth = ramp(1.6)
    noisy = truth * np.exp(np.random.default_rng(2).normal(0, 0.02, FRAMES))
    smooth = smooth_zoom(with_focal(noisy)).focal
    off, was = (np.log(focal / truth).std() for focal in (smooth, noisy))
    assert off < 0.75 * was
    assert np.abs(np.log(smooth / truth)).max() < 0.05


def test_frames_beyond_the_first_and_last_that_see_anything_take_theirs() -> None:
    focal = smooth_zoom(with_focal(ramp(1.6)).at_frames(np.arange(4, 20))).focal
    assert (focal[:4] == focal[4]).all()
    assert (focal[20:] == focal[19]).all()


def test_a_frame_adjusted_behind_itself_takes_its_neighbours_focal_length() -> None:
    before = np.full(6, 300.0)
    seeing = np.array([0, 2, 3, 5])
    found = focal_of_all(before, seeing, np.array([100.0, -40.0, 0.0, 200.0]))
    assert found[[0, 5]].tolist() == pytest.approx([100.0, 200.0])
    assert (np.diff(found) > 0).all()
    assert focal_of_all(before, seeing, np.array([-1.0, 0.0, -2.0, 0.0])).tolist() == before.tolist()
