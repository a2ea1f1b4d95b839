"""How a clip was played, by gravity: every way of playing one of known cameras."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wmkit.annotate.scale.played import play_verdicts
from wmkit.camera import ScaleKind, Trajectory, invert_rigid
from wmkit.clip import MeasureState
from wmkit.telemetry import GravityTrack

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def walked(nod_deg: float, seed: int = 0) -> tuple[Trajectory, GravityTrack]:
    """Cameras that turn, roll and nod by about `nod_deg`, and what a sensor in them feels, 0.1 degrees of noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(60) / 16
    wave = [np.sin(rng.uniform(1, 4) * time_s + rng.uniform(0, 6)) * np.radians(nod_deg) for _ in range(2)]
    turn = np.column_stack([wave[0], 0.5 * time_s, wave[1]])  # pitch, yaw, roll
    poses = np.tile(np.eye(4), (60, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("yxz", turn[:, [1, 0, 2]]).as_matrix()
    poses[:, :3, 3] = np.column_stack([time_s, 0 * time_s, time_s**2])
    down = np.swapaxes(poses[:, :3, :3], 1, 2) @ np.array([0.0, 1.0, 0.0])
    down += rng.normal(0, np.radians(0.1), down.shape)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    posed = np.ones(60, bool)
    posed[7] = posed[30:34] = False
    poses[~posed] = np.nan
    trajectory = Trajectory(world_from_cam=poses, time_s=time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE)
    return trajectory, GravityTrack(time_s=time_s, down=down, source="test")


def played(trajectory: Trajectory, mirrored: bool, backwards: bool) -> Trajectory:
    """The cameras that an exact estimator finds in the same pictures, played so, in a world of its own."""
    poses, posed = trajectory.world_from_cam, trajectory.posed
    if mirrored:
        poses = MIRROR @ poses @ MIRROR
    if backwards:
        poses, posed = poses[::-1], posed[::-1]
    first = invert_rigid(poses[np.flatnonzero(posed)[:1]])
    return dataclasses.replace(trajectory, world_from_cam=first @ poses, posed=posed)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_each_way_of_playing_is_told(mirrored: bool, backwards: bool, seed: int) -> None:
    trajectory, gravity = walked(8.0, seed)
    found = play_verdicts(played(trajectory, mirrored, backwards), gravity)
    assert [verdict.name for verdict in found] == ["mirrored", "reversed_play"]
    assert [verdict.value for verdict in found] == [float(mirrored), float(backwards)]


def test_a_level_camera_does_not_tell() -> None:
    trajectory, gravity = walked(0.02)
    for verdict in play_verdicts(played(trajectory, True, False), gravity):
        assert verdict.reason == "the camera rolls and nods too little to tell"


def test_gravity_of_another_camera_tells_nothing() -> None:
    trajectory, _ = walked(25.0, seed=1)
    _, gravity = walked(25.0, seed=2)
    for verdict in play_verdicts(trajectory, gravity):
        assert verdict.reason is not None
        assert verdict.reason.startswith("gravity moves")


def test_without_gravity_nothing_is_measured() -> None:
    trajectory, gravity = walked(8.0)
    late = dataclasses.replace(gravity, time_s=gravity.time_s + 100.0)
    for track, reason in ((None, "no_gravity"), (late, "gravity of too few frames")):
        for verdict in play_verdicts(trajectory, track):
            assert verdict.state is MeasureState.UNMEASURED
            assert verdict.reason is not None
            assert verdict.reason.startswith(reason)
