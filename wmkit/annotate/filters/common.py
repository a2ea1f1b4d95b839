"""What filters are made of: verdicts that several share, derivatives, picture motion."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, ScaleKind, Trajectory
from wmkit.clip import Annotation, Verdict

__all__ = [
    "adjacent_posed",
    "dense_flow",
    "derivative_verdict",
    "differentiated",
    "evidence_verdict",
    "frame_factors",
    "length_unit",
    "median_motion_px",
    "no_trajectory",
    "there_and_back",
    "turn_rate",
    "unexplained",
]

MIN_TRACKS = 8  # a median of fewer points says nothing about a picture


def no_trajectory(annotation: Annotation, name: str, unit: str) -> Verdict:
    """The verdict of a trajectory filter on a clip without one: UNMEASURED, with the pose stage's own reason."""
    missing = annotation.no_trajectory
    return Verdict.unmeasured(name, unit, "no_trajectory" if missing is None else f"no_trajectory: {missing.reason}")


def adjacent_posed(trajectory: Trajectory) -> NDArray[np.int64]:
    """(M,) indices i whose frames i and i + 1 are both posed; a gap of unposed frames is never bridged."""
    return np.flatnonzero(trajectory.posed[:-1] & trajectory.posed[1:])


def length_unit(annotation: Annotation) -> str:
    """What a length of the trajectory is measured in: "m" when metric, else "median_depth"."""
    metric = annotation.trajectory is not None and annotation.trajectory.scale is ScaleKind.METRIC
    return "m" if metric else "median_depth"


def differentiated(values: Array, time_s: Array, order: int) -> Array:
    """(M, D) derivatives of `order` of samples (N, D) at times (N,) s, by differences in turn, each at its middle.

    Samples that are NaN, frames without a pose, take every difference that needs them along: no gap is bridged.
    """
    for _ in range(order):
        values = np.diff(values, axis=0) / np.diff(time_s)[:, None]
        time_s = (time_s[:-1] + time_s[1:]) / 2
    return values[np.isfinite(values).all(axis=1)]


def derivative_verdict(annotation: Annotation, name: str, order: int) -> Verdict:
    """95th percentile of the length of the position's derivative of `order`, in lengths a second to that order."""
    unit = f"{length_unit(annotation)}/s^{order}"
    trajectory = annotation.trajectory
    if trajectory is None:
        return no_trajectory(annotation, name, unit)
    derivative = differentiated(trajectory.position, trajectory.time_s, order)
    if len(derivative) == 0:
        return Verdict.unmeasured(name, unit, "too_few_posed_frames_in_a_row")
    return Verdict.measured(name, float(np.percentile(np.linalg.norm(derivative, axis=1), 95)), unit)


def evidence_verdict(annotation: Annotation, name: str, unit: str) -> Verdict:
    """What the pose backend itself measured under this name; UNMEASURED where it did not."""
    if annotation.trajectory is None:
        return no_trajectory(annotation, name, unit)
    confidence = annotation.confidence
    value = None if confidence is None else dict(confidence.quality.features).get(name)
    if value is None or np.isnan(value):
        return Verdict.unmeasured(name, unit, "no_quality: the pose backend measures none")
    return Verdict.measured(name, value, unit)


def turn_rate(trajectory: Trajectory) -> tuple[Array, Array]:
    """(N - 1, 3) angular velocity in the world, rad/s, from each frame to the next, and its times (N - 1,) s.

    The rotation vector of R1 R0' over the time between; NaN where either frame has no pose.
    """
    turn = trajectory.rotation[1:] @ np.swapaxes(trajectory.rotation[:-1], 1, 2)
    apart = turn - np.swapaxes(turn, 1, 2)
    skew = apart[:, (2, 0, 1), (1, 2, 0)]  # twice the sine of the angle, along the axis
    sine, cosine = np.linalg.norm(skew, axis=1) / 2, (np.trace(turn, axis1=1, axis2=2) - 1) / 2
    angle = np.arctan2(sine, cosine)
    with np.errstate(invalid="ignore", divide="ignore"):
        stretch = np.where(sine > 1e-12, angle / (2 * sine), 0.5)
    time_s = trajectory.time_s
    return skew * (stretch / np.diff(time_s))[:, None], (time_s[:-1] + time_s[1:]) / 2


def frame_factors(annotation: Annotation) -> Array | None:
    """(K, 2) frame and metres per unit there, by frame, of the cue that measured one frame by frame; None without."""
    scale = annotation.scale
    rows = [vote.frame_factors for vote in (() if scale is None else scale.votes) if vote.frame_factors]
    return np.array(max(rows, key=len), dtype=np.float64) if rows else None


def dense_flow(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """(h, w, 2) px: where each pixel of `before` (h, w) is in `now`, by DIS' fast preset; None of too small pictures.

    OpenCV's DIS ends the process where the short side is below 32 px and the long one above 64.
    """
    import cv2

    if min(before.shape) < (16 if max(before.shape) <= 64 else 32):
        return None
    dis = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_FAST)
    return np.asarray(dis.calc(before, now, None), np.float32)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _moved_onto(picture: NDArray[np.uint8], target: NDArray[np.uint8]) -> Array:
    """A grey picture (h, w) with its parts moved to where `dense_flow` finds them in `target`.

    NaN where that is outside of the picture; the picture itself where it is too small for the flow.
    """
    import cv2

    flow = dense_flow(target, picture)
    if flow is None:
        return picture.astype(np.float64)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    x, y = x + flow[..., 0], y + flow[..., 1]
    moved = cv2.remap(picture.astype(np.float64), x, y, cv2.INTER_LINEAR)
    height, width = picture.shape
    return np.where((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1), moved, np.nan)


def unexplained(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> float:
    """Mean grey levels of `now` (h, w) that `before` leaves, once its parts are moved along dense flow."""
    moved = _moved_onto(before, now)
    led = moved if np.isfinite(moved).any() else before  # flow out of the picture everywhere leads nowhere
    return float(np.nanmean(np.abs(led - now.astype(np.float64))))


def median_motion_px(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> float | None:
    """Median distance, px, that a regular grid of points moves between two grey pictures (h, w).

    Pyramidal Lucas-Kanade, checked forward and backward; None when fewer than 8 points survive. Points without
    texture are dropped, each other part of the picture has one vote, so a moving subject does not carry the median.
    """

    step = max(8, round(max(before.shape) / 18))
    y, x = np.mgrid[step // 2 : before.shape[0] : step, step // 2 : before.shape[1] : step]
    start = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)[:, None]
    if len(start) < MIN_TRACKS:
        return None
    settings = {"winSize": (15, 15), "maxLevel": 3, "criteria": (3, 10, 0.03), "minEigThreshold": 1e-3}
    end, missed_px = there_and_back(before, now, start, settings)
    kept = missed_px < 0.5
    if kept.sum() < MIN_TRACKS:
        return None
    return float(np.median(np.linalg.norm(end - start[:, 0], axis=1)[kept]))


def there_and_back(
    before: NDArray[np.uint8], now: NDArray[np.uint8], start: NDArray[np.float32], settings: dict[str, Any]
) -> tuple[NDArray[np.float32], Array]:
    """Pyramidal Lucas-Kanade of points (n, 1, 2) px from one grey picture (h, w) to another, and back again.

    Gives where they end (n, 2) and by how many px each misses its start (n,), infinitely many where it is lost.
    """
    import cv2

    guess = np.empty_like(start)  # cv2's stub wants an array; without the initial-flow flag it is only written to
    end, there, _ = cv2.calcOpticalFlowPyrLK(before, now, start, guess, **settings)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, end, guess.copy(), **settings)
    missed_px = np.linalg.norm(back - start, axis=2)[:, 0]
    lost = np.minimum(there, again).ravel() == 0
    return np.asarray(end[:, 0], np.float32), np.where(lost, np.inf, missed_px)
