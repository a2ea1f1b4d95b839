"""Covariance of every pose from the reprojection Hessian at the adjusted scene.

Right-multiplied tangent (world_from_cam · Exp(rotation, translation)), points and focal length, the latter with its
prior, marginalised by the Schur complement. Gauge: the first posed frame is fixed, and so is the scale, as the root
mean square distance of the cameras from it: an up-to-scale trajectory has no scale error, a metric one has its interval
in ScaleEstimate.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wmkit.annotate.pose.scene import Indices, Scene
from wmkit.camera import Array, cross_matrices, invert_rigid
from wmkit.spread import evenly_spread

__all__ = ["pose_covariance"]

JOINT_FRAMES = 256  # the dense inverse is cubic in frames: 1536 unknowns take half a core-second


def pose_covariance(scene: Scene, joint: Indices) -> tuple[Array | None, float]:
    """(N, 6, 6), order (rotation rad, translation in the scene's unit), and the focal length's. NaN where unposed.

    The posed frames of `joint` (the keyframes, first posed frame included) are estimated jointly, with noise scaled
    to the scene's own residuals; of more than `JOINT_FRAMES` an even selection is. Another frame takes the mean of
    the two around it, weighted by distance in frames, plus its own covariance given the points: conservative, since
    it ignores that they correlate. The second value is the standard deviation of the focal
    length's logarithm. A scene too weak to be inverted has None.
    """
    posed = np.flatnonzero(scene.posed)
    joint = np.union1d(np.intersect1d(joint, posed), posed[[0, -1]])
    joint = joint[evenly_spread(len(joint), JOINT_FRAMES)]
    linear = _linearise(scene)
    covariance = np.full((len(scene.cam_from_world), 6, 6), np.nan)
    covariance[joint], focal_sigma_px = _joint(linear, joint, scene)
    rest = np.setdiff1d(posed, joint)
    if len(rest):
        after = np.searchsorted(joint, rest)
        before = after - 1
        share = ((rest - joint[before]) / (joint[after] - joint[before]))[:, None, None]
        between = (1 - share) * covariance[joint[before]] + share * covariance[joint[after]]
        covariance[rest] = between + np.linalg.inv(_own_information(linear, rest))
    sigma_log = focal_sigma_px / float(np.median(scene.focal[posed]))
    covariance = (covariance + np.swapaxes(covariance, 1, 2)) / 2
    if not np.isfinite(covariance[posed]).all():
        return None, sigma_log
    value, vector = np.linalg.eigh(covariance[posed])
    covariance[posed] = (vector * np.maximum(value, 0.0)[:, None, :]) @ np.swapaxes(vector, 1, 2)
    return covariance, sigma_log


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Linear:
    """Whitened Jacobians of the usable observations: (K, 2, 6) pose, (K, 2, 3) point, (K, 2, 1) focal."""

    frame: Indices
    track: Indices
    pose: Array
    point: Array
    focal: Array


def _linearise(scene: Scene) -> _Linear:
    seen = scene.keep(scene.usable)
    count = len(seen.obs_frame)
    x, y, z = seen.in_camera().T
    focal = scene.focal[seen.obs_frame]
    zero = np.zeros_like(z)
    by_point = focal[:, None, None] * np.stack(
        [np.stack([1 / z, zero, -x / z**2], axis=1), np.stack([zero, 1 / z, -y / z**2], axis=1)], axis=1
    )
    # world_from_cam · Exp(xi) moves the point in the camera by [point]x · rotation - translation
    cross = cross_matrices(np.stack([x, y, z], axis=1))
    pose = np.concatenate([by_point @ cross, -by_point], axis=2)
    point = by_point @ scene.cam_from_world[seen.obs_frame][:, :3, :3]
    by_focal = np.stack([x / z, y / z], axis=1)[:, :, None]
    # one axis of the error, robustly: the median of a Rayleigh variable is 1.1774 sigma; what the fit itself
    # absorbed (poses, points, focal length) is missing from the residuals and is put back
    unknowns = 6 * scene.posed.sum() + 3 * len(np.unique(seen.obs_track)) - 6
    freedom = max(2 * count - unknowns, 1) / (2 * count)
    sigma_px = max(float(np.median(seen.error_px())) / 1.1774, 1e-3) / np.sqrt(freedom)
    return _Linear(
        frame=seen.obs_frame,
        track=seen.obs_track,
        pose=pose / sigma_px,
        point=point / sigma_px,
        focal=by_focal / sigma_px,
    )


def _joint(linear: _Linear, joint: Indices, scene: Scene) -> tuple[Array, float]:
    """(len(joint), 6, 6) marginal covariances of the poses in `joint`, using their observations alone; sigma_f px."""
    at = np.flatnonzero(np.isin(linear.frame, joint))
    slot = np.searchsorted(joint, linear.frame[at])
    _, point_slot = np.unique(linear.track[at], return_inverse=True)
    size, points = 6 * len(joint) + 1, point_slot.max() + 1
    pose_rows = _sparse_rows(linear.pose[at], slot, size - 1)
    focal = sparse.csr_matrix(linear.focal[at].reshape(-1, 1))
    camera_rows = sparse.hstack([pose_rows, focal], format="csr")
    point_rows = _sparse_rows(linear.point[at], point_slot, 3 * points)
    block = np.zeros((points, 3, 3))
    np.add.at(block, point_slot, np.einsum("kri,krj->kij", linear.point[at], linear.point[at]))
    block += 1e-13 * np.trace(block, axis1=1, axis2=2)[:, None, None] * np.eye(3)  # a point seen along one ray only
    inverse = sparse.block_diag(list(np.linalg.inv(block)), format="csr")
    cross = (camera_rows.T @ point_rows).tocsr()
    schur = ((camera_rows.T @ camera_rows) - cross @ inverse @ cross.T).toarray()
    if scene.focal_prior is not None:
        schur[-1, -1] += 1 / scene.focal_prior[1] ** 2
    solution = _constrained_inverse(schur[6:, 6:], _spread_gradient(scene, joint)[6:])
    result = np.zeros((len(joint), 6, 6))
    for index in range(1, len(joint)):
        begin = 6 * (index - 1)
        result[index] = solution[begin : begin + 6, begin : begin + 6]
    return result, float(np.sqrt(max(solution[-1, -1], 0.0)))


def _sparse_rows(jacobian: Array, slot: Indices, width: int) -> sparse.csr_matrix:
    """Rows (2K, width) holding each (2, w) Jacobian at the columns of its slot."""
    count, rows, wide = jacobian.shape
    column = np.repeat(slot * wide, rows * wide) + np.tile(np.arange(wide), count * rows)
    start = np.arange(0, count * rows * wide + 1, wide)
    return sparse.csr_matrix((jacobian.ravel(), column, start), shape=(count * rows, width))


def _spread_gradient(scene: Scene, joint: Indices) -> Array:
    """(6 len(joint) + 1,) how the cameras' mean square distance from the first one grows with each unknown."""
    world_from_cam = invert_rigid(scene.cam_from_world)[joint]
    away = world_from_cam[:, :3, 3] - world_from_cam[0, :3, 3]
    gradient = np.zeros((len(joint), 6))
    gradient[:, 3:] = np.einsum("nji,nj->ni", world_from_cam[:, :3, :3], away)
    return np.append(gradient.ravel(), 0.0)


def _constrained_inverse(information: Array, gradient: Array) -> Array:
    """Covariance of unknowns that may not move along `gradient` (KKT system, rows and columns scaled to 1)."""
    root = np.sqrt(np.maximum(np.diag(information), 1e-12))  # rounding may leave an unobserved unknown below zero
    across = gradient / root
    across /= np.linalg.norm(across)
    system = np.block([[information / root[:, None] / root, across[:, None]], [across[None], np.zeros((1, 1))]])
    return np.linalg.inv(system)[:-1, :-1] / root[:, None] / root


def _own_information(linear: _Linear, frames: Indices) -> Array:
    """(len(frames), 6, 6) Hessian of each pose with the points held."""
    at = np.flatnonzero(np.isin(linear.frame, frames))
    information = np.zeros((len(frames), 6, 6))
    np.add.at(
        information,
        np.searchsorted(frames, linear.frame[at]),
        np.einsum("kri,krj->kij", linear.pose[at], linear.pose[at]),
    )
    return information
