"""How far given poses are from where the images have them: their covariance, and the evidence for and against them.

A copy of the cameras is adjusted to the tracks (points free, intrinsics held) and laid back onto the given ones by the
best similarity. What is left between the two is an error of the file, to within what the images can tell. It is taken
as noise of one variance for each of the six axes of the camera, independent from frame to frame; a pose that is off by
more than `WILD` times the usual has its own. First-order propagation then gives the error of a pose as the first posed
camera sees it, which is the gauge of every trajectory here: with D of each frame's noise and A the adjoint of the first
camera in the frame's coordinates, the covariance is D + A D_first A^T.

What the adjustment itself errs is in there too: poses better than the images can say look as good as the images. A bend
of the whole file that no track spans, and its scale, do not show.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.keyframes import KeyframeConfig, choose_keyframes
from wmkit.annotate.pose.scene import Scene, drop_outliers, refine_poses, resect, triangulate
from wmkit.annotate.pose.seams import mean_rotation
from wmkit.annotate.pose.second import Disagreement, compare
from wmkit.annotate.pose.sliding import adjust_keyframes
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.windows import WindowConfig
from wmkit.camera import Array, cross_matrices, invert_rigid

__all__ = ["GivenNoise", "adjusted_cameras", "given_noise", "noise_covariance"]

ROUNDS = ((0.02, 30), (0.005, 50))  # error of observations, as a share of the diagonal, and iterations of each
MIN_ANGLE_DEG, MIN_INLIERS = 0.5, 12
LOSS_PX = 0.2  # least scale of the Cauchy loss; else twice the median error
FEWEST = 4  # poses held against the images, below which nothing is said of the others
WILD = 5.0  # times the usual error, from which a pose errs for itself
NORMAL = 1.4826  # standard deviation of a normal variable over its median size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenNoise:
    """What the images say of given poses.

    covariance  (N, 6, 6) as in `Trajectory`; None where too few poses could be held against the images.
    between     the given cameras compared with the adjusted ones; the two do share their tracks.
    """

    covariance: Array | None
    between: Disagreement


def given_noise(scene: Scene, tracks: Tracks) -> GivenNoise:
    """Hold the cameras of a scene, in which no point need be known, against its observations."""
    found = adjusted_cameras(scene, tracks)
    held = np.isfinite(found[:, 0, 0])
    world_from_cam = invert_rigid(scene.cam_from_world)
    centre = world_from_cam[scene.posed][:, :3, 3]
    path = float(np.linalg.norm(np.diff(centre, axis=0), axis=1).sum())
    rotation_deg, position = compare(scene.cam_from_world, found, path)
    between = Disagreement(
        rotation_deg=rotation_deg,
        position=position,
        focal=float("nan"),
        posed_share=float(held.sum() / max(scene.posed.sum(), 1)),
        disjoint=False,
    )
    off = _off(world_from_cam[held], invert_rigid(found[held])) if held.sum() >= FEWEST else None
    return GivenNoise(covariance=None if off is None else noise_covariance(world_from_cam, held, off), between=between)


def adjusted_cameras(scene: Scene, tracks: Tracks) -> Array:
    """(N, 4, 4) cam_from_world where the images have the scene's cameras; NaN for one that sees too few points."""
    keyframes = np.array(choose_keyframes(tracks, KeyframeConfig()))
    others = np.setdiff1d(np.arange(len(tracks)), keyframes)
    given, cameras = scene.posed[:, None, None], scene.cam_from_world
    whole = replace(scene, xyz=np.full_like(scene.xyz, np.nan))
    for share, iterations in ROUNDS:
        limit_px = share * tracks.diagonal_px
        scene = triangulate(replace(whole, cam_from_world=cameras), limit_px, MIN_ANGLE_DEG, robust=True)
        scene = drop_outliers(scene, limit_px, MIN_ANGLE_DEG, MIN_INLIERS)
        core = scene.at_frames(keyframes)
        if core.posed.sum() < FEWEST - 1 or not core.usable.any():
            return np.full_like(cameras, np.nan)
        loss_px = max(LOSS_PX, 2 * core.median_px)
        core = adjust_keyframes(core, keyframes, loss_px, WindowConfig(), fixed_focal=True, iterations=iterations)
        cameras = np.where(core.posed[:, None, None], core.cam_from_world, scene.cam_from_world)
        # a pose that was too far off for its points to show has lost all of them: it is found again by those of others
        scene = resect(replace(whole, cam_from_world=cameras, xyz=core.xyz), limit_px, MIN_INLIERS)
        scene = refine_poses(scene, others[scene.posed[others]], max(LOSS_PX, 2 * core.median_px), MIN_INLIERS)
        cameras = np.where(given, scene.cam_from_world, np.nan)
    fitting = drop_outliers(scene, ROUNDS[-1][0] * tracks.diagonal_px, MIN_ANGLE_DEG, MIN_INLIERS)
    return np.where(given, fitting.cam_from_world, np.nan)


def _off(given: Array, found: Array) -> Array | None:
    """(n, 6) by what found cameras (n, 4, 4) would have to move to be the given ones: rotation rad, translation.

    After the best similarity, in the right-multiplied tangent. None where the found ones do not move.
    """
    from scipy.spatial.transform import Rotation

    turn = mean_rotation(given[:, :3, :3] @ np.swapaxes(found[:, :3, :3], 1, 2))
    turned = turn @ found[:, :3, :3]
    place, other = given[:, :3, 3], found[:, :3, 3] @ turn.T
    place, other = place - place.mean(axis=0), other - other.mean(axis=0)
    spread = float((other**2).sum())
    if spread == 0:
        return None
    away = place - max(float((place * other).sum()) / spread, 0.0) * other
    angle = Rotation.from_matrix(np.swapaxes(turned, 1, 2) @ given[:, :3, :3]).as_rotvec()
    return np.concatenate([angle, np.einsum("nji,nj->ni", turned, away)], axis=1)


def noise_covariance(world_from_cam: Array, held: NDArray[np.bool_], off: Array) -> Array:
    """(N, 6, 6) from the errors `off` (n, 6) of the frames `held` (N,), n of them; NaN where a frame has no pose.

    world_from_cam (N, 4, 4). A posed frame that is not held has the noise of the others.
    """
    usual = NORMAL * np.median(np.abs(off), axis=0)
    wild = np.abs(off) > WILD * usual
    freedom = max(off.size - 7, 1) / off.size  # of which the similarity took seven
    square = np.where(wild, 0.0, off**2).sum(axis=0) / np.maximum((~wild).sum(axis=0), 1) / freedom
    variance = np.tile(square, (len(world_from_cam), 1))
    variance[held] = np.where(wild, off**2, square)
    posed = np.flatnonzero(np.isfinite(world_from_cam[:, 0, 0]))
    first = posed[0]
    seen_from = invert_rigid(world_from_cam[posed]) @ world_from_cam[first]
    across = _adjoint(seen_from)
    covariance = np.full((len(world_from_cam), 6, 6), np.nan)
    covariance[posed] = (across * variance[first]) @ np.swapaxes(across, 1, 2)
    covariance[posed] += variance[posed][:, :, None] * np.eye(6)
    covariance[first] = 0.0
    return (covariance + np.swapaxes(covariance, 1, 2)) / 2


def _adjoint(transform: Array) -> Array:
    """(n, 6, 6) how a small motion, (rotation, translation), on the right of a frame looks on the right of another.

    `transform` (n, 4, 4) takes the coordinates of the one into the other's.
    """
    rotation = transform[:, :3, :3]
    moved = cross_matrices(transform[:, :3, 3]) @ rotation
    top = np.concatenate([rotation, np.zeros_like(rotation)], axis=2)
    return np.concatenate([top, np.concatenate([moved, rotation], axis=2)], axis=1)
