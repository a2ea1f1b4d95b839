"""Steps in the unit of given cameras: from one frame to the next, a metre is suddenly 1.3 metres.

Two views never notice, since epipolar geometry knows no lengths; three do. A point's distance from a frame, found once
with an earlier frame and once with a later one, must be the same. Positions that tremble break that too, the less the
farther the frames are apart; a step in the unit shows at every distance alike. How much they tremble, the clip's own
short distances tell.
"""

from functools import reduce

import numpy as np

from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["scale_step"]

APART = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # frames from the middle one to either side
FRAMES, FEWEST_APART = 300, 2  # middle frames at most, so that long clips cost no more than they must; distances
LEAST_RAD, FEWEST = np.radians(0.3), 12  # between a point's two rays, on either side; points
CLOSE, SIGMAS = 4, 3.0  # frames apart that tell of trembling; what a step must be of it where the frames are farthest
UNSURE = 0.06  # standard error of a triplet's median beyond which it has no say


def scale_step(world_from_cam: Array, rows: Array, tracks: Tracks) -> float:
    """|Log| of the largest step in the unit; 0.26 is one of 1.3 times; 0 for none, NaN where no three views tell.

    world_from_cam (N, 4, 4), NaN where a frame has no pose; rows (N, 4) fx fy cx cy px; tracks in those px. At a frame,
    the log ratio of points' distances found backwards and forwards is taken with views at several distances; what all
    of them agree on counts, which is none where their signs differ or trembling explains it.
    """
    rays = [
        np.column_stack([(xy - row[2:]) / row[:2], np.ones(len(xy))]) for xy, row in zip(tracks.xy, rows, strict=True)
    ]
    posed = np.isfinite(world_from_cam[:, 0, 0])
    found: list[dict[int, float]] = []  # at each frame, by distance
    for middle in range(0, len(rays), max(1, len(rays) // FRAMES)):
        triplets = {far: (middle - far, middle, middle + far) for far in APART if far <= middle < len(rays) - far}
        told = {far: _log_ratio(world_from_cam, rays, tracks, t) for far, t in triplets.items() if posed[list(t)].all()}
        known = {far: ratio for far, ratio in told.items() if ratio is not None}
        if len(known) >= FEWEST_APART:
            found.append(known)
    tremble = _tremble(found)
    return max((_step(known, tremble) for known in found), default=float("nan"))


def _tremble(found: list[dict[int, float]]) -> float:
    """Standard deviation of the log ratio of frames one apart, since it falls with the distance; a step is too rare."""
    close = [abs(ratio) * far for known in found for far, ratio in known.items() if far <= CLOSE]
    return 1.48 * float(np.median(close)) if close else 0.0


def _step(known: dict[int, float], tremble: float) -> float:
    """What the views of one frame agree on, if trembling does not explain what the farthest say."""
    ratios = np.array(list(known.values()))
    agreed = bool((ratios > 0).all() or (ratios < 0).all())
    farthest = max(known)
    return float(np.abs(ratios).min()) if agreed and abs(known[farthest]) * farthest > SIGMAS * tremble else 0.0


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
