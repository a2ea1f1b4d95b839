"""Two maps of overlapping frames made one: the similarity between them, and how badly they fit where they meet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.scene import Scene
from wmkit.camera import Array, invert_rigid
from wmkit.metrics import rotation_angle_rad

__all__ = ["Seam", "SeamConfig", "Similarity", "align", "mean_rotation"]

ROUNDS = 10  # of reweighting: rotations of a seam agree to a fraction of a degree, or the seam is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class SeamConfig:
    """When two maps may be joined.

    min_frames     posed in both.
    min_points     tracks with a point in both, seen by those frames.
    rotation_deg   largest misfit of a seam ...
    position       ... and as a share of the depth there.
    """

    min_frames: int = 4
    min_points: int = 40
    rotation_deg: float = 3.0
    position: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Misfit of two maps at the frames both pose, after the best similarity between them.

    frames        posed in both.
    rotation_deg  root mean square angle between the two orientations of a frame.
    position      root mean square distance between its two positions, as a share of the median depth there.
    """

    frames: int
    rotation_deg: float
    position: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Similarity:
    """x -> scale · rotation x + shift, from one map's coordinates into another's."""

    scale: float = 1.0
    rotation: Array
    shift: Array

    def points(self, xyz: Array) -> Array:
        """(M, 3) points carried over; NaN rows stay NaN."""
        return self.scale * xyz @ self.rotation.T + self.shift

    def cameras(self, cam_from_world: Array) -> Array:
        """(N, 4, 4) cameras carried over: still rigid, in the other map's unit."""
        moved = cam_from_world.copy()
        moved[:, :3, :3] = cam_from_world[:, :3, :3] @ self.rotation.T
        moved[:, :3, 3] = self.scale * cam_from_world[:, :3, 3] - moved[:, :3, :3] @ self.shift
        return moved

    def after(self, first: "Similarity") -> "Similarity":
        """`first`, then this one."""
        return Similarity(
            scale=self.scale * first.scale,
            rotation=self.rotation @ first.rotation,
            shift=self.points(first.shift[None])[0],
        )

    def inverse(self) -> "Similarity":
        """The way back."""
        back = self.rotation.T
        return Similarity(scale=1 / self.scale, rotation=back, shift=-(back @ self.shift) / self.scale)


def align(a: Scene, b: Scene, config: SeamConfig) -> tuple[Similarity, Seam, float] | None:
    """a_from_b, the seam and the median depth there in a's unit; None where they share too little or do not fit.

    Both scenes hold the same observations of the same tracks. The scale is the median ratio of the depths of shared
    points in shared frames: it is defined for a straight path, and for a camera that stands, where positions are not.
    """
    both = a.posed & b.posed
    seen = both[a.obs_frame] & np.isfinite(a.xyz[a.obs_track, 0]) & np.isfinite(b.xyz[a.obs_track, 0])
    if both.sum() < config.min_frames or len(np.unique(a.obs_track[seen])) < config.min_points:
        return None
    depth_a, depth_b = a.keep(seen).in_camera()[:, 2], b.keep(seen).in_camera()[:, 2]
    ahead = (depth_a > 0) & (depth_b > 0)
    if ahead.sum() < config.min_points:
        return None
    scale = float(np.exp(np.median(np.log(depth_a[ahead] / depth_b[ahead]))))
    in_a, in_b = invert_rigid(a.cam_from_world[both]), invert_rigid(b.cam_from_world[both])
    turn = in_a[:, :3, :3] @ np.swapaxes(in_b[:, :3, :3], 1, 2)
    rotation = mean_rotation(turn)
    shift = np.median(in_a[:, :3, 3] - scale * in_b[:, :3, 3] @ rotation.T, axis=0)
    depth = float(np.median(depth_a[ahead]))
    found = Similarity(scale=scale, rotation=rotation, shift=shift)
    off = np.linalg.norm(in_a[:, :3, 3] - found.points(in_b[:, :3, 3]), axis=1) / depth
    seam = Seam(
        frames=int(both.sum()),
        rotation_deg=float(np.degrees(np.sqrt((rotation_angle_rad(turn @ rotation.T) ** 2).mean()))),
        position=float(np.sqrt((off**2).mean())),
    )
    if seam.rotation_deg > config.rotation_deg or seam.position > config.position:
        return None
    return found, seam, depth


def mean_rotation(rotations: Array, weight: NDArray[np.float64] | None = None) -> Array:
    """(3, 3) nearest to (n, 3, 3) rotations: weighted chordal mean, or without weights robustly (L1, reweighted)."""
    fixed = weight is not None
    weight = np.ones(len(rotations)) if weight is None else weight
    mean = np.eye(3)
    for _ in range(1 if fixed else ROUNDS):
        u, _, vt = np.linalg.svd((weight[:, None, None] * rotations).sum(axis=0))
        mean = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        weight = 1 / np.maximum(np.degrees(rotation_angle_rad(rotations @ mean.T)), 1e-3)
    return mean
