"""A camera that turns on the spot: rotations, focal length and how well they alone explain the tracks.

Bundle adjustment at infinity by alternation: directions of the tracks are means of their turned rays, rotations are
Kabsch fits of rays to directions (Kabsch 1976), both reweighted robustly; the focal length by golden section. Exact
for points at infinity and for a camera without translation; anything else leaves residuals of the parallax's size.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wmkit.annotate.pose.epipolar import homography_inliers
from wmkit.annotate.pose.scene import Indices
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["Turning", "TurningConfig", "fit_turning", "may_turn_only", "turn_between"]

GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True)
class TurningConfig:
    """When a clip counts as filmed from one point.

    homography_px     MAGSAC threshold of a homography between far keyframes, and ...
    homography_share  ... share of their tracks that must follow it, in the median pair, for a closer look.
    error_px          median residual of the rotation-only fit up to which the camera only turns, at 800 px diagonal:
                      above the drift of tracks over a clip, below a parallax of a fifth of a degree.
    noise_px          the same in px of small frames, whose tracks are no finer for being small.
    moving_gain       share of that residual a map with translations must take away to be believed instead: on turning
                      cameras the freedom to move gains up to 40 %.
    inlier_share      of the observations within four times that.
    max_tracks        longest tracks used; focal_share and steps bound the search for the focal length. A fit that ends
                      at either is none: shifting sideways looks like turning a camera without perspective.
    """

    homography_px: float = 2.0
    homography_share: float = 0.6
    error_px: float = 0.8
    noise_px: float = 0.5
    moving_gain: float = 0.45
    inlier_share: float = 0.75
    max_tracks: int = 400
    focal_share: tuple[float, float] = (0.35, 4.0)
    steps: int = 14


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turning:
    """Rotations alone.

    rotation      (F, 3, 3) world_from_cam of the frames asked for, the first one's is the identity.
    focal_px      given or found.
    median_px     residual of the observations.
    inlier_share  of the observations within four times `limit_px`.
    holds         whether the clip is explained by turning alone.
    """

    rotation: Array
    focal_px: float
    median_px: float
    inlier_share: float
    holds: bool


def may_turn_only(tracks: Tracks, keyframes: tuple[int, ...], config: TurningConfig) -> bool:
    """Whether one homography joins most sampled pairs of far keyframes: true of turning cameras and of planes."""
    shares = []
    for frame in keyframes[:: max(1, len(keyframes) // 6)]:
        others = [key for key in keyframes if key > frame and len(tracks.common(frame, key)[0]) >= 60]
        if not others:
            continue
        at, at_other = tracks.common(frame, others[-1])
        inlier = homography_inliers(tracks.xy[frame][at], tracks.xy[others[-1]][at_other], config.homography_px)
        shares.append(0.0 if inlier is None else float(inlier.mean()))
    return bool(shares) and float(np.median(shares)) >= config.homography_share


def fit_turning(tracks: Tracks, frames: tuple[int, ...], config: TurningConfig, focal_px: float | None) -> Turning:
    """The rotation-only model of `frames`; `focal_px` is searched for when None."""
    problem = _Problem(tracks, frames, config)
    if focal_px is None:
        low, high = (np.log(share * max(tracks.width, tracks.height)) for share in config.focal_share)
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        cost_left, cost_right = problem.cost(np.exp(left)), problem.cost(np.exp(right))
        for _ in range(config.steps):
            if cost_left < cost_right:
                high, right, cost_right = right, left, cost_left
                left = high - GOLDEN * (high - low)
                cost_left = problem.cost(np.exp(left))
            else:
                low, left, cost_left = left, right, cost_right
                right = low + GOLDEN * (high - low)
                cost_right = problem.cost(np.exp(right))
        focal_px = float(np.exp((low + high) / 2))
    rotation, error_px = problem.solve(focal_px)
    median_px, inlier_share = float(np.median(error_px)), float((error_px < 4 * problem.limit_px).mean())
    low_px, high_px = (share * max(tracks.width, tracks.height) for share in config.focal_share)
    return Turning(
        rotation=rotation,
        focal_px=focal_px,
        median_px=median_px,
        inlier_share=inlier_share,
        holds=median_px <= problem.limit_px
        and inlier_share >= config.inlier_share
        and 1.05 * low_px < focal_px < 0.95 * high_px,
    )


class _Problem:
    """Observations of the longest tracks in the frames asked for."""

    def __init__(self, tracks: Tracks, frames: tuple[int, ...], config: TurningConfig) -> None:
        ids = np.concatenate([tracks.ids[frame] for frame in frames])
        number, count = np.unique(ids, return_counts=True)
        chosen = np.sort(number[np.argsort(-count, kind="stable")[: config.max_tracks]])
        every = np.concatenate([np.full(len(tracks.ids[frame]), at) for at, frame in enumerate(frames)])
        keep = np.isin(ids, np.union1d(chosen, self._thin(tracks, frames, config)))
        self.frame: Indices = every[keep].astype(np.intp)
        _, self.track = np.unique(ids[keep], return_inverse=True)
        xy = np.concatenate([tracks.xy[frame] for frame in frames])[keep].astype(np.float64)
        self.offset = xy - (tracks.width / 2, tracks.height / 2)
        self.frames, self.tracks = len(frames), int(self.track.max(initial=-1)) + 1
        self.limit_px = max(config.error_px * tracks.diagonal_px / 800, config.noise_px)

    @staticmethod
    def _thin(tracks: Tracks, frames: tuple[int, ...], config: TurningConfig) -> Indices:
        """Some tracks shared by each pair of neighbours, so that no frame hangs on few."""
        share = max(20, config.max_tracks // 8)
        some = [tracks.ids[a][tracks.common(a, b)[0]] for a, b in pairwise(frames)]
        return np.unique(np.concatenate([ids[:: max(1, len(ids) // share)] for ids in some] or [np.zeros(0, np.int64)]))

    def cost(self, focal_px: float) -> float:
        """Sum of Cauchy losses at the best rotations found."""
        _, error_px = self.solve(focal_px)
        return float(np.log1p((error_px / self.limit_px) ** 2).sum())

    def solve(self, focal_px: float) -> tuple[Array, Array]:
        """(F, 3, 3) rotations and (K,) residuals px, by a chain from frame to frame and then alternation."""
        ray = np.concatenate([self.offset / focal_px, np.ones((len(self.offset), 1))], axis=1)
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        rotation = self._chain(ray)
        weight = np.ones(len(ray))
        error_px = np.zeros(len(ray))
        for _ in range(12):
            turned = np.einsum("kij,kj->ki", rotation[self.frame], ray)
            direction = self._sum(self.track, weight[:, None] * turned, self.tracks)
            direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
            rotation = self._kabsch(ray, direction, weight)
            turned = np.einsum("kij,kj->ki", rotation[self.frame], ray)
            error_px = focal_px * np.linalg.norm(turned - direction[self.track], axis=1)
            weight = 1 / (1 + (error_px / self.limit_px) ** 2)
        return rotation[0].T @ rotation, error_px  # world: the first frame

    def _chain(self, ray: Array) -> Array:
        rotation = np.tile(np.eye(3), (self.frames, 1, 1))
        begin = np.searchsorted(self.frame, np.arange(self.frames + 1))
        for at in range(1, self.frames):
            here, there = slice(begin[at], begin[at + 1]), slice(begin[at - 1], begin[at])
            _, i, j = np.intersect1d(self.track[here], self.track[there], return_indices=True)
            if len(i) < 3:
                rotation[at] = rotation[at - 1]
                continue
            rotation[at] = turn_between(ray[here][i], ray[there][j] @ rotation[at - 1].T)
        return rotation

    def _kabsch(self, ray: Array, direction: Array, weight: Array) -> Array:
        outer = weight[:, None, None] * direction[self.track][:, :, None] * ray[:, None, :]
        moment = self._sum(self.frame, outer.reshape(-1, 9), self.frames).reshape(-1, 3, 3)
        return _nearest_rotation(moment)

    @staticmethod
    def _sum(slot: Indices, rows: Array, count: int) -> Array:
        columns = [np.bincount(slot, weights=column, minlength=count) for column in rows.T]
        return np.stack(columns, axis=1, dtype=np.float64)


def turn_between(source: Array, target: Array) -> Array:
    """(..., 3, 3) rotations that take directions `source` (..., n, 3) to `target` (..., n, 3), n >= 3, robustly."""
    turn, weight = np.eye(3), np.ones(source.shape[:-1])
    for _ in range(4):
        turn = _nearest_rotation(np.swapaxes(weight[..., None] * target, -1, -2) @ source)
        error = np.linalg.norm(source @ np.swapaxes(turn, -1, -2) - target, axis=-1)
        usual = np.maximum(1.5 * np.median(error, axis=-1, keepdims=True), 1e-9)
        weight = 1 / (1 + (error / usual) ** 2)
    return turn


def _nearest_rotation(moment: Array) -> Array:
    """(..., 3, 3) rotations nearest to the moments (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(moment)
    flip = np.ones(moment.shape[:-1])
    flip[..., -1] = np.sign(np.linalg.det(u @ vt))
    return (u * flip[..., None, :]) @ vt
