"""Scores: every figure against a known error, and what is said when there is none."""

import dataclasses

import numpy as np
import pytest

from tests.bench_doubles import FOCAL_PX, HEIGHT, WIDTH, arc
from wmkit.bench.reference import Truth
from wmkit.bench.score import METRIC_NAMES, Estimate, score
from wmkit.camera import Intrinsics, ScaleEstimate, ScaleKind, ScaleVote, Trajectory

CAMERA = Intrinsics(fx=FOCAL_PX, fy=FOCAL_PX, cx=WIDTH / 2, cy=HEIGHT / 2, width=WIDTH, height=HEIGHT)
KNOWN = np.tile(CAMERA.row, (12, 1))


def trajectory_of(poses: np.ndarray, metric: bool = False, unposed: tuple[int, ...] = ()) -> Trajectory:
    """A trajectory at 10 frames a second."""
    poses = poses.copy()
    posed = ~np.isin(np.arange(len(poses)), unposed)
    poses[~posed] = np.nan
    scale = ScaleKind.METRIC if metric else ScaleKind.UP_TO_SCALE
    return Trajectory(world_from_cam=poses, time_s=np.arange(len(poses)) / 10, posed=posed, scale=scale)


def scaled(poses: np.ndarray, factor: float) -> np.ndarray:
    """The same cameras in another unit."""
    poses = poses.copy()
    poses[:, :3, 3] *= factor
    return poses


def estimate_of(trajectory: Trajectory, camera: Intrinsics = CAMERA) -> Estimate:
    """A clip whose source pictures are 48x32 px."""
    cameras = (camera,) * len(trajectory)
    return Estimate(frames=len(trajectory), source_size=(WIDTH, HEIGHT), trajectory=trajectory, intrinsics=cameras)


def full(metric: bool = True) -> Truth:
    """The arc with everything known."""
    trajectory = trajectory_of(arc(), metric)
    return Truth(position=trajectory, rotation=trajectory, intrinsics_px=KNOWN)


def test_a_perfect_estimate_up_to_scale() -> None:
    figures = score(estimate_of(trajectory_of(scaled(arc(), 0.25))), full())
    for name in ("ate_sim3", "ate_percent", "rotation_error", "rpe_translation", "rpe_rotation", "focal_error"):
        assert figures.value(name) == pytest.approx(0, abs=1e-6), name  # float64 noise: nanometres, microdegrees
    steps = np.linalg.norm(np.diff(arc()[:, :3, 3], axis=0), axis=1)
    assert figures.value("path_length") == pytest.approx(steps.sum())
    lengths = {"net_displacement_error", "path_length_error", "scale_interval"}
    assert set(figures.unmeasured) == {"ate_se3", "scale_error", *lengths}
    assert "up to scale" in figures.unmeasured["scale_error"]


def test_a_metric_estimate_is_also_scored_as_it_stands() -> None:
    figures = score(estimate_of(trajectory_of(scaled(arc(), 1.1), metric=True)), full())
    assert figures.value("scale_error") == pytest.approx(10)
    assert figures.value("ate_sim3") == pytest.approx(0, abs=1e-9)  # float64 noise of metres
    ate_se3 = figures.value("ate_se3")
    assert ate_se3 is not None
    assert ate_se3 > 0.05  # a tenth of a path 6 m long cannot hide
    assert set(figures.metrics) | set(figures.unmeasured) == set(METRIC_NAMES)


def scaled_by(value: float, low: float, high: float) -> ScaleEstimate:
    return ScaleEstimate(value=value, low=low, high=high, votes=(ScaleVote(cue="by hand", value=value, sigma_log=0.1),))


@pytest.mark.parametrize(("factor", "inside"), [(1.1, True), (1.25, False), (0.95, True), (0.85, False)])
def test_lengths_and_the_interval_of_a_metric_estimate(factor: float, inside: bool) -> None:
    trajectory = trajectory_of(scaled(arc(), factor), metric=True)
    scale = scaled_by(2.0, 2.0 / 1.2, 2.0 * 1.1)
    figures = score(dataclasses.replace(estimate_of(trajectory), scale=scale), full())
    assert figures.value("net_displacement_error") == pytest.approx(100 * (factor - 1))
    assert figures.value("path_length_error") == pytest.approx(100 * (factor - 1))
    # too large by 10 %: the truth lies log 1.1 below, of log 1.2 that the interval reaches down; too small: upwards
    reach = np.log(1.2) if factor > 1 else np.log(1.1)
    assert figures.value("scale_interval") == pytest.approx(abs(np.log(factor)) / reach)
    assert ((figures.value("scale_interval") or 0) <= 1) is inside


def test_a_detour_lengthens_the_path_and_not_the_way() -> None:
    poses = arc()
    poses[5, 1, 3] += 1.0
    figures = score(estimate_of(trajectory_of(poses, metric=True)), full())
    assert figures.value("net_displacement_error") == pytest.approx(0, abs=1e-9)
    assert (figures.value("path_length_error") or 0) > 10
    assert "up to scale" in figures.unmeasured["scale_interval"], "nobody said how sure the scale is"


def test_a_gps_judges_what_is_level() -> None:
    """The estimate lives in a world of its own; its climb is as right as it likes, the fixes' heights are not."""
    world = np.eye(4)
    world[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    bumpy = arc()
    bumpy[:, 2, 3] += np.linspace(0, 30, len(bumpy)) ** 2 / 900  # z is up where `horizontal` is x and y
    truth = dataclasses.replace(full(), position=trajectory_of(bumpy, metric=True), horizontal=np.eye(3)[:2])
    figures = score(estimate_of(trajectory_of(world @ bumpy, metric=True)), truth)
    assert figures.value("net_displacement_error") == pytest.approx(0, abs=1e-6)
    level = bumpy[:, :2, 3]
    assert figures.value("path_length") == pytest.approx(np.linalg.norm(np.diff(level, axis=0), axis=1).sum())


def test_percent_is_of_the_whole_reference_path() -> None:
    noisy = arc()
    noisy[::2, 1, 3] += 0.1
    half = score(estimate_of(trajectory_of(noisy, unposed=(8, 9, 10, 11))), full())
    whole = score(estimate_of(trajectory_of(noisy)), full())
    assert half.value("path_length") == whole.value("path_length")
    ate, percent, length = (half.value(name) for name in ("ate_sim3", "ate_percent", "path_length"))
    assert ate is not None
    assert length is not None
    assert percent == pytest.approx(100 * ate / length)
    assert half.metrics["ate_sim3"].count == 8


def test_focal_error_is_measured_at_the_sources_size() -> None:
    halved = Intrinsics(fx=22.0, fy=22.0, cx=12.0, cy=8.0, width=WIDTH // 2, height=HEIGHT // 2)
    figures = score(estimate_of(trajectory_of(arc()), halved), full())
    assert figures.value("focal_error") == pytest.approx(10)  # 22 px in half the picture is 44 px, not 40


def test_heights_of_gps_fixes_do_not_count() -> None:
    position = arc()
    position[:, 2, 3] += np.where(np.arange(12) % 2, 0.2, -0.2)  # z is up there
    truth = Truth(position=trajectory_of(position, metric=True), rotation=None, horizontal=np.eye(3)[:2])
    level = score(estimate_of(trajectory_of(arc())), truth)
    spatial = score(estimate_of(trajectory_of(arc())), Truth(position=truth.position, rotation=None))
    flat, solid = level.value("ate_sim3"), spatial.value("ate_sim3")
    assert flat is not None
    assert solid is not None
    assert flat < 0.03 < 0.15 < solid  # 0.2 m of height noise is left out; the alignment lets a little through
    assert "no rotations" in level.unmeasured["rotation_error"]
    assert "no full poses" in level.unmeasured["rpe_translation"]
    assert "no intrinsics" in level.unmeasured["focal_error"]


def test_rotations_alone() -> None:
    figures = score(estimate_of(trajectory_of(arc())), Truth(position=None, rotation=trajectory_of(arc())))
    assert set(figures.metrics) == {"rotation_error"}


def test_no_trajectory_leaves_every_figure_out() -> None:
    figures = score(Estimate(frames=12, source_size=(WIDTH, HEIGHT), reason="static"), full())
    assert not figures.metrics
    assert set(figures.unmeasured) == set(METRIC_NAMES)
    assert set(figures.unmeasured.values()) == {"no trajectory: static"}


def test_a_still_reference_gives_no_percentage() -> None:
    still = arc()
    still[:, :3, 3] = 1.0
    trajectory = trajectory_of(still, metric=True)
    figures = score(estimate_of(trajectory_of(arc())), Truth(position=trajectory, rotation=trajectory))
    assert "moving camera" in figures.unmeasured["ate_percent"]
    assert figures.value("rotation_error") == pytest.approx(0, abs=1e-6)  # float64 noise in degrees
