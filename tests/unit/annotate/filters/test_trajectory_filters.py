"""Every trajectory filter on motions whose value follows from a formula."""

import dataclasses

import numpy as np
import pytest

from tests.annotate_doubles import annotation_of, no_trajectory_of, path_of, points_of
from wmkit.annotate.filters import TRAJECTORY_FILTERS
from wmkit.annotate.filters.acceleration import AccelerationConfig
from wmkit.annotate.filters.focal_divergence import FocalDivergenceConfig
from wmkit.annotate.filters.fov import FovXConfig, FovYConfig
from wmkit.annotate.filters.inlier_ratio import InlierRatioConfig
from wmkit.annotate.filters.jerk import JerkConfig
from wmkit.annotate.filters.moving_share import MovingShareConfig
from wmkit.annotate.filters.parallax_deg import ParallaxDegConfig
from wmkit.annotate.filters.path_length import PathLengthConfig
from wmkit.annotate.filters.posed_ratio import PosedRatioConfig
from wmkit.annotate.filters.prior_disagreement import PriorDisagreementConfig
from wmkit.annotate.filters.reprojection_px import ReprojectionPxConfig
from wmkit.annotate.filters.revisit_ratio import RevisitRatioConfig
from wmkit.annotate.filters.rotation_jerk import RotationJerkConfig
from wmkit.annotate.filters.rotation_speed import RotationSpeedConfig
from wmkit.annotate.filters.scale_drift import ScaleDriftConfig
from wmkit.annotate.filters.scale_step import ScaleStepConfig
from wmkit.annotate.filters.scale_variation import ScaleVariationConfig
from wmkit.annotate.filters.translation_speed import TranslationSpeedConfig
from wmkit.annotate.filters.turning_share import TurningShareConfig
from wmkit.annotate.filters.zoom_range import ZoomRangeConfig
from wmkit.camera import CameraPrior, Intrinsics, ScaleEstimate, ScaleVote
from wmkit.clip import (
    QUALITY_ROWS,
    Annotation,
    Confidence,
    DynamicMask,
    MeasureState,
    Points,
    PoseQuality,
    Verdict,
)

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


def test_moving_share_is_the_median_frame_of_the_mask() -> None:
    annotation = annotation_of(straight([0.1, 0.1]))
    unmeasured = measure(MovingShareConfig(), annotation)
    assert (unmeasured.state, unmeasured.reason) == (MeasureState.UNMEASURED, "no_mask")
    mask = np.zeros((3, 4, 8), dtype=bool)
    mask[0], mask[1, :, :2] = True, True
    masked = dataclasses.replace(annotation, dynamic=DynamicMask(frame=np.arange(3), mask=mask))
    verdict = measure(MovingShareConfig(), masked)
    assert (verdict.value, verdict.unit) == (0.25, "")
    nothing = dataclasses.replace(annotation, dynamic=DynamicMask(frame=np.arange(1), mask=mask[2:]))
    assert measure(MovingShareConfig(), nothing).value == 0.0


TIME_S = np.arange(30) / FPS


def along_x(x: np.ndarray, posed: list[bool] | None = None) -> np.ndarray:
    return path_of(np.stack([x, 0 * x, 0 * x], axis=1), posed=posed)


def test_acceleration_and_jerk_are_those_of_a_polynomial() -> None:
    # differences of a polynomial of their own degree are exact: 3 t^2 has the acceleration 6, t^3 the jerk 6
    fast = annotation_of(along_x(3 * TIME_S**2), metric=True)
    assert measure(AccelerationConfig(), fast).value == pytest.approx(6.0, rel=1e-9)
    assert measure(JerkConfig(), fast).value == pytest.approx(0.0, abs=1e-8)
    assert measure(JerkConfig(), annotation_of(along_x(TIME_S**3))).value == pytest.approx(6.0, rel=1e-8)
    assert measure(AccelerationConfig(), fast).unit == "m/s^2"
    assert measure(JerkConfig(), annotation_of(along_x(TIME_S))).unit == "median_depth/s^3"


def test_a_gap_is_not_bridged_by_a_derivative() -> None:
    jump = np.where(np.arange(30) < 15, 0.0, 50.0)
    posed = [index != 15 for index in range(30)]
    assert measure(AccelerationConfig(), annotation_of(along_x(jump, posed))).value == 0.0
    assert (measure(JerkConfig(), annotation_of(along_x(jump))).value or 0.0) > 1000
    alone = annotation_of(along_x(jump[:5], [True, True, False, True, True]))
    verdict = measure(AccelerationConfig(), alone)
    assert (verdict.state, verdict.reason) == (MeasureState.UNMEASURED, "too_few_posed_frames_in_a_row")


def test_rotation_jerk_of_a_turn_that_speeds_up_ever_faster() -> None:
    # the angle c t^3 about one axis has the jerk 6 c; the rotation vector of each step is exact
    turning = annotation_of(path_of(np.zeros((30, 3)), turns(2.0 * TIME_S**3)))
    assert measure(RotationJerkConfig(), turning).value == pytest.approx(12.0, rel=1e-6)
    steady = annotation_of(path_of(np.zeros((30, 3)), turns(40 * TIME_S)))
    assert measure(RotationJerkConfig(), steady).value == pytest.approx(0.0, abs=1e-6)
    assert measure(RotationJerkConfig(), annotation_of(straight([0.1, 0.1]))).state is MeasureState.UNMEASURED


def test_path_length_is_the_sum_of_the_steps() -> None:
    verdict = measure(PathLengthConfig(), annotation_of(straight([1.0, 2.0, -3.0]), metric=True))
    assert (verdict.value, verdict.unit) == (pytest.approx(6.0), "m")
    gap = annotation_of(straight([1.0, 2.0, 4.0], [True, False, True, True]))
    assert measure(PathLengthConfig(), gap).value == pytest.approx(4.0)


def test_there_and_back_is_a_revisit_and_standing_still_is_none() -> None:
    there_and_back = annotation_of(straight([1.0] * 10 + [-1.0] * 10), metric=True)
    # the way back sees nine places again at 1 m apart, the last of them the start; frame 10 is the far end itself
    assert measure(RevisitRatioConfig(), there_and_back).value == pytest.approx(8 / 21, abs=2 / 21)
    onward = annotation_of(straight([1.0] * 20), metric=True)
    assert measure(RevisitRatioConfig(), onward).value == 0.0
    assert measure(RevisitRatioConfig(), annotation_of(straight([0.001] * 20), metric=True)).value == 0.0
    looking_away = np.concatenate([np.zeros(11), np.full(10, 180.0)])
    position = np.concatenate([np.arange(11.0), np.arange(9.0, -1, -1)])[:, None] * [1.0, 0, 0]
    turned = annotation_of(path_of(position, turns(looking_away)), metric=True)
    assert measure(RevisitRatioConfig(), turned).value == 0.0


def test_turning_away_and_back_is_a_revisit() -> None:
    angle = np.concatenate([np.linspace(0, 90, 10), np.linspace(90, 0, 10)])
    found = measure(RevisitRatioConfig(), annotation_of(path_of(np.zeros((20, 3)), turns(angle)))).value
    assert found is not None
    assert found > 0.05


def test_a_zoom_has_a_range() -> None:
    annotation = annotation_of(straight([0.1] * 20))
    assert measure(ZoomRangeConfig(), annotation).value == 1.0
    camera = annotation.intrinsics[0]
    zoomed = tuple(
        dataclasses.replace(camera, fx=camera.fx * f, fy=camera.fy * f) for f in np.linspace(1, 2, 21).tolist()
    )
    value = measure(ZoomRangeConfig(), dataclasses.replace(annotation, intrinsics=zoomed)).value
    assert value == pytest.approx(1.95 / 1.05)


@pytest.mark.parametrize(
    "config", [InlierRatioConfig(), ParallaxDegConfig(), ScaleStepConfig()], ids=lambda config: config.name
)
def test_evidence_of_the_backend_is_passed_on(config) -> None:
    annotation = annotation_of(straight([0.1] * 3))
    assert measure(config, annotation).state is MeasureState.UNMEASURED
    rows = dict.fromkeys(QUALITY_ROWS, np.full(4, 0.5))
    for value, state in ((0.7, MeasureState.MEASURED), (np.nan, MeasureState.UNMEASURED)):
        quality = PoseQuality(**rows, features=((config.name, value),))
        judged = dataclasses.replace(annotation, confidence=Confidence(quality=quality, reason="by hand"))
        assert measure(config, judged).state is state
    assert (
        measure(
            config, dataclasses.replace(annotation, confidence=Confidence(quality=PoseQuality(**rows), reason="x"))
        ).state
        is MeasureState.UNMEASURED
    )


def scaled(factors: np.ndarray) -> Annotation:
    """A metric clip with these scale factors, frame by frame, beside a cue that has none."""
    annotation = annotation_of(straight([0.1] * (len(factors) - 1)), metric=True)
    rows = tuple(enumerate(factors.tolist()))
    votes = (
        ScaleVote(cue="gps", value=1.0, sigma_log=0.1),
        ScaleVote(cue="depth", value=1.0, sigma_log=0.1, frame_factors=rows),
    )
    return dataclasses.replace(annotation, scale=ScaleEstimate(value=1.0, low=0.9, high=1.1, votes=votes))


def test_scale_that_scatters_and_scale_that_drifts() -> None:
    even = scaled(np.array([1.0, 3.0] * 6))
    assert measure(ScaleVariationConfig(), even).value == pytest.approx(0.5)  # std 1 over mean 2
    jump = scaled(np.array([1.0] * 6 + [1.3] * 6))
    assert measure(ScaleDriftConfig(), jump).value == pytest.approx(np.log(1.3))
    assert measure(ScaleDriftConfig(), scaled(np.ones(12))).value == 0.0
    assert measure(ScaleDriftConfig(), scaled(np.ones(5))).state is MeasureState.UNMEASURED
    for config in (ScaleVariationConfig(), ScaleDriftConfig()):
        assert measure(config, annotation_of(straight([0.1] * 11), metric=True)).state is MeasureState.UNMEASURED


def test_turning_on_the_spot_is_a_share_of_the_time() -> None:
    # two seconds of walking straight on, then two of turning by 40 degrees without a step
    position = np.zeros((41, 3))
    position[:, 2] = np.minimum(np.arange(41), 20) * 0.1
    rotation = turns(2.0 * np.clip(np.arange(41) - 20, 0, None))
    points = points_of(np.array([[0.0, 0.0, 8.0]] * 9))
    found = measure(TurningShareConfig(), annotation_of(path_of(position, rotation), points)).value
    # a second from each of the 31 frames that have one: frames 20 to 30 only turn, 18 and 19 move 1 % or more
    assert found == pytest.approx(11 / 31)
    straight_on = annotation_of(path_of(position[:21]), points)
    assert measure(TurningShareConfig(), straight_on).value == 0.0
    assert measure(TurningShareConfig(), annotation_of(path_of(position[:8]), points)).reason == "shorter_than_a_second"
    assert measure(TurningShareConfig(), annotation_of(path_of(position))).reason == "no_points"
