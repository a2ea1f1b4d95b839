"""Mirrored or reversed play, where a sensor felt gravity: its down must stay put in the trajectory's world.

Cameras found in mirrored pictures are mirrored, R = M R' M, and those of a clip played backwards come in the other
order. Of the four ways a clip may have been played, gravity stays put under the true one, and moves about under the
others as far as the camera rolls and nods. No picture tells by itself; without a sensor neither is measured.
"""

import numpy as np

from wmkit.annotate.scale.upright import MAX_SPREAD_DEG, MIN_SHARE, down_at, steadiness
from wmkit.camera import Array, Trajectory
from wmkit.clip import Verdict
from wmkit.telemetry import GravityTrack

__all__ = ["MIRRORED", "REVERSED", "play_verdicts"]

MIRRORED, REVERSED = "mirrored", "reversed_play"
CLEARER = 3.0  # times as far must gravity move under the ways that are ruled out
FLOOR_DEG = 0.2  # a sensor's own noise
FLIP = np.array([-1.0, 1.0, 1.0])  # x of camera axes in a mirrored picture


def play_verdicts(trajectory: Trajectory, gravity: GravityTrack | None) -> tuple[Verdict, Verdict]:
    """`mirrored` and `reversed_play`: 1 when it was, 0 when not, UNMEASURED where gravity does not tell."""
    spread = None if gravity is None else _spreads(trajectory, gravity)
    if spread is None:
        reason = "no_gravity: only telemetry tells" if gravity is None else "gravity of too few frames"
        return Verdict.unmeasured(MIRRORED, "", reason), Verdict.unmeasured(REVERSED, "", reason)
    return _verdict(MIRRORED, spread), _verdict(REVERSED, spread.T)


def _spreads(trajectory: Trajectory, gravity: GravityTrack) -> Array | None:
    """(2, 2) degrees that gravity moves about: as it is and mirrored, by as it is and reversed."""
    frames = np.flatnonzero(trajectory.posed)
    time_s = trajectory.time_s[frames]
    (near, down), (near_end, from_end) = (
        down_at(gravity, at_s) for at_s in (time_s, trajectory.time_s[0] + trajectory.time_s[-1] - time_s)
    )
    kept = near & near_end
    if kept.sum() < max(2.0, MIN_SHARE * len(frames)):
        return None
    rotation, orders = trajectory.rotation[frames[kept]], (down[kept], from_end[kept])
    return np.array([[steadiness(rotation, order * flip)[1] for order in orders] for flip in (np.ones(3), FLIP)])


def _verdict(name: str, spread: Array) -> Verdict:
    """Row 0 of `spread` (2, 2) says no, row 1 yes."""
    no, yes = np.maximum(spread.min(axis=1), FLOOR_DEG).tolist()
    if min(no, yes) > MAX_SPREAD_DEG:
        return Verdict.unmeasured(name, "", f"gravity moves {min(no, yes):.0f} degrees about: another camera's")
    if max(no, yes) < CLEARER * min(no, yes):
        return Verdict.unmeasured(name, "", "the camera rolls and nods too little to tell")
    return Verdict.measured(name, float(yes < no), "")
