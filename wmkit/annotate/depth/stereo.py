"""The pixel work of plane-sweep stereo: cost volume, semi-global aggregation, winner and its checks. No video here.

Arrays are (h, w) images or (d, h, w) volumes over d inverse-depth planes, fronto-parallel to the reference camera.
Costs are whole numbers in uint8: a step of semi-global matching then touches a quarter of the memory that float32 does.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics

__all__ = [
    "COST_ONE",
    "PosedGray",
    "Winner",
    "aggregate",
    "agreement",
    "cost_volume",
    "left_right",
    "relative_sigma",
    "winner",
]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Volume = NDArray[np.uint8]
COST_ONE = 100  # the cost of no correlation; a path's cost, at most COST_ONE + large step + small step, fits uint8
NOISE_VARIANCE = 1.0  # grey levels²: keeps noise and codec residue from counting as texture
UNSEEN = -1e5  # grey level outside a picture: one such pixel in a window gives it away
MATCH_SIGMA_PX = 0.25  # of a match: what the parabola leaves on footage
SHIFTS = (-1, 0, 1)  # of a row-wise path: the diagonals and the column


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedGray:
    """One shrunk frame: `gray` (h, w) float32 in 0 to 255, its camera at that size, `cam_from_world` (4, 4)."""

    gray: Image
    camera: Intrinsics
    cam_from_world: Array

    def motion_of(self, other: "PosedGray") -> tuple[Array, Array]:
        """(3, 3) A and (3,) b: a pixel p of ours (homogeneous) at inverse depth w is seen by `other` at A p + w b."""
        other_from_ours = other.cam_from_world @ np.linalg.inv(self.cam_from_world)
        turned = other.camera.matrix @ other_from_ours[:3, :3] @ np.linalg.inv(self.camera.matrix)
        return turned, other.camera.matrix @ other_from_ours[:3, 3]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Winner:
    """Per pixel (h, w): `index` of the plane, whole; its parabola's `fraction`; photo-cost 0 to 1 there; `unique`, the
    second-best path cost more than 2 planes away over the best, 1 being a tie; `inner`, neither first nor last plane.
    """

    index: NDArray[np.int64]
    fraction: Image
    photo: Image
    unique: Image
    inner: Mask


def cost_volume(reference: PosedGray, others: list[PosedGray], inverse_depth: Array, window: int) -> Volume:
    """(d, h, w) photo-cost 0 to COST_ONE: 1 − ZNCC over `window`², the mean of the best two of `others` at each pixel.

    The best two only, because a surface hidden from the cameras on one side is seen by those on the other. A pixel
    that no other camera sees costs 1, the same as no correlation at all.
    """
    box, shape = (window, window), reference.gray.shape
    centred = reference.gray - np.float32(128)  # smaller squares: float32 keeps the variance's digits
    mean = np.asarray(cv2.blur(centred, box), dtype=np.float32)
    variance = np.maximum(cv2.blur(centred * centred, box) - mean * mean, 0) + np.float32(NOISE_VARIANCE)
    spread = (1 / np.sqrt(variance)).astype(np.float32)
    motions = [(reference.motion_of(other), other.gray - np.float32(128)) for other in others]
    volume = np.empty((len(inverse_depth), *shape), dtype=np.uint8)
    for plane, value in enumerate(inverse_depth):
        best, second = np.full(shape, 2, np.float32), np.full(shape, 2, np.float32)
        for motion, gray in motions:
            cost = _plane_cost(centred, mean, spread, _through_plane(motion, float(value)), gray, box)
            np.minimum(second, np.maximum(best, cost), out=second)
            np.minimum(best, cost, out=best)
        second = np.where(second > 1, best, second)  # seen by one camera alone, or by none
        np.minimum(best + second, 2, out=best)
        volume[plane] = best * np.float32(COST_ONE / 2) + np.float32(0.5)
    return volume


def _plane_cost(centred: Image, mean: Image, spread: Image, matrix: Array, gray: Image, box: tuple[int, int]) -> Image:
    """(h, w) 1 − ZNCC in [0, 1] of one camera at one plane; 2 where its picture ends."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(gray, matrix, centred.shape[::-1], flags=flags, borderValue=UNSEEN)
    warped_mean = cv2.blur(warped, box)
    variance = cv2.blur(warped * warped, box)
    variance -= warped_mean * warped_mean
    np.maximum(variance, 0, out=variance)
    variance += np.float32(NOISE_VARIANCE)
    covariance = cv2.blur(warped * centred, box)
    covariance -= warped_mean * mean
    covariance *= spread
    covariance /= np.sqrt(variance, out=variance)
    cost = np.clip(1 - covariance, 0, 1)
    cost[warped_mean < -128] = 2
    return cost


def _through_plane(motion: tuple[Array, Array], inverse_depth: float) -> Array:
    """(3, 3) map of pixels through the plane z = 1 / inverse_depth.

    In OpenCV's pixel convention (centres at integers), half a pixel off ours, because OpenCV warps with it.
    """
    turned, moved = motion
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    back = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    return back @ (turned + inverse_depth * np.outer(moved, [0, 0, 1])) @ half


def aggregate(volume: Volume, gray: Image, small_step: float, large_step: float) -> NDArray[np.uint16]:
    """(d, h, w) sum of the path costs of semi-global matching (Hirschmüller 2008), 8 directions.

    A change of one plane between neighbours costs `small_step`, a larger one `large_step`, less across an image
    edge, where depth may well jump; both in units of COST_ONE, at most 1 and 0.5.
    """
    small, large = round(small_step * COST_ONE), large_step * COST_ONE
    total = np.zeros(volume.shape, dtype=np.uint16)
    _row_paths(volume, total, gray, SHIFTS, (small, large))
    across = np.zeros((volume.shape[0], *volume.shape[:0:-1]), dtype=np.uint16)
    turned = np.ascontiguousarray(np.swapaxes(volume, 1, 2))
    _row_paths(turned, across, np.ascontiguousarray(gray.T), (0,), (small, large))
    total += np.swapaxes(across, 1, 2)
    return total


def _row_paths(
    volume: Volume, total: NDArray[np.uint16], gray: Image, shifts: tuple[int, ...], steps: tuple[int, float]
) -> None:
    """Add to `total` the paths that go from row to row, down and up, `shift` columns aside at each."""
    small, large = np.uint8(steps[0]), steps[1]
    height, width = gray.shape
    for down in (True, False):
        rows = range(height) if down else range(height - 1, -1, -1)
        for shift in shifts:
            path = np.zeros((len(volume), width), dtype=np.uint8)
            for place, row in enumerate(rows):
                cost = volume[:, row]
                if place:
                    before = gray[row - 1 if down else row + 1]
                    edge = np.abs(gray[row] - _beside(before, shift))
                    jump = np.maximum(large / (1 + edge / 16), steps[0]).astype(np.uint8)
                    path = _step(_beside(path, shift), jump, small) + cost
                else:
                    path = cost.copy()
                total[:, row] += path


def _beside(row: NDArray, shift: int) -> NDArray:
    """A row (..., w) moved by `shift` columns; where nothing moves in, 0: a path begins there."""
    if shift == 0:
        return row
    moved = np.zeros_like(row)
    if shift > 0:
        moved[..., shift:] = row[..., :-shift]
    else:
        moved[..., :shift] = row[..., -shift:]
    return moved


def _step(path: Volume, jump: NDArray[np.uint8], small: np.uint8) -> Volume:
    """The cheapest way (d, across) into each plane from the previous pixels' path costs, less their minimum."""
    path = path - path.min(axis=0)
    cheapest = np.minimum(path, jump)
    path += small
    np.minimum(cheapest[1:], path[:-1], out=cheapest[1:])
    np.minimum(cheapest[:-1], path[1:], out=cheapest[:-1])
    return cheapest


def winner(total: NDArray[np.uint16], volume: Volume) -> Winner:
    """The cheapest plane at each pixel; see `Winner`."""
    count = len(total)
    lowest = total.min(axis=0)
    best = np.zeros(lowest.shape, dtype=np.int64)
    for plane in range(count - 1, -1, -1):
        best[total[plane] == lowest] = plane
    inner = np.clip(best, 1, count - 2)
    before, at, after = (np.take_along_axis(total, (inner + k)[None], axis=0)[0].astype(np.float32) for k in (-1, 0, 1))
    bend = before - 2 * at + after
    fraction = np.where(bend > 0, (before - after) / (2 * np.where(bend > 0, bend, 1)), 0)
    others = total.copy()
    for offset in range(-2, 3):
        place = np.clip(best + offset, 0, count - 1)[None]
        np.put_along_axis(others, place, np.uint16(65535), axis=0)
    second = others.min(axis=0).astype(np.float32)
    photo = np.take_along_axis(volume, best[None], axis=0)[0] / np.float32(COST_ONE)
    return Winner(
        index=best,
        fraction=np.clip(fraction, -0.5, 0.5).astype(np.float32),
        photo=photo,
        unique=second / np.maximum(lowest, 1).astype(np.float32),
        inner=(best > 0) & (best < count - 1),
    )


def left_right(
    total: NDArray[np.uint16], index: NDArray[np.int64], views: tuple[PosedGray, PosedGray], inverse_depth: Array
) -> NDArray[np.int8]:
    """(h, w) int8: 1 where the other camera's own winner is the reference's plane or the next, −1 where it is
    another, 0 outside its picture.

    The other camera's winner is of the same path costs, moved through each plane into its picture: of all that could
    be seen at a pixel there, the cheapest. So what only one of two surfaces can be is won by the better one.
    """
    reference, other = views
    size = other.gray.shape[::-1]
    motion = reference.motion_of(other)
    lowest = np.full(other.gray.shape, 65535, dtype=np.uint16)
    found = np.full(other.gray.shape, -10, dtype=np.int16)
    for plane, value in enumerate(inverse_depth):
        matrix = _through_plane(motion, float(value))
        moved = cv2.warpPerspective(total[plane], matrix, size, flags=cv2.INTER_NEAREST, borderValue=65535)
        np.copyto(found, np.int16(plane), where=moved < lowest)
        np.minimum(lowest, moved, out=lowest)
    seen, inside = _seen_at(motion, inverse_depth[index], other.gray.shape)
    there = found[seen[1], seen[0]]
    return np.where(inside & (there >= 0), np.where(np.abs(there - index) <= 1, 1, -1), 0).astype(np.int8)


def _pixels(motion: tuple[Array, Array], inverse: Array) -> Array:
    """(h, w, 3) homogeneous pixels of the other camera at which the reference's pixels are seen."""
    height, width = inverse.shape
    y, x = np.mgrid[0:height, 0:width] + 0.5
    turned, moved = motion
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ turned.T + inverse[..., None] * moved


def _seen_at(
    motion: tuple[Array, Array], inverse: Array, shape: tuple[int, ...]
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Mask]:
    """Column and row (h, w) in a picture of `shape`, clipped to it, and whether they lie inside."""
    place = _pixels(motion, inverse)
    front = place[..., 2] > 0
    place = np.floor(place[..., :2] / np.where(front, place[..., 2], 1)[..., None])
    inside = front & (place >= 0).all(axis=-1) & (place[..., 0] < shape[1]) & (place[..., 1] < shape[0])
    column = np.clip(np.nan_to_num(place[..., 0]), 0, shape[1] - 1).astype(np.int64)
    row = np.clip(np.nan_to_num(place[..., 1]), 0, shape[0] - 1).astype(np.int64)
    return (column, row), inside


def relative_sigma(reference: PosedGray, others: list[PosedGray], inverse: Array) -> Image:
    """(h, w) relative standard deviation of depth that a match good to MATCH_SIGMA_PX leaves, by the best of `others`.

    Towards where the camera moves to, nothing shifts in the picture, and depth is anyone's guess.
    """
    step = inverse * 1e-3
    shift = np.zeros(inverse.shape)
    for other in others:
        motion = reference.motion_of(other)
        near, far = _pixels(motion, inverse + step), _pixels(motion, inverse - step)
        _, inside = _seen_at(motion, inverse, other.gray.shape)
        moved = near[..., :2] / near[..., 2:] - far[..., :2] / far[..., 2:]
        shift = np.maximum(shift, np.where(inside, np.linalg.norm(moved, axis=-1), 0))
    return (MATCH_SIGMA_PX * 2e-3 / np.maximum(shift, 1e-9)).astype(np.float32)


def agreement(reference: PosedGray, z: Image, other: PosedGray, other_z: Image, tolerance: float) -> NDArray[np.int8]:
    """(h, w) int8: 1 where `other_z` (0 is unknown) shows the same surface within `tolerance` (relative), −1 where
    `other` looks through the point at something behind it, 0 where it cannot tell (unknown, outside, hidden)."""
    inverse = np.where(z > 0, 1 / np.where(z > 0, z, 1), 1).astype(np.float64)
    motion = reference.motion_of(other)
    (column, row), inside = _seen_at(motion, inverse, other_z.shape)
    depth = _pixels(motion, inverse)[..., 2] / inverse
    found = other_z[row, column]
    known = inside & (z > 0) & (found > 0)
    same = known & (np.abs(found - depth) <= tolerance * depth)
    through = known & (found > (1 + tolerance) * depth)
    return same.astype(np.int8) - through.astype(np.int8)
