"""Every trajectory filter on motions whose value follows from a formula."""

import dataclasses

import numpy as np
import pytest

from tests.annotate_doubles import annotation_of, no_trajectory_of, path_of, points_of
from wmkit.annotate.filters import TRAJECTORY_FILTERS
from wmkit.annotate.filters.focal_divergence import FocalDivergenceConfig
from wmkit.annotate.filters.fov import FovXConfig, FovYConfig
from wmkit.annotate.filters.posed_ratio import PosedRatioConfig
from wmkit.annotate.filters.prior_disagreement import PriorDisagreementConfig
from wmkit.annotate.filters.reprojection_px import ReprojectionPxConfig
from wmkit.annotate.filters.rotation_speed import RotationSpeedConfig
from wmkit.annotate.filters.translation_speed import TranslationSpeedConfig
from wmkit.camera import CameraPrior, Intrinsics
from wmkit.clip import Annotation, MeasureState, Points, Verdict

FPS = 10.0


def measure(config, annotation: Annotation) -> Verdict:
    return config.build("cpu").measure(annotation)


def straight(steps: list[float], posed: list[bool] | None = None) -> np.ndarray:
    """A path along x with the given steps between its frames."""
    position = np.zeros((len(steps) + 1, 3))
    position[1:, 0] = np.cumsum(steps)
    return path_of(position, posed=posed)


def turns(angle_deg: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) about y."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    o = np.zeros_like(c)
    return np.stack([np.stack([c, o, s], -1), np.stack([o, o + 1, o], -1), np.stack([-s, o, c], -1)], -2)


@pytest.mark.parametrize("config", TRAJECTORY_FILTERS, ids=lambda config: config.name)
def test_without_a_trajectory_it_is_unmeasured_and_says_why(config) -> None:
    verdict = measure(config, no_trajectory_of("pure_rotation"))
    assert verdict.state is MeasureState.UNMEASURED
    assert verdict.value is None
    assert verdict.reason == "no_trajectory: pure_rotation"


def test_fields_of_view_are_those_of_the_camera() -> None:
    camera = Intrinsics(fx=50.0, fy=100.0, cx=50.0, cy=100.0, width=100, height=200)
    annotation = annotation_of(straight([0.1]), camera=camera)
    for config in (FovXConfig(), FovYConfig()):
        # Half the side equals the focal length on both axes: 2·atan(1); exact but for rounding.
        assert measure(config, annotation).value == pytest.approx(90.0, abs=1e-12)
    wide = Intrinsics.from_fov(120.0, 64, 48)
    assert measure(FovXConfig(), annotation_of(straight([0.1]), camera=wide)).value == pytest.approx(120.0, abs=1e-9)
    assert measure(FovYConfig(), annotation_of(straight([0.1]), camera=wide)).unit == "deg"


def test_focal_divergence_is_relative_to_the_mean() -> None:
    camera = Intrinsics(fx=90.0, fy=110.0, cx=32.0, cy=24.0, width=64, height=48)
    verdict = measure(FocalDivergenceConfig(), annotation_of(straight([0.1]), camera=camera))
    assert verdict.value == pytest.approx(0.2, abs=1e-12)
    square = annotation_of(straight([0.1]))
    assert measure(FocalDivergenceConfig(), square).value == 0.0


def test_a_prior_disagrees_in_its_own_sigmas() -> None:
    camera = Intrinsics(fx=100.0, fy=100.0, cx=32.0, cy=24.0, width=64, height=48)
    annotation = annotation_of(straight([0.1]), camera=camera)
    assert measure(PriorDisagreementConfig(), annotation).reason == "no_prior"
    told = 100.0 * np.exp(0.2)
    prior = CameraPrior(fx=told, fy=told, cx=None, cy=None, sigma_log=0.05, source="flag --fov-deg 20")
    verdict = measure(PriorDisagreementConfig(), dataclasses.replace(annotation, prior=prior))
    assert verdict.value == pytest.approx(4.0, abs=1e-9)  # 0.2 / 0.05


def test_posed_ratio_counts_posed_frames() -> None:
    annotation = annotation_of(straight([0.1] * 3, posed=[True, False, True, True]))
    assert measure(PosedRatioConfig(), annotation).value == 0.75


def test_reprojection_weights_points_by_their_track() -> None:
    points = Points(
        xyz=np.zeros((2, 3)),
        rgb=np.zeros((2, 3), dtype=np.uint8),
        error_px=np.array([1.0, 2.0], dtype=np.float32),
        track_length=np.array([3, 1], dtype=np.int32),
    )
    verdict = measure(ReprojectionPxConfig(), annotation_of(straight([0.1]), points))
    assert (verdict.value, verdict.unit) == (1.25, "px")


@pytest.mark.parametrize("points", [None, points_of(np.zeros((0, 3)))], ids=["absent", "empty"])
def test_reprojection_without_points_is_unmeasured(points: Points | None) -> None:
    verdict = measure(ReprojectionPxConfig(), annotation_of(straight([0.1]), points))
    assert verdict.reason == "no_points"


def test_translation_speed_is_a_high_percentile_in_the_trajectory_s_unit() -> None:
    steps = [0.1] * 19 + [0.2]
    relative = measure(TranslationSpeedConfig(), annotation_of(straight(steps)))
    metric = measure(TranslationSpeedConfig(), annotation_of(straight(steps), metric=True))
    assert relative.value == pytest.approx(np.percentile(np.array(steps) * FPS, 95), rel=1e-12)
    assert relative.value == metric.value
    assert (relative.unit, metric.unit) == ("median_depth/s", "m/s")


def test_speeds_never_bridge_a_gap_of_unposed_frames() -> None:
    steps = [0.1, 50.0, 50.0, 0.1]  # the frame in the middle has no pose: neither leap may count
    path = straight(steps, posed=[True, True, False, True, True])
    path[3:, :3, :3] = turns(np.array([90.0, 91.0]))
    annotation = annotation_of(path)
    # The 100-unit leap leaves rounding of its own size: 100 · 2⁻⁵² / 0.1 s.
    assert measure(TranslationSpeedConfig(), annotation).value == pytest.approx(1.0, abs=1e-12)
    # Pairs 0-1 (no turn) and 3-4 (1° in 0.1 s): the percentile lies between them, far from the 90° leap.
    assert measure(RotationSpeedConfig(), annotation).value == pytest.approx(9.5, abs=1e-9)


def test_isolated_poses_have_no_speed() -> None:
    annotation = annotation_of(straight([0.1] * 2, posed=[True, False, True]))
    for config in (TranslationSpeedConfig(), RotationSpeedConfig()):
        assert measure(config, annotation).reason == "no_adjacent_posed_frames"


@pytest.mark.parametrize("step_deg", [1e-6, 0.5, 90.0, 179.0])
def test_rotation_speed_is_the_geodesic_angle_a_second(step_deg: float) -> None:
    path = path_of(np.zeros((8, 3)), turns(np.arange(8) * step_deg))
    verdict = measure(RotationSpeedConfig(), annotation_of(path))
    # Rotation entries round at 1e-16, which the smallest of these angles (2e-8 rad) sees as 1e-8 of itself.
    assert verdict.value == pytest.approx(step_deg * FPS, rel=1e-7)
    assert verdict.unit == "deg/s"
