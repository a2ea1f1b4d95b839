"""Which way is up in a trajectory's world: by gravity where a sensor knows it, else by cameras held upright."""

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Trajectory
from wmkit.telemetry import GravityTrack

__all__ = ["camera_up", "down_at", "gravity_up", "steadiness"]

MAX_GAP_S = 0.05  # between a frame and the sensor's sample
MAX_SPREAD_DEG = 5.0  # of down over the frames, median: more, and sensor and trajectory turn differently
MIN_SHARE = 0.5  # of the posed frames must have a sample


def camera_up(trajectory: Trajectory) -> Array | None:
    """(3,) mean of the cameras' up axes (−y), of unit length; None when they roll about and have none in common."""
    up = -trajectory.rotation[trajectory.posed][:, :, 1].mean(axis=0)
    if not trajectory.posed.any() or np.linalg.norm(up) < np.cos(np.radians(60)):
        return None
    return up / np.linalg.norm(up)


def gravity_up(trajectory: Trajectory, gravity: GravityTrack) -> Array | None:
    """(3,) up in the world by each frame's gravity; None when too few frames have one or it does not stay put.

    A gravity whose axes are not the camera's, or a trajectory whose rotations are wrong, moves about in the world.
    """
    frames = np.flatnonzero(trajectory.posed)
    near, down = down_at(gravity, trajectory.time_s[frames])
    if near.sum() < max(1.0, MIN_SHARE * len(frames)):
        return None
    mean, spread_deg = steadiness(trajectory.rotation[frames[near]], down[near])
    return None if spread_deg > MAX_SPREAD_DEG else -mean


def down_at(gravity: GravityTrack, time_s: Array) -> tuple[NDArray[np.bool_], Array]:
    """(K,) whether there is a sample close to each time (K,), and (K, 3) down there, in the camera's axes."""
    after = np.clip(np.searchsorted(gravity.time_s, time_s), 1, max(len(gravity.time_s) - 1, 1))
    after = np.minimum(after, len(gravity.time_s) - 1)
    before = np.maximum(after - 1, 0)
    earlier = np.abs(gravity.time_s[before] - time_s)
    later = np.abs(gravity.time_s[after] - time_s)
    return np.minimum(earlier, later) <= MAX_GAP_S, gravity.down[np.where(earlier <= later, before, after)]


def steadiness(rotation: Array, down: Array) -> tuple[Array, float]:
    """(3,) mean of down (K, 3) in the world of cameras (K, 3, 3), of unit length, and its median angle off it, deg.

    180 degrees where it has no mean to speak of: pointing everywhere.
    """
    world = np.einsum("nij,nj->ni", rotation, down)
    mean = world.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 0.5:
        return np.array([0.0, 0.0, 1.0]), 180.0
    mean /= length
    return mean, float(np.median(np.degrees(np.arccos(np.clip(world @ mean, -1, 1)))))
