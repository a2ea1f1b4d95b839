"""Steps in the unit of given cameras: from one frame to the next, a metre is suddenly 1.3 metres.

Two views never notice, since epipolar geometry knows no lengths; three do. A point's distance from a frame, found once
with an earlier frame and once with a later one, must be the same.
"""

from functools import reduce

import numpy as np

from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["scale_step"]

APART = (2, 4, 8, 16, 32)  # frames from the middle one to either side
TRIPLETS = 300  # of each distance at most, so that long clips cost no more than they must
LEAST_RAD, FEWEST = np.radians(0.3), 12  # between a point's two rays, on either side; points
UNSURE = 0.06  # standard error of a triplet's median beyond which it has no say


def scale_step(world_from_cam: Array, rows: Array, tracks: Tracks) -> float:
    """Largest |log ratio|, over triplets of frames, of points' distances found backwards and forwards; NaN without any.

    world_from_cam (N, 4, 4), NaN where a frame has no pose; rows (N, 4) fx fy cx cy px; tracks in those px. 0.26 is a
    step of 1.3 times. Of a triplet the median counts, weighted by the points' parallax.
    """
    rays = [
        np.column_stack([(xy - row[2:]) / row[:2], np.ones(len(xy))]) for xy, row in zip(tracks.xy, rows, strict=True)
    ]
    posed = np.isfinite(world_from_cam[:, 0, 0])
    steps = []
    for apart in APART:
        for middle in range(apart, len(rays) - apart, max(1, apart // 4, len(rays) // TRIPLETS)):
            triplet = (middle - apart, middle, middle + apart)
            if posed[list(triplet)].all():
                steps.append(_log_ratio(world_from_cam, rays, tracks, triplet))
    known = [abs(step) for step in steps if step is not None]
    return max(known) if known else float("nan")


def _log_ratio(world_from_cam: Array, rays: list[Array], tracks: Tracks, triplet: tuple[int, int, int]) -> float | None:
    ids = [tracks.ids[frame] for frame in triplet]
    common = reduce(lambda one, other: np.intersect1d(one, other, assume_unique=True), ids)
    if len(common) < FEWEST:
        return None
    before, middle, after = (rays[f][np.searchsorted(own, common)] for f, own in zip(triplet, ids, strict=True))
    pose_before, pose_middle, pose_after = world_from_cam[list(triplet)]
    back, back_rad = _distance(pose_middle, pose_before, middle, before)
    ahead, ahead_rad = _distance(pose_middle, pose_after, middle, after)
    sound = (back > 0) & (ahead > 0) & (np.minimum(back_rad, ahead_rad) > LEAST_RAD)
    if sound.sum() < FEWEST:
        return None
    ratio = np.log(back[sound] / ahead[sound])
    weight = 1 / (back_rad[sound] ** -2 + ahead_rad[sound] ** -2)
    median = _weighted_median(ratio, weight)
    spread = 1.48 * _weighted_median(np.abs(ratio - median), weight)
    error = 1.25 * spread * np.sqrt((weight**2).sum()) / weight.sum()  # of a median of normal errors
    return median if error < UNSURE else None


def _distance(pose: Array, other: Array, ray: Array, seen: Array) -> tuple[Array, Array]:
    """(n,) z of points on `ray` (n, 3) of `pose` that `other` sees along `seen` (n, 3), and the angle there, rad."""
    turn = other[:3, :3].T @ pose[:3, :3]
    shift = other[:3, :3].T @ (pose[:3, 3] - other[:3, 3])
    turned = ray @ turn.T
    across = np.cross(seen, turned)
    power = np.maximum((across**2).sum(axis=1), 1e-18)
    sine = np.sqrt(power) / np.linalg.norm(turned, axis=1) / np.linalg.norm(seen, axis=1)
    return -(across * np.cross(seen, shift)).sum(axis=1) / power, np.arcsin(np.minimum(sine, 1.0))


def _weighted_median(values: Array, weight: Array) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
