"""Which way is up in a trajectory's world: by gravity where a sensor knows it, else by cameras held upright."""

import numpy as np

from wmkit.camera import Array, Trajectory
from wmkit.telemetry import GravityTrack

__all__ = ["camera_up", "gravity_up"]

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
    after = np.clip(np.searchsorted(gravity.time_s, trajectory.time_s[frames]), 1, max(len(gravity.time_s) - 1, 1))
    after = np.minimum(after, len(gravity.time_s) - 1)
    before = np.maximum(after - 1, 0)
    earlier = np.abs(gravity.time_s[before] - trajectory.time_s[frames])
    later = np.abs(gravity.time_s[after] - trajectory.time_s[frames])
    nearest = np.where(earlier <= later, before, after)
    kept = np.minimum(earlier, later) <= MAX_GAP_S
    if kept.sum() < max(1.0, MIN_SHARE * len(frames)):
        return None
    down = np.einsum("nij,nj->ni", trajectory.rotation[frames[kept]], gravity.down[nearest[kept]])
    mean = down.mean(axis=0)
    if np.linalg.norm(mean) < 0.5:
        return None
    mean /= np.linalg.norm(mean)
    off_deg = np.degrees(np.arccos(np.clip(down @ mean, -1, 1)))
    return None if np.median(off_deg) > MAX_SPREAD_DEG else -mean
