"""Every figure of one estimated trajectory against one reference, or the reason why there is none."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wmkit.bench.reference import Truth
from wmkit.camera import Array, Intrinsics, ScaleEstimate, ScaleKind, Trajectory
from wmkit.errors import InputError
from wmkit.metrics import (
    Metric,
    absolute_trajectory_error,
    align,
    common_frames,
    focal_error,
    relative_pose_errors,
    rotation_error,
    scale_error,
)

__all__ = ["METRIC_NAMES", "Estimate", "Score", "score"]

METRIC_NAMES = (
    "path_length",
    "ate_sim3",
    "ate_percent",
    "ate_se3",
    "scale_error",
    "net_displacement_error",
    "path_length_error",
    "scale_interval",
    "rotation_error",
    "rpe_translation",
    "rpe_rotation",
    "focal_error",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """What one engine found for a clip of N frames: its trajectory, or None with the reason, and its cameras.

    intrinsics   one row a frame, of frames of any one size; () without a trajectory.
    source_size  (width, height) px of the source's full-size pictures, which the reference's K belongs to.
    scale        what made the trajectory metric, None when it is up to scale.
    """

    frames: int
    source_size: tuple[int, int]
    trajectory: Trajectory | None = None
    reason: str = ""
    intrinsics: tuple[Intrinsics, ...] = ()
    scale: ScaleEstimate | None = None

    @property
    def posed(self) -> int:
        """Number of frames with a camera."""
        return 0 if self.trajectory is None else int(self.trajectory.posed.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`metrics` by name; each of METRIC_NAMES is there or in `unmeasured`, which says why it is not."""

    metrics: dict[str, Metric]
    unmeasured: dict[str, str]

    def value(self, name: str) -> float | None:
        """A figure, None when it was not measured."""
        metric = self.metrics.get(name)
        return None if metric is None else metric.value


def score(estimate: Estimate, truth: Truth) -> Score:
    """All of METRIC_NAMES that this estimate and this reference allow."""
    trajectory = estimate.trajectory
    if trajectory is None:
        return Score(metrics={}, unmeasured=dict.fromkeys(METRIC_NAMES, f"no trajectory: {estimate.reason}"))
    metrics: dict[str, Metric] = {}
    unmeasured: dict[str, str] = {}

    def measure(names: tuple[str, ...], compute: Callable[[], tuple[Metric, ...]]) -> None:
        try:
            for name, metric in zip(names, compute(), strict=True):
                metrics[name] = metric
        except InputError as error:
            unmeasured.update(dict.fromkeys(names, str(error)))

    measure(("path_length", "ate_sim3", "ate_percent"), lambda: _position_metrics(trajectory, truth))
    measure(("ate_se3", "scale_error"), lambda: _metric_scale_metrics(trajectory, truth))
    measure(("net_displacement_error", "path_length_error"), lambda: _length_metrics(trajectory, truth))
    measure(("scale_interval",), lambda: (_scale_interval(estimate, truth),))
    measure(("rotation_error",), lambda: (rotation_error(trajectory, _expect(truth.rotation, "rotations")),))
    measure(("rpe_translation", "rpe_rotation"), lambda: _relative(trajectory, truth))
    measure(("focal_error",), lambda: (_focal(estimate, truth),))
    return Score(metrics=metrics, unmeasured=unmeasured)


def _expect(trajectory: Trajectory | None, what: str) -> Trajectory:
    if trajectory is None:
        raise InputError(f"the reference has no {what}")
    return trajectory


def _position_metrics(estimate: Trajectory, truth: Truth) -> tuple[Metric, Metric, Metric]:
    """Path length over all frames of the reference, ATE after Sim(3) alignment, and their ratio."""
    reference = _expect(truth.position, "positions")
    if truth.horizontal is None:
        error = absolute_trajectory_error(estimate, reference, with_scale=True)
        length, across = reference.path_length, ""
    else:
        error = _horizontal_error(estimate, reference, truth.horizontal)
        level = reference.position[reference.posed] @ truth.horizontal.T
        length, across = float(np.linalg.norm(np.diff(level, axis=0), axis=1).sum()), ", horizontal"
    path = Metric(
        name="path_length",
        value=length,
        unit=error.unit,
        definition=f"length of the reference's path over all its frames{across}",
        count=int(reference.posed.sum()),
    )
    if length <= 0:
        raise InputError("alignment: expected a moving camera, but all reference positions are equal")
    share = Metric(
        name="ate_percent",
        value=100 * error.value / length,
        unit="%",
        definition=f"{error.definition}, over the path length",
        count=error.count,
    )
    return path, error, share


def _horizontal_error(estimate: Trajectory, reference: Trajectory, level: Array) -> Metric:
    """As `ate_sim3`, the vertical part of the errors left out: GPS heights are several times worse."""
    both = common_frames(estimate, reference, at_least=3)
    similarity = align(estimate.position[both], reference.position[both], with_scale=True)
    error = (similarity.apply(estimate.position[both]) - reference.position[both]) @ level.T
    return Metric(
        name="ate_sim3",
        value=float(np.sqrt((error**2).sum(axis=1).mean())),
        unit="m",
        definition="RMSE of horizontal positions after Umeyama Sim(3) alignment in 3-D",
        count=int(both.sum()),
    )


def _metric_scale_metrics(estimate: Trajectory, truth: Truth) -> tuple[Metric, Metric]:
    reference = _expect(truth.position, "positions")
    for name, path in (("estimate", estimate), ("reference", reference)):
        if path.scale is not ScaleKind.METRIC:
            raise InputError(f"the {name} is up to scale")
    return absolute_trajectory_error(estimate, reference, with_scale=False), scale_error(estimate, reference)


def _lengths_m(estimate: Trajectory, truth: Truth) -> tuple[Array, Array, int]:
    """Net displacement and path length, metres, of estimate and reference over the frames posed in both.

    Against a GPS both are horizontal, in the estimate by its rotation onto the reference.
    """
    reference = _expect(truth.position, "positions")
    for name, path in (("estimate", estimate), ("reference", reference)):
        if path.scale is not ScaleKind.METRIC:
            raise InputError(f"the {name} is up to scale")
    both = common_frames(estimate, reference, at_least=3)
    ours, true = estimate.position[both], reference.position[both]
    if truth.horizontal is not None:
        ours = ours @ align(ours, true, with_scale=True).rotation.T @ truth.horizontal.T
        true = true @ truth.horizontal.T
    own, known = _net_and_path(ours), _net_and_path(true)
    if not (known > 0).all() or not (own > 0).all():
        raise InputError("a path ends where it began")
    return own, known, int(both.sum())


def _net_and_path(position: Array) -> Array:
    """(2,) distance from the first to the last of positions (N, 2) or (N, 3), and the length of the path."""
    net = np.linalg.norm(position[-1] - position[0])
    return np.array([net, np.linalg.norm(np.diff(position, axis=0), axis=1).sum()], dtype=np.float64)


def _length_metrics(estimate: Trajectory, truth: Truth) -> tuple[Metric, Metric]:
    ours, true, count = _lengths_m(estimate, truth)
    net, path = (100 * (ours / true - 1)).tolist()
    return (
        Metric(
            name="net_displacement_error",
            value=net,
            unit="%",
            definition="signed error of the distance from the first to the last frame, as it stands",
            count=count,
        ),
        Metric(
            name="path_length_error",
            value=path,
            unit="%",
            definition="signed error of the length of the path, as it stands",
            count=count,
        ),
    )


def _scale_interval(estimate: Estimate, truth: Truth) -> Metric:
    """How far out in the scale's interval the true scale lies, the reference's net displacement taken as true."""
    if estimate.scale is None or estimate.trajectory is None:
        raise InputError("the estimate is up to scale")
    ours, true, count = _lengths_m(estimate.trajectory, truth)
    off = float(np.log(true[0] / ours[0]))
    scale = estimate.scale
    half = float(np.log(scale.high / scale.value) if off > 0 else np.log(scale.value / scale.low))
    if half <= 0:
        raise InputError("the scale was given as exact")
    return Metric(
        name="scale_interval",
        value=abs(off) / half,
        unit="half-widths",
        definition="|log of true over estimated net displacement| over half of the 95 % interval; inside it up to 1",
        count=count,
    )


def _relative(estimate: Trajectory, truth: Truth) -> tuple[Metric, Metric]:
    """RPE over neighbouring frames; a reference whose rotations live in a world of their own gives rotations only."""
    if truth.position is None or truth.position is not truth.rotation:
        raise InputError("the reference has no full poses")
    return relative_pose_errors(estimate, truth.position, delta_frames=1, with_scale=True)


def _focal(estimate: Estimate, truth: Truth) -> Metric:
    if truth.intrinsics_px is None or estimate.trajectory is None:
        raise InputError("the reference has no intrinsics")
    known = np.flatnonzero(np.isfinite(truth.intrinsics_px[:, 0]) & estimate.trajectory.posed)
    width, height = estimate.source_size
    reference = [
        Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height)
        for fx, fy, cx, cy in truth.intrinsics_px[known].tolist()
    ]
    metric = focal_error([estimate.intrinsics[index] for index in known], reference)
    return dataclasses.replace(metric, definition=f"{metric.definition}, posed frames")
