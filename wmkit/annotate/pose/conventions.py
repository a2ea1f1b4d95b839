"""Which convention a file of poses follows, told by the images: every reading of it against epipolar geometry.

A reading turns the poses as they were read into what they would be had the file been written in another direction,
with other camera axes, a transposed rotation, another quaternion order, or left-handed. The right one puts matched
points on each other's epipolar lines and in front of both cameras (Hartley & Zisserman, 9 and 21.4). A turn of the
whole world changes neither, so it is no reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array, invert_rigid
from wmkit.formats.track import matrix_from_quaternion, quaternion_from_matrix, rigid_matrices
from wmkit.spread import evenly_spread

__all__ = ["Fit", "Pair", "Reading", "fit_reading", "pairs_of", "readings_of"]

PAIRS, POINTS = 32, 250  # of the clip, and of each pair
MIN_POINTS = 20
PARALLAX = 0.06  # displacement wanted of a pair, as a share of the diagonal
MIN_RAY_ANGLE_DEG = 0.4  # rays closer to parallel do not tell front from back
AXES = {
    "x -y -z": "y and z flipped: OpenGL <-> OpenCV",
    "z -x -y": "x forward, y left, z up",
    "z x y": "x forward, y right, z down",
    "y x -z": "x down, y right, z back: LLFF",
    "-y x z": "turned by 90 deg about the line of sight",
    "y -x z": "turned by -90 deg about the line of sight",
    "-x -y z": "turned by 180 deg about the line of sight",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """One way to read the file: `kind` is declared, direction, axes, direction+axes, rotation, quaternion or handed."""

    name: str
    kind: str
    world_from_cam: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """Points (n, 2) px that frames i and j share."""

    i: int
    j: int
    xy_i: Array
    xy_j: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well a reading explains the images.

    error_px  median Sampson distance of the matched points, px.
    in_front  share of the points with parallax that lie in front of both cameras; None when too few have any.
    """

    error_px: float
    in_front: float | None


def readings_of(world_from_cam: Array, quaternions: str | None) -> tuple[Reading, ...]:
    """Every reading of poses (N, 4, 4) (NaN rows stay NaN), the declared one first; `quaternions` as in the file."""
    turns = _axes()
    readings = []
    for inverse, (axes, turn) in product((False, True), turns.items()):
        name, kind = _axes_name(axes, inverse)
        readings.append(Reading(name=name, kind=kind, world_from_cam=_directed(world_from_cam, inverse) @ turn))
    bent: list[tuple[str, str, Array]] = [("rotation transposed", "rotation", _transposed(world_from_cam))]
    if quaternions is not None:
        other = "w x y z" if quaternions == "xyzw" else "x y z w"
        bent.append((f"quaternions in the order {other}", "quaternion", _reordered(world_from_cam, quaternions)))
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    bent.append(("left-handed axes", "handed", flip @ world_from_cam @ flip))
    for (name, kind, poses), inverse, axes in product(bent, (False, True), ("x y z", "x -y -z")):
        more = [name]
        more += ["world to camera <-> camera to world"] if inverse else []
        more += [AXES[axes]] if axes in AXES else []
        directed = _directed(poses, inverse) @ turns[axes]
        readings.append(Reading(name=", ".join(more), kind=kind, world_from_cam=directed))
    return tuple(readings)


def _axes_name(axes: str, inverse: bool) -> tuple[str, str]:
    turned = axes != "x y z"
    if not turned and not inverse:
        return "as declared", "declared"
    parts = ["world to camera <-> camera to world"] if inverse else []
    parts += [f"camera axes ({AXES.get(axes, axes)})"] if turned else []
    return ", ".join(parts), "+".join((["direction"] if inverse else []) + (["axes"] if turned else []))


def _axes() -> dict[str, Array]:
    """The 24 right-handed camera frames: name (where each file axis points, in OpenCV's letters) -> 4x4 turn."""
    found = {}
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.eye(4)
            turn[:3, :3] = np.diag(signs) @ np.eye(3)[list(order)]
            if np.linalg.det(turn) > 0:
                names = ("" if sign > 0 else "-" for sign in signs)
                found[" ".join(sign + "xyz"[axis] for sign, axis in zip(names, order, strict=True))] = turn
    return dict(sorted(found.items(), key=lambda item: (item[0] != "x y z", item[0] not in AXES)))


def _directed(world_from_cam: Array, inverse: bool) -> Array:
    return invert_rigid(world_from_cam) if inverse else world_from_cam


def _transposed(world_from_cam: Array) -> Array:
    bent = world_from_cam.copy()
    bent[:, :3, :3] = np.swapaxes(world_from_cam[:, :3, :3], 1, 2)
    return bent


def _reordered(world_from_cam: Array, quaternions: str) -> Array:
    """Poses had the file's four numbers been meant in the other order; wxyz files hold world-to-camera rotations."""
    bent = np.full_like(world_from_cam, np.nan)
    known = np.isfinite(world_from_cam[:, 0, 0])
    poses = world_from_cam[known] if quaternions == "xyzw" else invert_rigid(world_from_cam[known])
    wxyz = quaternion_from_matrix(poses[:, :3, :3])
    shifted = wxyz[:, [1, 2, 3, 0]] if quaternions == "xyzw" else wxyz[:, [3, 0, 1, 2]]
    turned = rigid_matrices(matrix_from_quaternion(shifted), poses[:, :3, 3])
    bent[known] = turned if quaternions == "xyzw" else invert_rigid(turned)
    return bent


def pairs_of(tracks: Tracks, posed: NDArray[np.bool_]) -> tuple[Pair, ...]:
    """Pairs of posed frames, spread over the clip, far enough apart for parallax where the picture moves that far.

    A picture that stands still gives pairs too: poses that move refute themselves on it.
    """
    frames = np.flatnonzero(posed)
    starts = frames[evenly_spread(len(frames) - 1, PAIRS)] if len(frames) > 1 else ()
    pairs = []
    for i in (int(start) for start in starts):
        chosen = _partner(tracks, i, frames[frames > i])
        if chosen is not None:
            in_i, in_j = tracks.common(i, chosen)
            step = max(1, len(in_i) // POINTS)
            xy_i, xy_j = tracks.xy[i][in_i[::step]], tracks.xy[chosen][in_j[::step]]
            pairs.append(Pair(i=i, j=chosen, xy_i=xy_i.astype(np.float64), xy_j=xy_j.astype(np.float64)))
    return tuple(pairs)


def _partner(tracks: Tracks, i: int, later: NDArray[np.intp]) -> int | None:
    """The first later frame with the parallax wanted, else the last that still shares enough points."""
    last = None
    for j in (int(frame) for frame in later):
        if len(tracks.common(i, j)[0]) < MIN_POINTS:
            break
        last = j
        if tracks.parallax_px(i, j) >= PARALLAX * tracks.diagonal_px:
            break
    return last


def fit_reading(world_from_cam: Array, rows: Array, pairs: Sequence[Pair]) -> Fit:
    """How poses (N, 4, 4) and intrinsics (N, 4) fx fy cx cy px fit the pairs, of which there must be one."""
    errors, front, seen = [], 0, 0
    for pair in pairs:
        relative = invert_rigid(world_from_cam[pair.j][None])[0] @ world_from_cam[pair.i]
        ray_i, ray_j = _rays(pair.xy_i, rows[pair.i]), _rays(pair.xy_j, rows[pair.j])
        errors.append(_sampson_px(relative, ray_i, ray_j, (rows[pair.i], rows[pair.j])))
        ahead, behind = _cheirality(relative, ray_i, ray_j)
        front, seen = front + ahead, seen + ahead + behind
    return Fit(error_px=float(np.median(np.concatenate(errors))), in_front=front / seen if seen >= MIN_POINTS else None)


def _rays(xy: Array, row: Array) -> Array:
    return np.column_stack([(xy - row[2:]) / row[:2], np.ones(len(xy))])


def _sampson_px(relative: Array, ray_i: Array, ray_j: Array, rows: tuple[Array, Array]) -> Array:
    """(n,) first-order distance to the epipolar geometry, px; without translation, of the rotated point."""
    rotation, t = relative[:3, :3], relative[:3, 3]
    length = np.linalg.norm(t)
    if length < 1e-12:
        moved = ray_i @ rotation.T
        with np.errstate(divide="ignore", invalid="ignore"):
            off = (moved[:, :2] / moved[:, 2:] - ray_j[:, :2]) * rows[1][:2]
        return np.where(moved[:, 2] > 0, np.linalg.norm(off, axis=1), np.inf)
    x, y, z = t / length
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    line_j, line_i = ray_i @ essential.T, ray_j @ essential
    slope = ((line_j[:, :2] / rows[1][:2]) ** 2).sum(1) + ((line_i[:, :2] / rows[0][:2]) ** 2).sum(1)
    return np.abs((ray_j * line_j).sum(1)) / np.sqrt(np.maximum(slope, 1e-300))


def _cheirality(relative: Array, ray_i: Array, ray_j: Array) -> tuple[int, int]:
    """How many points with parallax lie in front of both cameras, and how many do not."""
    a, b, t = ray_i @ relative[:3, :3].T, ray_j, relative[:3, 3]
    aa, bb, ab = (a * a).sum(1), (b * b).sum(1), (a * b).sum(1)
    sine2 = 1 - ab**2 / (aa * bb)
    usable = sine2 > np.sin(np.radians(MIN_RAY_ANGLE_DEG)) ** 2
    at, bt = a @ t, b @ t
    # depths along both rays where they come nearest: a s + t = b u
    scale = aa * bb - ab**2
    ahead = ((ab * bt - bb * at)[usable] / scale[usable] > 0) & ((aa * bt - ab * at)[usable] / scale[usable] > 0)
    return int(ahead.sum()), int((~ahead).sum())
