"""The still point that explains a track best, of all tracks at once: what a track is held against to see it move."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.scene import Scene
from wmkit.camera import Array

__all__ = ["Followed", "still_error_px"]

BLOCK = 100_000  # observations at a time: some 100 MB
ITERATIONS = 12
LEAST_GAIN = 1e-4  # share of the cost of all tracks that a step must take away for another one to follow
HUBER_PX = 1.0
NEAREST = 1e-3  # depth, in units of the point's own at its anchor, short of which a camera sees nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """Observations of tracks in posed frames, track by track, by frame within each.

    frame  (K,) frame of each observation.
    track  (K,) number of its track, 0 to M - 1, increasing.
    xy     (K, 2) px.
    first  (M,) position of each track's first observation.
    count  (M,) how many it has.
    """

    frame: NDArray[np.intp]
    track: NDArray[np.intp]
    xy: Array
    first: NDArray[np.intp]
    count: NDArray[np.intp]

    def block(self, start: int, stop: int) -> "Followed":
        """The tracks from `start` to `stop` alone."""
        low = int(self.first[start])
        part = slice(low, int(self.first[stop - 1] + self.count[stop - 1]))
        return Followed(
            frame=self.frame[part],
            track=self.track[part] - start,
            xy=self.xy[part],
            first=self.first[start:stop] - low,
            count=self.count[start:stop],
        )


def still_error_px(scene: Scene, followed: Followed) -> Array:
    """(K,) reprojection error under the best point, at any distance in front, infinity too, that each track could be.

    Best in the Huber sense, so that a slip late in a track's life does not move the point. The point is where the
    track is in its middle frame, along that ray and next to it, by inverse depth (Civera et al., T-RO 2008): from the
    closed form with the ray held, by Levenberg-Marquardt on all tracks in parallel.
    """
    total = len(followed.count)
    if total == 0:
        return np.zeros(0)
    end = followed.first + followed.count
    errors, start = [], 0
    while start < total:
        stop = max(start + 1, int(np.searchsorted(end, followed.first[start] + BLOCK, side="right")))
        errors.append(_Fit(scene, followed.block(start, stop)).solve())
        start = stop
    return np.concatenate(errors)


class _Fit:
    """One block of tracks: (u, v, inverse depth) of each in the camera of its middle observation."""

    def __init__(self, scene: Scene, followed: Followed) -> None:
        frame, self.track, self.first = followed.frame, followed.track, followed.first
        self.focal = scene.focal[frame, None]
        self.ray = (followed.xy - scene.centre) / self.focal
        middle = self.first + followed.count // 2
        anchor = scene.cam_from_world[frame[middle]][self.track]
        camera = scene.cam_from_world[frame]
        self.turn = camera[:, :3, :3] @ np.swapaxes(anchor[:, :3, :3], 1, 2)
        self.shift = camera[:, :3, 3] - np.einsum("kij,kj->ki", self.turn, anchor[:, :3, 3])
        self.point = np.concatenate([self.ray[middle], np.zeros((len(middle), 1))], axis=1)
        self.point[:, 2] = self._inverse_depth()

    def _inverse_depth(self) -> Array:
        """Least squares of the cross product of ray and point, linear while the anchor's ray is held."""
        far = self._in_camera(self.point)
        slope = self.ray * self.shift[:, 2:] - self.shift[:, :2]
        offset = far[:, :2] - self.ray * far[:, 2:]
        down = self._sum((slope**2).sum(axis=1))
        return np.maximum(self._sum((slope * offset).sum(axis=1)) / np.maximum(down, 1e-12), 0.0)

    def solve(self) -> Array:
        damping = np.full(len(self.point), 1e-4)
        in_camera = self._in_camera(self.point)
        error = self._error(in_camera)
        cost = self._cost(error)
        for _ in range(ITERATIONS):
            trial = self.point - self._step(in_camera, error, damping)
            trial[:, 2] = np.maximum(trial[:, 2], 0.0)
            there = self._in_camera(trial)
            trial_error = self._error(there)
            trial_cost = self._cost(trial_error)
            better = trial_cost <= cost
            gained = np.where(better, cost - trial_cost, 0.0).sum()
            self.point = np.where(better[:, None], trial, self.point)
            cost = np.where(better, trial_cost, cost)
            damping = np.where(better, damping / 4, damping * 8)
            moved = better[self.track, None]
            in_camera, error = np.where(moved, there, in_camera), np.where(moved, trial_error, error)
            if gained <= LEAST_GAIN * cost.sum():
                break
        return np.linalg.norm(error, axis=1)

    def _sum(self, values: Array) -> Array:
        """Per track, over its observations."""
        return np.add.reduceat(values, self.first, axis=0)

    def _in_camera(self, point: Array) -> Array:
        """(K, 3) the points, times their inverse depths, in the cameras that see them; never behind one."""
        flat = np.concatenate([point[:, :2], np.ones((len(point), 1))], axis=1)
        seen = np.einsum("kij,kj->ki", self.turn, flat[self.track]) + self.shift * point[self.track, 2:]
        seen[:, 2] = np.maximum(seen[:, 2], NEAREST)
        return seen

    def _error(self, in_camera: Array) -> Array:
        return (in_camera[:, :2] / in_camera[:, 2:] - self.ray) * self.focal

    def _cost(self, error: Array) -> Array:
        size = np.linalg.norm(error, axis=1)
        return self._sum(np.where(size < HUBER_PX, size**2 / 2, HUBER_PX * (size - HUBER_PX / 2)))

    def _step(self, in_camera: Array, error: Array, damping: Array) -> Array:
        """Solves the damped normal equations of every track."""
        weight = np.minimum(1.0, HUBER_PX / np.maximum(np.linalg.norm(error, axis=1), 1e-9))
        by_point = np.concatenate([self.turn[:, :, :2], self.shift[:, :, None]], axis=2)
        seen = in_camera[:, :2] / in_camera[:, 2:]
        scale = (self.focal / in_camera[:, 2:])[:, :, None]
        jacobian = (by_point[:, :2] - seen[:, :, None] * by_point[:, 2:]) * scale
        weighted = jacobian * weight[:, None, None]
        normal = self._sum(np.einsum("kai,kaj->kij", weighted, jacobian))
        slope = self._sum(np.einsum("kai,ka->ki", weighted, error))
        diagonal = np.einsum("nii->ni", normal)
        normal = normal + np.einsum("ni,ij->nij", damping[:, None] * diagonal + 1e-9, np.eye(3))
        return np.linalg.solve(normal, slope[:, :, None])[:, :, 0]
