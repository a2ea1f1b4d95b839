"""How fast the cameras of shards move from frame to frame, so that a path to sample can be held against it."""

from collections.abc import Sequence

import numpy as np

from wmkit.camera import Array
from wmkit.dataset.decode import load_array
from wmkit.dataset.remote_shards import RemoteShards
from wmkit.dataset.schema import Folder, Sample
from wmkit.metrics import rotation_angle_rad
from wmkit.spread import evenly_spread
from wmkit.train.checkpoint import MotionFacts

__all__ = ["frame_motion", "motion_facts"]

AT_MOST = 512  # samples: of 213,000 they tell a 99th percentile as well as all would
FAR_AT_MOST = 64  # behind a URL, where each is a request
PERCENTILES = (5.0, 50.0, 95.0, 99.0)


def frame_motion(world_from_cam: Array) -> tuple[Array, Array]:
    """Translation (N-1,) in the poses' unit and rotation (N-1,) deg between neighbours; NaN where one has no pose."""
    step = np.linalg.norm(np.diff(world_from_cam[:, :3, 3], axis=0), axis=1)
    turns = np.swapaxes(world_from_cam[:-1, :3, :3], 1, 2) @ world_from_cam[1:, :3, :3]
    return step, np.degrees(rotation_angle_rad(turns))


def motion_facts(shards: Folder, samples: Sequence[Sample]) -> MotionFacts | None:
    """Percentiles over at most 512 samples (64 behind a URL), evenly picked; None without two posed frames in a row.

    CorruptShardError when a trajectory's bytes are damaged.
    """
    most = FAR_AT_MOST if isinstance(shards, RemoteShards) else AT_MOST
    picked = [samples[i] for i in evenly_spread(len(samples), most)]
    steps, turns = [], []
    for sample in picked:
        poses = load_array(shards, sample, "trajectory.npy", (sample.frames, 4, 4), alone=True)
        step, turn_deg = frame_motion(poses)
        steps.append(step[np.isfinite(step)])
        turns.append(turn_deg[np.isfinite(turn_deg)])
    if not sum(map(len, steps)):
        return None
    return MotionFacts(
        step=_percentiles(np.concatenate(steps)),
        turn_deg=_percentiles(np.concatenate(turns)),
        samples=len(picked),
    )


def _percentiles(values: Array) -> tuple[float, float, float, float]:
    a, b, c, d = (float(value) for value in np.percentile(values, PERCENTILES))
    return a, b, c, d
