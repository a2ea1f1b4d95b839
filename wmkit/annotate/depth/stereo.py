"""The pixel work of plane-sweep stereo: cost volume, semi-global aggregation, winner and validity. No video here.

Arrays are (h, w) images or (d, h, w) volumes over d inverse-depth planes, fronto-parallel to the reference camera.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics

__all__ = ["PosedGray", "aggregate", "agreement", "cost_volume", "plane_homography", "winner"]

Image = NDArray[np.float32]
NOISE_VARIANCE = 1.0  # grey levels²: keeps noise and codec residue from counting as texture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedGray:
    """One shrunk frame: `gray` (h, w) float32 in 0 to 255, its camera at that size, `cam_from_world` (4, 4)."""

    gray: Image
    camera: Intrinsics
    cam_from_world: Array


def plane_homography(reference: PosedGray, other: PosedGray, inverse_depth: float) -> Array:
    """(3, 3) map of reference pixels to `other`'s pixels through the plane z = 1 / inverse_depth.

    In OpenCV's pixel convention (centres at integers), half a pixel off ours, because OpenCV warps with it.
    """
    other_from_reference = other.cam_from_world @ np.linalg.inv(reference.cam_from_world)
    rotation, translation = other_from_reference[:3, :3], other_from_reference[:3, 3]
    through_plane = rotation + inverse_depth * np.outer(translation, [0, 0, 1])
    ours = other.camera.matrix @ through_plane @ np.linalg.inv(reference.camera.matrix)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ ours @ half


def cost_volume(
    reference: PosedGray, others: list[PosedGray], inverse_depth: Array, window: int
) -> NDArray[np.float32]:
    """(d, h, w) photo-cost in [0, 1]: 1 − ZNCC over `window`², the mean of the best two of `others` at each pixel.

    The best two only, because a surface hidden from the cameras on one side is seen by those on the other. A pixel
    that no other camera sees costs 1, the same as no correlation at all.
    """
    size, box = reference.gray.shape[::-1], (window, window)
    centred = reference.gray - np.float32(128)  # smaller squares: float32 keeps the variance's digits
    mean = cv2.blur(centred, box)
    variance = cv2.blur(centred * centred, box) - mean * mean + NOISE_VARIANCE
    volume = np.empty((len(inverse_depth), *reference.gray.shape), dtype=np.float32)
    costs = np.empty((max(len(others), 2), *reference.gray.shape), dtype=np.float32)
    for plane, value in enumerate(inverse_depth):
        costs[:] = np.inf
        for place, other in enumerate(others):
            matrix = plane_homography(reference, other, float(value))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            warped = cv2.warpPerspective(other.gray - np.float32(128), matrix, size, flags=flags)
            seen = cv2.warpPerspective(np.ones_like(other.gray), matrix, size, flags=flags)
            warped_mean = cv2.blur(warped, box)
            warped_variance = cv2.blur(warped * warped, box) - warped_mean * warped_mean + NOISE_VARIANCE
            covariance = cv2.blur(warped * centred, box) - warped_mean * mean
            zncc = covariance / np.sqrt(np.maximum(variance, 1) * np.maximum(warped_variance, 1))
            costs[place] = np.where(cv2.blur(seen, box) > 0.999, np.clip(1 - zncc, 0, 1), np.inf)
        costs.partition(1, axis=0)
        best, second = costs[0], costs[1]
        volume[plane] = np.where(np.isinf(second), np.where(np.isinf(best), 1, best), (best + second) / 2)
    return volume


def aggregate(volume: NDArray[np.float32], gray: Image, small_step: float, large_step: float) -> NDArray[np.float32]:
    """(d, h, w) sum of the path costs of semi-global matching (Hirschmüller 2008), 4 directions.

    A change of one plane between neighbours costs `small_step`, a larger one `large_step`, less across an image
    edge, where depth may well jump.
    """
    total = np.zeros_like(volume)
    for axis in (1, 2):
        lines = np.moveaxis(volume, (axis, 0), (0, 1))  # (steps, d, across)
        sums = np.moveaxis(total, (axis, 0), (0, 1))
        edge = np.abs(np.diff(gray, axis=axis - 1))
        edge = edge if axis == 1 else edge.T
        penalty = np.maximum(large_step / (1 + edge / 16), small_step).astype(np.float32)
        for forward in (True, False):
            order = range(len(lines)) if forward else range(len(lines) - 1, -1, -1)
            path = np.zeros(lines.shape[1:], dtype=np.float32)
            for index, step in enumerate(order):
                cost = lines[step]
                if index == 0:
                    path = cost.copy()
                else:
                    jump = penalty[step - 1 if forward else step]
                    path = _step(path, jump, np.float32(small_step))
                    path += cost
                sums[step] += path
    return total


def _step(path: NDArray[np.float32], jump: NDArray[np.float32], small_step: np.float32) -> NDArray[np.float32]:
    """The cheapest way (d, across) into each plane from the previous pixels' path costs, less their minimum."""
    path = path - path.min(axis=0)
    cheapest = np.minimum(path, jump)
    np.minimum(cheapest[1:], path[:-1] + small_step, out=cheapest[1:])
    np.minimum(cheapest[:-1], path[1:] + small_step, out=cheapest[:-1])
    return cheapest


def winner(total: NDArray[np.float32], volume: NDArray[np.float32]) -> tuple[Image, Image, Image]:
    """Per pixel: plane index with its parabola's fraction, photo-cost there, and uniqueness, each (h, w).

    Uniqueness is the second-best sum, more than 2 planes away, over the best: 1 is a tie. The first and the last
    plane never win: what lies beyond the range has index NaN.
    """
    count = len(total)
    best = total.argmin(axis=0)
    inner = np.clip(best, 1, count - 2)
    before, at, after = (np.take_along_axis(total, (inner + k)[None], axis=0)[0] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    fraction = np.where(bend > 0, (before - after) / (2 * np.where(bend > 0, bend, 1)), 0)
    index = (inner + np.clip(fraction, -0.5, 0.5)).astype(np.float32)
    index[(best == 0) | (best == count - 1)] = np.nan
    away = np.abs(np.arange(count)[:, None, None] - best) > 2
    second = np.where(away, total, np.inf).min(axis=0)
    lowest = np.take_along_axis(total, best[None], axis=0)[0]
    photo = np.take_along_axis(volume, best[None], axis=0)[0]
    return index, photo, (second / np.maximum(lowest, 1e-6)).astype(np.float32)


def agreement(reference: PosedGray, z: Image, other: PosedGray, other_z: Image, tolerance: float) -> NDArray[np.int8]:
    """(h, w) int8: 1 where `other_z` (0 is unknown) shows the same surface within `tolerance` (relative), −1 where
    `other` looks through the point at something behind it, 0 where it cannot tell (unknown, outside, hidden)."""
    height, width = z.shape
    y, x = np.mgrid[0:height, 0:width]
    pixel = np.stack([x + 0.5, y + 0.5, np.ones_like(z)], axis=-1)
    in_reference = pixel @ np.linalg.inv(reference.camera.matrix).T * z[..., None]
    other_from_reference = other.cam_from_world @ np.linalg.inv(reference.cam_from_world)
    in_other = in_reference @ other_from_reference[:3, :3].T + other_from_reference[:3, 3]
    depth = in_other[..., 2]
    front = (z > 0) & (depth > 0)
    seen = in_other @ other.camera.matrix.T / np.where(front, depth, 1)[..., None]
    column, row = np.floor(seen[..., 0]), np.floor(seen[..., 1])
    inside = front & (column >= 0) & (column < other_z.shape[1]) & (row >= 0) & (row < other_z.shape[0])
    found = np.zeros_like(z)
    found[inside] = other_z[row[inside].astype(int), column[inside].astype(int)]
    known = inside & (found > 0)
    same = known & (np.abs(found - depth) <= tolerance * depth)
    through = known & (found > (1 + tolerance) * depth)
    return same.astype(np.int8) - through.astype(np.int8)
