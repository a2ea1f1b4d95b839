"""How far an estimated trajectory, camera or depth map is from the truth. numpy only.

Every figure is a `Metric`: it carries the definition it was computed by, because the same names (RotErr, TransErr,
CamMC) mean different numbers in different papers. Estimate and reference are given frame by frame; a frame that
either side left unposed leaves every metric. Input on which a figure would mean nothing (too few common frames, a
camera that never moves) raises InputError: no metric here ever returns NaN or a number by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wmkit.camera import Array, Intrinsics, ScaleKind, Trajectory, frozen_array, invert_rigid
from wmkit.errors import InputError

__all__ = [
    "CAMERA_CONTROL_CONVENTIONS",
    "Metric",
    "Similarity",
    "absolute_trajectory_error",
    "align",
    "camera_control_errors",
    "common_frames",
    "confidence_ranking",
    "depth_errors",
    "focal_error",
    "fov_error",
    "relative_pose_errors",
    "rotation_angle_rad",
    "rotation_error",
    "scale_error",
]

CAMERA_CONTROL_CONVENTIONS = ("cami2v_relative", "cami2v_absolute", "sana_wm_paper", "sana_wm_code", "metric")
STILL_TOLERANCE = 1e-12  # spread of positions over their magnitude that float64 cannot tell from a still camera
LINE_TOLERANCE = 1e-12  # ratio of singular values (squared widths): a path 1e-6 as wide as long is float32 noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure with what it means.

    name        stable snake_case word.
    value       finite number in `unit` ("" for a pure number).
    definition  one line: alignment, normalisation, aggregation.
    count       how many frames (pairs, pixels) it was computed from.
    """

    name: str
    value: float
    unit: str
    definition: str
    count: int

    def __post_init__(self) -> None:
        if not np.isfinite(self.value):
            raise InputError(
                f"metric {self.name}: expected a finite value, got {self.value}; look at the input's numbers"
            )

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} {self.unit}".rstrip() + f"  [{self.definition}; n={self.count}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Similarity:
    """x_reference = scale * rotation @ x_estimate + translation.

    rotation_determined is false when the positions lie on one line, so that the turn about it is arbitrary: aligned
    positions are still right, aligned rotations mean nothing.
    """

    scale: float
    rotation: Array
    translation: Array
    rotation_determined: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", frozen_array(self.rotation, np.float64, (3, 3), "similarity rotation"))
        object.__setattr__(self, "translation", frozen_array(self.translation, np.float64, (3,), "translation"))
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(
                f"similarity: expected a positive scale, got {self.scale}; the two paths do not correspond"
            )

    def apply(self, positions: Array) -> Array:
        """Transform positions (..., 3)."""
        return self.scale * positions @ self.rotation.T + self.translation

    def apply_transforms(self, world_from_cam: Array) -> Array:
        """Transform camera poses (..., 4, 4): positions by the similarity, rotations by its rotation."""
        aligned = world_from_cam.copy()
        aligned[..., :3, :3] = self.rotation @ world_from_cam[..., :3, :3]
        aligned[..., :3, 3] = self.apply(world_from_cam[..., :3, 3])
        return aligned


def rotation_angle_rad(rotation: Array) -> Array:
    """Geodesic angle (...,) in [0, pi] of rotations (..., 3, 3); by atan2, as acos loses half its digits near 0."""
    skew = rotation - np.swapaxes(rotation, -1, -2)
    sine = np.sqrt(skew[..., 2, 1] ** 2 + skew[..., 0, 2] ** 2 + skew[..., 1, 0] ** 2) / 2
    cosine = (np.trace(rotation, axis1=-2, axis2=-1) - 1) / 2
    return np.arctan2(sine, cosine)


def align(estimate_positions: ArrayLike, reference_positions: ArrayLike, with_scale: bool) -> Similarity:
    """Least-squares SE(3) or, `with_scale`, Sim(3) from estimate to reference positions, both (N, 3) finite.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    Raises InputError for fewer than three positions or when one side does not move.
    """
    estimate = frozen_array(estimate_positions, np.float64, (None, 3), "estimate positions")
    reference = frozen_array(reference_positions, np.float64, (len(estimate), 3), "reference positions")
    if len(estimate) < 3:
        raise InputError(f"alignment: expected at least 3 frames posed on both sides, got {len(estimate)}")
    if not (np.isfinite(estimate).all() and np.isfinite(reference).all()):
        raise InputError("alignment: expected finite positions; leave unposed frames out")
    estimate_mean, reference_mean = estimate.mean(axis=0), reference.mean(axis=0)
    estimate_centred, reference_centred = estimate - estimate_mean, reference - reference_mean
    _expect_moving(estimate, "estimate")
    _expect_moving(reference, "reference")
    u, singular, vt = np.linalg.svd(reference_centred.T @ estimate_centred / len(estimate))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = 1.0
    if with_scale:
        scale = float((singular * sign).sum() / (estimate_centred**2).sum(axis=1).mean())
    return Similarity(
        scale=scale,
        rotation=rotation,
        translation=reference_mean - scale * rotation @ estimate_mean,
        rotation_determined=bool(singular[1] > LINE_TOLERANCE * singular[0]),
    )


def common_frames(estimate: Trajectory, reference: Trajectory, at_least: int) -> NDArray[np.bool_]:
    """(N,) mask of the frames posed on both sides; InputError if lengths differ or fewer than `at_least` remain."""
    if len(estimate) != len(reference):
        raise InputError(
            f"metrics: expected as many estimated as reference frames, got {len(estimate)}, {len(reference)}"
        )
    both = estimate.posed & reference.posed
    if both.sum() < at_least:
        raise InputError(f"metrics: expected at least {at_least} frames posed on both sides, got {int(both.sum())}")
    return both


def absolute_trajectory_error(estimate: Trajectory, reference: Trajectory, with_scale: bool) -> Metric:
    """ATE: RMSE of positions after alignment, in the reference's unit; equals evo_ape -a (-as `with_scale`)."""
    both = common_frames(estimate, reference, at_least=3)
    similarity = align(estimate.position[both], reference.position[both], with_scale)
    distance = np.linalg.norm(similarity.apply(estimate.position[both]) - reference.position[both], axis=1)
    group = "Sim(3)" if with_scale else "SE(3)"
    return Metric(
        name="ate_sim3" if with_scale else "ate_se3",
        value=float(np.sqrt((distance**2).mean())),
        unit=_length_unit(reference),
        definition=f"RMSE of positions after Umeyama {group} alignment",
        count=int(both.sum()),
    )


def rotation_error(estimate: Trajectory, reference: Trajectory) -> Metric:
    """Mean geodesic angle in degrees after the best global rotation (chordal L2 mean of reference @ estimate^T).

    Hartley et al., "Rotation averaging", IJCV 2013. Independent of positions and scale. Raises InputError for fewer
    than two common frames (one frame always aligns to zero).
    """
    both = common_frames(estimate, reference, at_least=2)
    rotation = _mean_rotation(reference.rotation[both] @ np.swapaxes(estimate.rotation[both], 1, 2))
    residual = np.swapaxes(reference.rotation[both], 1, 2) @ rotation @ estimate.rotation[both]
    return Metric(
        name="rotation_error",
        value=float(np.degrees(rotation_angle_rad(residual)).mean()),
        unit="deg",
        definition="mean geodesic angle after the best global rotation (chordal L2 mean)",
        count=int(both.sum()),
    )


def relative_pose_errors(
    estimate: Trajectory, reference: Trajectory, delta_frames: int, with_scale: bool
) -> tuple[Metric, Metric]:
    """RPE: RMSE of translation (reference's unit) and rotation (deg) over all pairs (i, i + delta_frames).

    The error of a pair is the transform (reference_i^-1 reference_j)^-1 (estimate_i^-1 estimate_j) (Sturm et al.,
    IROS 2012); `with_scale` multiplies the estimate by the scale of its Sim(3) alignment first. Equals evo_rpe
    --all_pairs. Raises InputError when no pair is posed on both sides.
    """
    if delta_frames < 1:
        raise InputError(f"delta_frames: expected at least 1, got {delta_frames}")
    both = common_frames(estimate, reference, at_least=2)
    first = np.flatnonzero(both[:-delta_frames] & both[delta_frames:])
    if not len(first):
        raise InputError(f"RPE: expected at least one pair of posed frames {delta_frames} apart, got none")
    poses = estimate.world_from_cam.copy()
    if with_scale:
        poses[:, :3, 3] *= align(estimate.position[both], reference.position[both], True).scale
    step = invert_rigid(poses[first]) @ poses[first + delta_frames]
    truth = invert_rigid(reference.world_from_cam[first]) @ reference.world_from_cam[first + delta_frames]
    residual = invert_rigid(truth) @ step
    distance = np.linalg.norm(residual[:, :3, 3], axis=1)
    angle_deg = np.degrees(rotation_angle_rad(residual[:, :3, :3]))
    how = f"RMSE over all frame pairs {delta_frames} apart"
    scaled = f"{how}, after Sim(3) scale" if with_scale else f"{how}, scale as given"
    return (
        Metric(
            name="rpe_translation",
            value=float(np.sqrt((distance**2).mean())),
            unit=_length_unit(reference),
            definition=scaled,
            count=len(first),
        ),
        Metric(
            name="rpe_rotation",
            value=float(np.sqrt((angle_deg**2).mean())),
            unit="deg",
            definition=how,
            count=len(first),
        ),
    )


def scale_error(estimate: Trajectory, reference: Trajectory) -> Metric:
    """Signed error in % of a METRIC estimate's scale against a METRIC reference; positive: estimate too large."""
    _expect_metric(estimate, reference)
    both = common_frames(estimate, reference, at_least=3)
    scale = align(estimate.position[both], reference.position[both], True).scale
    return Metric(
        name="scale_error",
        value=100 * (1 / scale - 1),
        unit="%",
        definition="100 (1/s - 1), s the Umeyama Sim(3) scale from estimate to reference",
        count=int(both.sum()),
    )


def focal_error(estimate: Sequence[Intrinsics], reference: Sequence[Intrinsics]) -> Metric:
    """Mean relative error in % of fx and fy over frames; the estimate is first resized to the reference's size."""
    pairs = _intrinsics_pairs(estimate, reference)
    errors = [abs(e / r - 1) for est, ref in pairs for e, r in ((est.fx, ref.fx), (est.fy, ref.fy))]
    return Metric(
        name="focal_error",
        value=float(100 * np.mean(errors)),
        unit="%",
        definition="mean over frames of |f/f_ref - 1|, fx and fy averaged",
        count=len(pairs),
    )


def fov_error(estimate: Sequence[Intrinsics], reference: Sequence[Intrinsics]) -> Metric:
    """Mean absolute error of the horizontal field of view in degrees (the unit ViPE reports focal errors in)."""
    pairs = _intrinsics_pairs(estimate, reference)
    return Metric(
        name="fov_error",
        value=float(np.mean([abs(est.fov_x_deg - ref.fov_x_deg) for est, ref in pairs])),
        unit="deg",
        definition="mean over frames of the absolute difference of horizontal fields of view",
        count=len(pairs),
    )


def camera_control_errors(
    estimate: Trajectory, reference: Trajectory, convention: str
) -> tuple[Metric, Metric, Metric]:
    """RotErr, TransErr and CamMC by one of `CAMERA_CONTROL_CONVENTIONS`; figures of two conventions never compare.

    All make both paths relative to their first common frame, then per frame: RotErr the geodesic angle, TransErr the
    L2 distance, CamMC the Frobenius norm of the difference of the 3x4 matrices [R|t].

    cami2v_relative  sums, radians; each path's translations divided by its own largest norm (arXiv 2410.15957).
    cami2v_absolute  sums, radians; both divided by the reference's largest norm (RealCam-I2V); both METRIC.
    sana_wm_paper    means, degrees; Umeyama Sim(3) of estimate to reference (arXiv 2605.15178, D.3).
    sana_wm_code     means, degrees; as a public script for that benchmark does it: rotation from the chordal mean,
                     scale and shift by least squares on cam_from_world translations (PyTorch3D's
                     corresponding_cameras_alignment).
    metric           means, degrees and metres; nothing aligned but the first frame, both METRIC.

    Raises InputError for fewer than three common frames, a path that does not move where it is normalised, or
    positions on one line where they are to fix a rotation (sana_wm_paper).
    """
    if convention not in CAMERA_CONTROL_CONVENTIONS:
        raise InputError(f"convention: expected one of {', '.join(CAMERA_CONTROL_CONVENTIONS)}, got {convention!r}")
    both = common_frames(estimate, reference, at_least=3)
    if convention != "metric":
        _expect_moving(reference.position[both], "reference")
        _expect_moving(estimate.position[both], "estimate")
    ours, truth = (_relative_to_first(path.world_from_cam[both]) for path in (estimate, reference))
    match convention:
        case "cami2v_relative":
            ours, truth = _divided(ours, _reach(ours)), _divided(truth, _reach(truth))
            unit, how = "", "translations over each path's own largest norm"
        case "cami2v_absolute":
            _expect_metric(estimate, reference)
            reach = _reach(truth)
            ours, truth = _divided(ours, reach), _divided(truth, reach)
            unit, how = "", "translations over the reference's largest norm"
        case "sana_wm_paper":
            similarity = align(ours[:, :3, 3], truth[:, :3, 3], with_scale=True)
            if not similarity.rotation_determined:
                raise InputError("sana_wm_paper: expected positions that fix a rotation, but they lie on one line")
            ours = similarity.apply_transforms(ours)
            unit, how = _length_unit(reference), "after Umeyama Sim(3)"
        case "sana_wm_code":
            ours = _align_cameras(ours, truth).apply_transforms(ours)
            unit, how = _length_unit(reference), "after Sim(3) of cameras (chordal rotation, least-squares scale)"
        case _:
            _expect_metric(estimate, reference)
            unit, how = "m", "no alignment beyond the first frame"
    return _control_metrics(ours, truth, convention, unit, how)


def _control_metrics(ours: Array, truth: Array, convention: str, unit: str, how: str) -> tuple[Metric, Metric, Metric]:
    in_sum = convention.startswith("cami2v")
    angle = rotation_angle_rad(np.swapaxes(truth[:, :3, :3], 1, 2) @ ours[:, :3, :3])
    distance = np.linalg.norm(ours[:, :3, 3] - truth[:, :3, 3], axis=1)
    frobenius = np.linalg.norm((ours - truth)[:, :3], axis=(1, 2))
    figures = (
        ("rot_err", angle if in_sum else np.degrees(angle), "rad" if in_sum else "deg", "geodesic angle"),
        ("trans_err", distance, unit, "L2 distance"),
        ("cam_mc", frobenius, "", "Frobenius norm of [R|t] difference"),
    )
    first, second, third = (
        Metric(
            name=f"{name}_{convention}",
            value=float(values.sum() if in_sum else values.mean()),
            unit=figure_unit,
            definition=f"{'sum' if in_sum else 'mean'} over frames of {what}, relative to first frame, {how}",
            count=len(values),
        )
        for name, values, figure_unit, what in figures
    )
    return first, second, third


def depth_errors(
    estimate: ArrayLike, reference: ArrayLike, estimate_valid: ArrayLike, reference_valid: ArrayLike, median_scale: bool
) -> tuple[Metric, ...]:
    """AbsRel, RMSE, delta<1.25 and coverage of z-depth arrays of one shape with their validity masks.

    Errors are over pixels valid on both sides; coverage is their share of the reference's valid pixels.
    `median_scale` first multiplies the estimate by median(reference) / median(estimate) (Eigen et al. 2014 onwards).
    Raises InputError when shapes differ, no pixel is valid on both sides or a valid depth is not positive.
    """
    ours, truth = np.asarray(estimate, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    ours_valid, truth_valid = np.asarray(estimate_valid, dtype=np.bool_), np.asarray(reference_valid, dtype=np.bool_)
    if not ours.shape == truth.shape == ours_valid.shape == truth_valid.shape:
        raise InputError(f"depth: expected arrays and masks of one shape, got {ours.shape} and {truth.shape}")
    both = ours_valid & truth_valid
    if not both.any():
        raise InputError("depth: expected pixels valid in estimate and reference, got none")
    coverage = float(both.sum() / truth_valid.sum())
    ours, truth = ours[both], truth[both]
    if not (np.isfinite(ours).all() and np.isfinite(truth).all() and ours.min() > 0 and truth.min() > 0):
        raise InputError("depth: expected positive finite depth wherever it is valid")
    if median_scale:
        ours = ours * (np.median(truth) / np.median(ours))
    how = "median-scaled" if median_scale else "scale as given"
    ratio = np.maximum(ours / truth, truth / ours)
    figures = (
        ("abs_rel", np.mean(np.abs(ours - truth) / truth), f"mean |z - z_ref| / z_ref, {how}"),
        ("rmse", np.sqrt(np.mean((ours - truth) ** 2)), f"root mean square of z - z_ref in z_ref's unit, {how}"),
        ("delta_1_25", np.mean(ratio < 1.25), f"share with max(z/z_ref, z_ref/z) < 1.25, {how}"),
        ("coverage", coverage, "share of the reference's valid pixels that the estimate covers"),
    )
    return tuple(
        Metric(name=f"depth_{name}", value=float(value), unit="", definition=definition, count=int(both.sum()))
        for name, value, definition in figures
    )


def confidence_ranking(error: ArrayLike, confidence: ArrayLike, groups: int) -> tuple[Metric, Array]:
    """Whether the more confident errs less: Spearman's rank correlation, and the mean error of equal groups.

    error, confidence  (M,), of the same pixels. The metric is -1 where confidence sorts errors perfectly; the array
    (groups,) holds mean errors from the least confident group to the most.
    Raises InputError for other shapes, fewer values than groups, or one value alone on either side.
    """
    wrong, sure = np.asarray(error, dtype=np.float64), np.asarray(confidence, dtype=np.float64)
    if wrong.ndim != 1 or wrong.shape != sure.shape or len(wrong) < max(groups, 2):
        raise InputError(f"confidence: expected as many errors as values, got {wrong.shape} and {sure.shape}")
    if np.ptp(wrong) == 0 or np.ptp(sure) == 0:
        raise InputError("confidence: expected errors and values that differ; one number cannot be ranked")
    ranks = np.stack([_ranks(wrong), _ranks(sure)])
    order = np.argsort(sure, kind="stable")
    means = np.array([part.mean() for part in np.array_split(wrong[order], groups)])
    metric = Metric(
        name="confidence_spearman",
        value=float(np.asarray(np.corrcoef(ranks))[0, 1]),
        unit="",
        definition="Spearman's rank correlation of confidence and |error|, -1 is best",
        count=len(wrong),
    )
    return metric, means


def _ranks(values: Array) -> Array:
    """Ranks from 0, ties sharing their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def _mean_rotation(rotations: Array) -> Array:
    """Rotation nearest to the arithmetic mean of rotations (N, 3, 3); InputError when they cancel out."""
    u, singular, vt = np.linalg.svd(rotations.mean(axis=0))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    if singular[1] + sign[2] * singular[2] <= 1e-9:  # unique iff positive; 1e-9 is far above float64 noise of a mean
        raise InputError("rotation alignment: expected rotations that agree on a mean, but they cancel out")
    return (u * sign) @ vt


def _align_cameras(ours: Array, truth: Array) -> Similarity:
    cam_from_world_ours, cam_from_world_truth = invert_rigid(ours), invert_rigid(truth)
    to_world = ours[:, :3, :3]
    # least squares of ours_R @ shift + scale * ours_t = truth_t over shift (3,) and scale
    a = (to_world @ cam_from_world_ours[:, :3, 3:])[..., 0]
    b = (to_world @ cam_from_world_truth[:, :3, 3:])[..., 0]
    a_centred, b_centred = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = float((a_centred * b_centred).sum() / (a_centred**2).sum())
    rotation = _mean_rotation(truth[:, :3, :3] @ np.swapaxes(ours[:, :3, :3], 1, 2))
    return Similarity(scale=scale, rotation=rotation, translation=-rotation @ (b.mean(axis=0) - scale * a.mean(axis=0)))


def _relative_to_first(world_from_cam: Array) -> Array:
    relative = world_from_cam.copy()
    rotation_t = world_from_cam[0, :3, :3].T
    relative[:, :3, :3] = rotation_t @ world_from_cam[:, :3, :3]
    # subtracted before rotating: a short path far from the origin keeps its digits
    relative[:, :3, 3] = (world_from_cam[:, :3, 3] - world_from_cam[0, :3, 3]) @ rotation_t.T
    return relative


def _expect_moving(positions: Array, name: str) -> None:
    spread = np.abs(positions - positions[0]).max()
    if spread <= STILL_TOLERANCE * np.abs(positions).max():
        raise InputError(f"alignment: expected a moving camera, but all {name} positions are equal")


def _reach(relative: Array) -> float:
    """Largest distance from the first camera."""
    return float(np.linalg.norm(relative[:, :3, 3], axis=1).max())


def _divided(world_from_cam: Array, length: float) -> Array:
    divided = world_from_cam.copy()
    divided[:, :3, 3] /= length
    return divided


def _length_unit(trajectory: Trajectory) -> str:
    return "m" if trajectory.scale is ScaleKind.METRIC else "reference units"


def _expect_metric(estimate: Trajectory, reference: Trajectory) -> None:
    for name, path in (("estimate", estimate), ("reference", reference)):
        if path.scale is not ScaleKind.METRIC:
            raise InputError(f"metrics: expected a metric {name}, got one that is {path.scale.value}")


def _intrinsics_pairs(
    estimate: Sequence[Intrinsics], reference: Sequence[Intrinsics]
) -> list[tuple[Intrinsics, Intrinsics]]:
    if len(estimate) != len(reference) or not estimate:
        raise InputError(f"intrinsics: expected one estimate a reference frame, got {len(estimate)}, {len(reference)}")
    return [(e.resized(r.width, r.height), r) for e, r in zip(estimate, reference, strict=True)]
