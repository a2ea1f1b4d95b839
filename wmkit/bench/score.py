"""Every figure of one estimated trajectory against one reference, or the reason why there is none."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wmkit.bench.reference import Truth
from wmkit.camera import Array, Intrinsics, ScaleKind, Trajectory
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
    """

    frames: int
    source_size: tuple[int, int]
    trajectory: Trajectory | None = None
    reason: str = ""
    intrinsics: tuple[Intrinsics, ...] = ()

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
