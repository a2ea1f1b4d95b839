"""Which frames plane-sweep stereo uses: keyframes spread over the clip, neighbours by baseline, planes by depth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, invert_rigid
from wmkit.clip import Annotation

__all__ = ["Sweep", "chosen_frames", "map_size", "plan_sweeps"]

MIN_POINTS = 12  # fewer visible points say nothing about the range of depths
MAX_POINTS = 500  # more sharpen neither a median nor an overlap
MAX_TURN_DEG = 30.0
MIN_OVERLAP = 0.4  # share of the keyframe's points that a neighbour must see
USUAL_BASELINE = (0.02, 0.15)  # of the median depth: below, depth is vague; above, occlusion and warp spoil matching
LAST_BASELINE = (0.005, 0.4)  # taken only when nothing better is there
BOTH_SIDES, ONE_SIDE = (0.06, 0.12), (0.04, 0.07, 0.10, 0.14)  # baselines aimed at before and after the keyframe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """One keyframe: its frame index, the neighbours' indices, and the inverse depths (d,), increasing, to try."""

    frame: int
    neighbours: tuple[int, ...]
    inverse_depth: Array


def chosen_frames(posed: NDArray[np.bool_], most: int | None, only: tuple[int, ...] = ()) -> list[int]:
    """Posed frames that get depth, increasing: those of `only`, else `most` evenly spread; all when `most` is None."""
    frames = np.flatnonzero(posed).tolist()
    if only:
        return [frame for frame in frames if frame in only]
    return frames if most is None else [frames[place] for place in _spread(len(frames), most)]


def map_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """(width, height) px of the maps of frames of that size: the long side at most `max_side`, never enlarged."""
    shrink = min(1.0, max_side / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def plan_sweeps(annotation: Annotation, keyframes: list[int], planes: int, reach: int | None = None) -> list[Sweep]:
    """One sweep a keyframe, in their order; keyframes without points or baseline are left out.

    Neighbours are at most `reach` frames away; None is any distance. Needs `annotation.trajectory` and
    `annotation.points`; empty when no keyframe has a usable neighbour.
    """
    trajectory, points = annotation.trajectory, annotation.points
    if trajectory is None or points is None:
        return []
    posed = np.flatnonzero(trajectory.posed)
    cam_from_world = invert_rigid(trajectory.world_from_cam[posed])
    matrices = np.stack([annotation.intrinsics[i].matrix for i in posed])
    size = (annotation.view.width, annotation.view.height)
    sweeps = []
    for key in np.searchsorted(posed, keyframes).tolist():
        z, seen = _project(points.xyz, cam_from_world[key], matrices[key], size)
        visible = np.flatnonzero(seen)
        if len(visible) < MIN_POINTS:
            continue
        some = points.xyz[visible[:: max(1, len(visible) // MAX_POINTS)]]
        first, end = 0, len(posed)
        if reach is not None:
            first, end = np.searchsorted(posed, (posed[key] - reach, posed[key] + reach + 1)).tolist()
        neighbours = _neighbours(key - first, some, cam_from_world[first:end], matrices[first:end], size)
        if neighbours:
            sweeps.append(
                Sweep(
                    frame=int(posed[key]),
                    neighbours=tuple(int(posed[first + i]) for i in neighbours),
                    inverse_depth=_planes(z[visible], planes),
                )
            )
    return sweeps


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, the centres of equal shares."""
    picks = min(count, most)
    return [int((2 * k + 1) * count // (2 * picks)) for k in range(picks)]


def _project(
    xyz: Array, cam_from_world: Array, matrix: Array, size: tuple[int, int]
) -> tuple[Array, NDArray[np.bool_]]:
    """z-depth (M,) of world points and whether each falls inside the picture."""
    camera = xyz @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    z = camera[:, 2]
    front = z > 0
    pixel = camera @ matrix.T / np.where(front, z, 1)[:, None]
    return z, front & (pixel[:, 0] >= 0) & (pixel[:, 0] < size[0]) & (pixel[:, 1] >= 0) & (pixel[:, 1] < size[1])


def _planes(z: Array, count: int) -> Array:
    """(count,) inverse depths, equally spaced, from beyond the far points to before the near ones.

    The 1st and 98th percentile, because a few triangulations are always wild, widened because surfaces reach
    farther than the corners on them.
    """
    near, far = np.percentile(z, [1, 98])
    return np.linspace(0.5 / far, 1.7 / near, count)


def _neighbours(key: int, xyz: Array, cam_from_world: Array, matrices: Array, size: tuple[int, int]) -> list[int]:
    """Up to 4 places of frames with a good baseline to `key`, from before and after it where both exist."""
    centre = invert_rigid(cam_from_world)[:, :3, 3]
    median_z = float(np.median(_project(xyz, cam_from_world[key], matrices[key], size)[0]))
    baseline = np.linalg.norm(centre - centre[key], axis=1) / median_z
    turn = cam_from_world[:, 2, :3] @ cam_from_world[key, 2, :3]  # cosine between the optical axes
    usable = (turn > np.cos(np.radians(MAX_TURN_DEG))) & (baseline >= LAST_BASELINE[0]) & (baseline <= LAST_BASELINE[1])
    for place in np.flatnonzero(usable):
        usable[place] = _project(xyz, cam_from_world[place], matrices[place], size)[1].mean() >= MIN_OVERLAP
    usual = usable & (baseline >= USUAL_BASELINE[0]) & (baseline <= USUAL_BASELINE[1])
    places = np.flatnonzero(usual if usual.any() else usable)
    sides = [side for side in (places[places < key], places[places > key]) if len(side)]
    chosen: list[int] = []
    for side in sides:
        for aim in BOTH_SIDES if len(sides) == 2 else ONE_SIDE:
            pick = int(side[np.argmin(np.abs(np.log(baseline[side] / aim)))])
            if pick not in chosen:
                chosen.append(pick)
    return sorted(chosen)
