"""Metrics against evo (an independent program), hand-derived figures, invariances and degenerate input."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr

from wmkit.camera import Array, Intrinsics, ScaleKind, Trajectory, invert_rigid
from wmkit.errors import InputError
from wmkit.metrics import (
    CAMERA_CONTROL_CONVENTIONS,
    absolute_trajectory_error,
    align,
    camera_control_errors,
    confidence_ranking,
    depth_errors,
    focal_error,
    fov_error,
    relative_pose_errors,
    rotation_angle_rad,
    rotation_error,
    scale_error,
)


def path_of(
    rotation: Array, position: NDArray[Any], posed: NDArray[np.bool_] | None = None, scale: ScaleKind = ScaleKind.METRIC
) -> Trajectory:
    count = len(position)
    world_from_cam = np.tile(np.eye(4), (count, 1, 1))
    world_from_cam[:, :3, :3], world_from_cam[:, :3, 3] = rotation, position
    mask = np.ones(count, np.bool_) if posed is None else np.asarray(posed, np.bool_)
    world_from_cam[~mask] = np.nan
    return Trajectory(world_from_cam=world_from_cam, time_s=np.arange(count) / 16, posed=mask, scale=scale)


def random_path(seed: int, count: int = 20) -> Trajectory:
    rng = np.random.default_rng(seed)
    return path_of(
        Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.1, (count, 3)), axis=0)).as_matrix(),
        np.cumsum(rng.normal(0, 1, (count, 3)), axis=0),
    )


def perturbed(path: Trajectory, seed: int, angle: float = 0.05, shift: float = 0.2) -> Trajectory:
    rng = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(rng.normal(0, angle, (len(path), 3))).as_matrix()
    return path_of(path.rotation @ turn, path.position + rng.normal(0, shift, (len(path), 3)))


def moved(path: Trajectory, scale: float, rotation: Array, translation: Array) -> Trajectory:
    return path_of(rotation @ path.rotation, scale * path.position @ rotation.T + translation)


def evo_path(path: Trajectory):
    trajectory = pytest.importorskip("evo.core.trajectory")
    return trajectory.PosePath3D(poses_se3=list(path.world_from_cam[path.posed]))


@pytest.mark.parametrize("with_scale", [False, True])
def test_ate_equals_evo(with_scale: bool) -> None:
    from evo.core import metrics as evo_metrics

    reference, estimate = random_path(0), moved(perturbed(random_path(0), 1), 3.0, np.eye(3)[[1, 2, 0]], np.ones(3))
    ours = absolute_trajectory_error(estimate, reference, with_scale)
    theirs, truth = evo_path(estimate), evo_path(reference)
    theirs.align(truth, correct_scale=with_scale)
    ape = evo_metrics.APE(evo_metrics.PoseRelation.translation_part)
    ape.process_data((truth, theirs))
    assert ours.value == pytest.approx(ape.get_statistic(evo_metrics.StatisticsType.rmse), rel=1e-10)  # float64 sums


def test_alignment_never_mirrors() -> None:
    """Against evo on a mirrored path, where the best rotation is not the plain product of singular vectors."""
    from evo.core import geometry

    reference = random_path(1).position
    mirrored = reference * [1, 1, -1] + np.random.default_rng(2).normal(0, 0.1, reference.shape)
    found = align(mirrored, reference, with_scale=True)
    rotation, translation, scale = geometry.umeyama_alignment(mirrored.T, reference.T, with_scale=True)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-10)  # float64 products of a few hundred terms
    np.testing.assert_allclose(found.translation, translation, atol=1e-9)
    assert found.scale == pytest.approx(scale, rel=1e-10)


@pytest.mark.parametrize("delta", [1, 4])
@pytest.mark.parametrize("with_scale", [False, True])
def test_rpe_equals_evo(delta: int, with_scale: bool) -> None:
    from evo.core import metrics as evo_metrics

    reference, estimate = random_path(2), moved(perturbed(random_path(2), 3), 0.4, np.eye(3), np.ones(3))
    translation, rotation = relative_pose_errors(estimate, reference, delta, with_scale)
    theirs, truth = evo_path(estimate), evo_path(reference)
    if with_scale:
        theirs.align(truth, correct_scale=True)
    for ours, relation in (
        (translation, evo_metrics.PoseRelation.translation_part),
        (rotation, evo_metrics.PoseRelation.rotation_angle_deg),
    ):
        rpe = evo_metrics.RPE(relation, delta=delta, delta_unit=evo_metrics.Unit.frames, all_pairs=True)
        rpe.process_data((truth, theirs))
        # evo takes angles through acos-like paths: half the digits near zero
        assert ours.value == pytest.approx(rpe.get_statistic(evo_metrics.StatisticsType.rmse), rel=1e-6)
        assert ours.count == len(reference) - delta


@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-3, 1e3),
    rotvec=st.tuples(*[st.floats(-3, 3)] * 3),
    translation=st.tuples(*[st.floats(-100, 100)] * 3),
)
def test_align_recovers_any_similarity(seed: int, scale: float, rotvec: tuple, translation: tuple) -> None:
    rotation = Rotation.from_rotvec(rotvec).as_matrix()
    positions = np.random.default_rng(seed).normal(size=(8, 3))
    found = align(positions, scale * positions @ rotation.T + translation, with_scale=True)
    # 100 units of shift at scale 1e-3 leave float64 about 1e-11 of relative precision
    assert found.scale == pytest.approx(scale, rel=1e-8)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-8)
    np.testing.assert_allclose(found.translation, translation, atol=1e-8 * max(1, scale))


@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 100), rotvec=st.tuples(*[st.floats(-3, 3)] * 3))
def test_aligned_metrics_do_not_see_a_similarity_of_the_estimate(seed: int, scale: float, rotvec: tuple) -> None:
    reference = random_path(seed, 10)
    estimate = perturbed(reference, seed + 1)
    other = moved(estimate, scale, Rotation.from_rotvec(rotvec).as_matrix(), np.array([5.0, -3, 2]))

    def figures(path: Trajectory) -> list[float]:
        return [
            absolute_trajectory_error(path, reference, True).value,
            rotation_error(path, reference).value,
            *(m.value for m in relative_pose_errors(path, reference, 2, True)),
            *(m.value for name in CAMERA_CONTROL_CONVENTIONS[:1] for m in camera_control_errors(path, reference, name)),
            *(
                m.value
                for name in ("sana_wm_paper", "sana_wm_code")
                for m in camera_control_errors(path, reference, name)
            ),
        ]

    # products of a dozen float64 transforms whose entries reach about 1e3
    np.testing.assert_allclose(figures(other), figures(estimate), rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 2**31))
def test_se3_keeps_the_scale_error_that_sim3_hides(seed: int) -> None:
    reference = random_path(seed, 10)
    estimate = moved(reference, 1.25, np.eye(3), np.zeros(3))
    assert absolute_trajectory_error(estimate, reference, True).value < 1e-9
    spread = reference.position - reference.position.mean(axis=0)
    expected = 0.25 * np.sqrt((spread**2).sum(axis=1).mean())
    assert absolute_trajectory_error(estimate, reference, False).value == pytest.approx(expected, rel=1e-9)
    assert scale_error(estimate, reference).value == pytest.approx(25, rel=1e-9)


def test_scale_error_wants_metres_on_both_sides() -> None:
    reference = random_path(0)
    loose = path_of(reference.rotation, reference.position, scale=ScaleKind.UP_TO_SCALE)
    with pytest.raises(InputError, match="expected a metric estimate"):
        scale_error(loose, reference)
    for convention in ("metric", "cami2v_absolute"):
        with pytest.raises(InputError, match="expected a metric reference"):
            camera_control_errors(reference, loose, convention)


def test_rotation_error_of_known_turns() -> None:
    """Two frames off by +-a about one axis: the best global rotation leaves exactly a at each."""
    reference = random_path(4, 2)
    turn = Rotation.from_rotvec([[0, 0, 0.1], [0, 0, -0.1]]).as_matrix()
    common = Rotation.from_rotvec([0.3, 1.0, -2.0]).as_matrix()
    estimate = path_of(common @ turn @ reference.rotation, reference.position)
    assert rotation_error(estimate, reference).value == pytest.approx(np.degrees(0.1), rel=1e-12)


def test_rotation_error_refuses_rotations_that_cancel() -> None:
    reference = path_of(np.tile(np.eye(3), (2, 1, 1)), np.eye(3)[:2])
    half_turn = path_of(np.stack([np.eye(3), np.diag([1.0, -1, -1])]), np.eye(3)[:2])
    with pytest.raises(InputError, match="cancel out"):
        rotation_error(half_turn, reference)


@given(angle=st.floats(0, np.pi - 1e-6), axis=st.tuples(*[st.floats(-1, 1)] * 3))
def test_rotation_angle(angle: float, axis: tuple) -> None:
    direction = np.array(axis) if np.linalg.norm(axis) > 0.1 else np.array([0.0, 0, 1])
    direction = direction / np.linalg.norm(direction)
    found = rotation_angle_rad(Rotation.from_rotvec(angle * direction).as_matrix())
    assert found == pytest.approx(angle, abs=1e-9)  # acos would be off by 1e-8 near zero


def test_unposed_frames_leave_every_metric() -> None:
    reference = random_path(5, 12)
    estimate = perturbed(reference, 6)
    keep = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1], np.bool_)
    position = estimate.position.copy()
    position[~keep] += 1e6  # would ruin any metric that looked
    gaps = path_of(estimate.rotation, position, posed=keep)
    short, short_reference = (path_of(p.rotation[keep], p.position[keep]) for p in (estimate, reference))
    for metric in (lambda e, r: absolute_trajectory_error(e, r, True), rotation_error, scale_error):
        assert metric(gaps, reference).value == pytest.approx(metric(short, short_reference).value, rel=1e-12)
    for name in CAMERA_CONTROL_CONVENTIONS:
        ours = [m.value for m in camera_control_errors(gaps, reference, name)]
        assert ours == pytest.approx([m.value for m in camera_control_errors(short, short_reference, name)])
    translation, _ = relative_pose_errors(gaps, reference, 1, False)
    assert translation.count == 6  # of 11 neighbouring pairs, those with both ends posed


def still(path: Trajectory) -> Trajectory:
    return path_of(path.rotation, np.full((len(path), 3), 0.1))


@pytest.mark.parametrize(
    ("metric", "count"),
    [
        (lambda e, r: absolute_trajectory_error(e, r, True), 2),
        (lambda e, r: absolute_trajectory_error(e, r, False), 2),
        (rotation_error, 1),
        (scale_error, 2),
        (lambda e, r: relative_pose_errors(e, r, 1, False), 1),
        (lambda e, r: relative_pose_errors(e, r, 1, True), 2),
        *((lambda e, r, name=name: camera_control_errors(e, r, name), 2) for name in CAMERA_CONTROL_CONVENTIONS),
    ],
)
def test_too_few_frames_are_refused(metric: Callable, count: int) -> None:
    path = random_path(7, count)
    with pytest.raises(InputError, match="at least"):
        metric(path, path)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    "metric",
    [
        lambda e, r: absolute_trajectory_error(e, r, True),
        scale_error,
        lambda e, r: relative_pose_errors(e, r, 1, True),
        *(lambda e, r, name=name: camera_control_errors(e, r, name) for name in CAMERA_CONTROL_CONVENTIONS[:4]),
    ],
)
def test_a_camera_that_stays_still_is_refused(metric: Callable, swap: bool) -> None:
    path = random_path(8)
    pair = (still(path), path) if swap else (path, still(path))
    with pytest.raises(InputError, match="moving camera"):
        metric(*pair)


def test_frame_counts_must_agree() -> None:
    with pytest.raises(InputError, match="as many estimated as reference frames"):
        absolute_trajectory_error(random_path(0, 5), random_path(0, 6), True)


def test_a_straight_path_has_an_ate_but_fixes_no_rotation() -> None:
    line = np.outer(np.arange(6.0), [1.0, 2, 3])
    reference = path_of(np.tile(np.eye(3), (6, 1, 1)), line)
    estimate = moved(reference, 2.0, Rotation.from_rotvec([0.2, 0.1, 0.4]).as_matrix(), np.ones(3))
    assert not align(estimate.position, reference.position, True).rotation_determined
    assert absolute_trajectory_error(estimate, reference, True).value < 1e-12
    with pytest.raises(InputError, match="one line"):
        camera_control_errors(estimate, reference, "sana_wm_paper")


def hand_pair() -> tuple[Trajectory, Trajectory]:
    """Reference: 0, 1, 2 m along x, no turn. Estimate: 0, 1, 4 m along x and a 0.2 rad turn in the last frame."""
    identity = np.tile(np.eye(3), (3, 1, 1))
    turned = identity.copy()
    turned[2] = Rotation.from_rotvec([0, 0, 0.2]).as_matrix()
    x = np.array([1.0, 0, 0])
    return path_of(turned, np.outer([0, 1, 4], x)), path_of(identity, np.outer([0, 1, 2], x))


def test_cami2v_by_hand() -> None:
    estimate, reference = hand_pair()
    turn = np.linalg.norm(Rotation.from_rotvec([0, 0, 0.2]).as_matrix() - np.eye(3))
    rot, trans, cam = camera_control_errors(estimate, reference, "cami2v_relative")
    assert (rot.value, rot.unit) == (pytest.approx(0.2), "rad")
    assert trans.value == pytest.approx(0.25)  # 1/4 against 1/2, then 4/4 against 2/2
    assert cam.value == pytest.approx(0.25 + turn)
    rot, trans, cam = camera_control_errors(estimate, reference, "cami2v_absolute")
    assert trans.value == pytest.approx(1.0)  # 1/2 against 1/2, then 4/2 against 2/2
    assert cam.value == pytest.approx(np.hypot(1, turn))


def test_metric_convention_by_hand() -> None:
    estimate, reference = hand_pair()
    rot, trans, _ = camera_control_errors(estimate, reference, "metric")
    assert (rot.value, rot.unit) == (pytest.approx(np.degrees(0.2) / 3), "deg")
    assert (trans.value, trans.unit) == (pytest.approx(2 / 3), "m")
    assert "mean over frames" in trans.definition


def test_sana_wm_code_is_the_least_squares_alignment_of_cameras() -> None:
    """Scale and shift against one linear solve of: own rotation @ shift + scale * own translation = translation."""
    reference, estimate = random_path(9), perturbed(random_path(9), 10, shift=0.4)
    rot, trans, _ = camera_control_errors(estimate, reference, "sana_wm_code")
    assert rot.value == pytest.approx(rotation_error(estimate, reference).value, rel=1e-9)
    ours, truth = (invert_rigid(invert_rigid(p.world_from_cam[0]) @ p.world_from_cam) for p in (estimate, reference))
    design = np.concatenate([ours[:, :3, :3], ours[:, :3, 3:]], axis=2).reshape(-1, 4)
    *shift, scale = np.linalg.lstsq(design, truth[:, :3, 3].ravel(), rcond=None)[0]
    turn = Rotation.from_matrix(np.swapaxes(truth[:, :3, :3], 1, 2) @ ours[:, :3, :3]).mean().as_matrix()
    centre = (scale * invert_rigid(ours)[:, :3, 3] - np.array(shift)) @ turn.T
    expected = np.linalg.norm(centre - invert_rigid(truth)[:, :3, 3], axis=1).mean()
    assert trans.value == pytest.approx(expected, rel=1e-9)


def test_every_convention_names_itself_and_its_definition() -> None:
    reference, estimate = random_path(11), perturbed(random_path(11), 12)
    texts = set()
    for name in CAMERA_CONTROL_CONVENTIONS:
        for metric in camera_control_errors(estimate, reference, name):
            assert name in metric.name
            assert metric.definition in str(metric)
            texts.add((metric.name, metric.definition))
    assert len(texts) == 3 * len(CAMERA_CONTROL_CONVENTIONS)
    with pytest.raises(InputError, match="expected one of cami2v_relative"):
        camera_control_errors(estimate, reference, "cami2v")


def test_focal_and_fov_error_after_resizing() -> None:
    reference = [Intrinsics.from_fov(60, 640, 480)] * 2
    half = [row.resized(320, 240) for row in reference]
    assert focal_error(half, reference).value == pytest.approx(0, abs=1e-9)
    longer = [dataclasses.replace(half[0], fx=half[0].fx * 1.1, fy=half[0].fy * 1.3), half[1]]
    assert focal_error(longer, reference).value == pytest.approx(100 * (0.1 + 0.3) / 4)
    wide = [Intrinsics.from_fov(70, 640, 480), reference[1]]
    assert fov_error(wide, reference).value == pytest.approx(5)
    with pytest.raises(InputError, match="one estimate a reference frame"):
        focal_error(half[:1], reference)


def test_depth_errors_by_hand() -> None:
    truth = np.array([1.0, 2, 4, 8])
    estimate = np.array([1.1, 2, 8, np.nan])
    abs_rel, rmse, delta, coverage = depth_errors(estimate, truth, [1, 1, 1, 0], [1, 1, 1, 1], median_scale=False)
    assert abs_rel.value == pytest.approx((0.1 + 0 + 1) / 3)
    assert rmse.value == pytest.approx(np.sqrt((0.01 + 0 + 16) / 3))
    assert delta.value == pytest.approx(2 / 3)
    assert coverage.value == 0.75
    partial = depth_errors(truth, truth, [1, 1, 0, 1], [1, 1, 1, 0], median_scale=False)
    assert partial[3].value == pytest.approx(2 / 3)  # of the reference's three valid pixels, not of all four
    scaled = depth_errors(3 * truth, truth, np.ones(4), np.ones(4), median_scale=True)
    assert scaled[0].value < 1e-12
    assert "median-scaled" in scaled[0].definition


def test_depth_errors_refuse_nonsense() -> None:
    ones = np.ones(3)
    with pytest.raises(InputError, match="one shape"):
        depth_errors(ones, np.ones(4), ones, ones, median_scale=False)
    with pytest.raises(InputError, match="got none"):
        depth_errors(ones, ones, [1, 0, 0], [0, 1, 1], median_scale=False)
    with pytest.raises(InputError, match="positive finite"):
        depth_errors(0 * ones, ones, ones, ones, median_scale=False)


def test_confidence_ranking_by_hand_and_by_scipy() -> None:
    error, sure = np.array([0.4, 0.1, 0.1, 0.3, 0.2, 0.0]), np.array([0.1, 0.9, 0.8, 0.2, 0.2, 0.95])
    metric, means = confidence_ranking(error, sure, groups=3)
    assert metric.value == pytest.approx(spearmanr(error, sure)[0])  # with ties on both sides
    np.testing.assert_allclose(means, (0.35, 0.15, 0.05))
    assert confidence_ranking(error, -error, groups=2)[0].value == pytest.approx(-1)
    for bad in ((error, sure[:3]), (error[:2], sure[:2]), (error, np.ones(6)), (np.ones(6), sure)):
        with pytest.raises(InputError, match="confidence: expected"):
            confidence_ranking(*bad, groups=3)
