"""Null controls: the same estimate held against paths that nobody asked for. A model that follows beats all of them.

shuffled  the asked cameras in another order.
static    the asked camera of the first frame in every frame.
reversed  the asked path driven backwards.
"""

import numpy as np

from wmkit.camera import Trajectory
from wmkit.clip import rng_for
from wmkit.errors import InputError
from wmkit.metrics import CAMERA_CONTROL_CONVENTIONS, camera_control_errors, rotation_error

__all__ = ["CONTROLS", "control_figures", "control_paths"]

CONTROLS = ("shuffled", "static", "reversed")


def control_paths(asked: Trajectory) -> dict[str, Trajectory]:
    """The three paths; frames for which the asked path says nothing say nothing here either."""
    rows = np.flatnonzero(asked.posed)
    orders = {
        "shuffled": rng_for(0, "eval", "shuffled").permutation(rows),
        "static": np.full(len(rows), rows[0]),
        "reversed": rows[::-1],
    }
    paths = {}
    for name, order in orders.items():
        poses = np.array(asked.world_from_cam)
        poses[rows] = asked.world_from_cam[order]
        paths[name] = Trajectory(world_from_cam=poses, time_s=asked.time_s, posed=asked.posed, scale=asked.scale)
    return paths


def control_figures(estimate: Trajectory, asked: Trajectory) -> dict[str, dict[str, float | None]]:
    """By control, every figure of `camera_control_errors` and `rotation_error`; None where it is not defined.

    A path that stands still has no size to normalise by, and one that does not correspond has no alignment.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name, path in control_paths(asked).items():
        figures: dict[str, float | None] = {}
        for convention in CAMERA_CONTROL_CONVENTIONS:
            try:
                figures |= {m.name: m.value for m in camera_control_errors(estimate, path, convention)}
            except InputError:
                figures |= {f"{figure}_{convention}": None for figure in ("rot_err", "trans_err", "cam_mc")}
        figures["rotation_error"] = rotation_error(estimate, path).value
        found[name] = figures
    return found
