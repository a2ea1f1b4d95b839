"""Camera paths: proper rotations, the motion each name promises."""

import numpy as np
import pytest

from wmkit.camera_paths import (
    NAMED_PATHS,
    Backtrack,
    Crane,
    Drive,
    Elevator,
    Orbit,
    PureRotation,
    SCurve,
    Spiral,
    Static,
    Walk,
    WhipPan,
    look_at,
    rotation_from_angles,
)
from wmkit.errors import InputError

ROUNDING = 1e-12  # a few float64 operations on numbers of order one


def forward(path):
    return path.world_from_cam[:, :3, 2]


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("name", sorted(NAMED_PATHS))
@pytest.mark.parametrize("frames", [1, 2, 49])
def test_every_path_is_a_metric_trajectory(name, frames):
    path = NAMED_PATHS[name].sample(frames, 16.0)
    trajectory = path.trajectory()  # checks orthonormality, determinant and times
    assert len(trajectory) == frames
    assert np.allclose(path.time_s, np.arange(frames) / 16, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", sorted(set(NAMED_PATHS) - {"whip_pan"}))
def test_paths_are_smooth(name):
    """Half the time step halves the largest step between poses: no jumps. (The whip is a jump on purpose.)"""
    coarse, fine = (NAMED_PATHS[name].sample(frames, fps).world_from_cam for frames, fps in ((65, 16), (129, 32)))
    step = [np.abs(np.diff(poses, axis=0)).max() for poses in (coarse, fine)]
    assert step[1] <= 0.52 * step[0] + ROUNDING  # 0.5 in the limit; 0.52 leaves room for curvature


@pytest.mark.parametrize("path", [Static(), SCurve(), Drive(), Orbit(), Spiral(), Crane(), Elevator(), Backtrack()])
def test_the_horizon_stays_level_without_hand_shake(path):
    right = path.sample(33, 16.0).world_from_cam[:, :3, 0]
    assert np.abs(right[:, 1]).max() < ROUNDING


def test_static_and_pure_rotation_do_not_translate():
    assert np.array_equal(Static().sample(9, 16.0).world_from_cam, np.tile(np.eye(4), (9, 1, 1)))
    pan = PureRotation(pan_deg=60, tilt_deg=0).sample(33, 16.0)
    assert np.array_equal(pan.world_from_cam[:, :3, 3], np.zeros((33, 3)))
    assert angle_deg(pan.world_from_cam[0, :3, :3], pan.world_from_cam[-1, :3, :3]) == pytest.approx(60, abs=1e-9)
    assert forward(pan)[-1, 0] > 0  # to the right


@pytest.mark.parametrize("path", [Drive(speed_m_s=7.0), SCurve(speed_m_s=1.1)])
def test_drive_and_s_curve_face_where_they_go(path):
    poses = path.sample(321, 100.0)
    travel = np.gradient(poses.world_from_cam[:, :3, 3], poses.time_s, axis=0)[1:-1]
    travel /= np.linalg.norm(travel, axis=1, keepdims=True)
    off_deg = np.degrees(np.arccos(np.clip((travel * forward(poses)[1:-1]).sum(axis=1), -1, 1)))
    assert off_deg.max() < 0.01  # central differences at 100 Hz


def test_drive_backwards_looks_ahead():
    poses = Drive(speed_m_s=-2.0, sway_m=0.0).sample(17, 16.0)
    assert poses.world_from_cam[-1, 2, 3] == pytest.approx(-2.0)
    assert np.allclose(forward(poses), [0, 0, 1], atol=ROUNDING)


def test_orbit_keeps_its_distance_and_its_target():
    orbit = Orbit(radius_m=2.0, arc_deg=70, target_drop_m=0.3).sample(40, 16.0)
    position = orbit.world_from_cam[:, :3, 3]
    to_target = np.array([0, 0.3, 2.0]) - position
    assert np.linalg.norm(to_target[:, [0, 2]], axis=1) == pytest.approx(2.0, abs=ROUNDING)
    to_target /= np.linalg.norm(to_target, axis=1, keepdims=True)
    assert np.allclose(to_target, forward(orbit), atol=ROUNDING)
    assert position[-1, 0] > 0


def test_spiral_closes_in_while_it_climbs():
    position = (
        Spiral(start_radius_m=2.5, end_radius_m=1.0, turns=1.5, rise_m=0.6).sample(50, 16.0).world_from_cam[:, :3, 3]
    )
    radius = np.linalg.norm(position[:, [0, 2]] - [0, 2.5], axis=1)
    assert (np.diff(radius) < 0).all()
    assert radius[[0, -1]] == pytest.approx([2.5, 1.0])
    assert position[-1, 1] == pytest.approx(-0.6)  # y is down


def test_crane_rises_moves_on_and_looks_down():
    crane = Crane(rise_m=3.0, forward_m=2.0, tilt_deg=15.0).sample(30, 16.0)
    assert crane.world_from_cam[-1, :3, 3] == pytest.approx([0, -3, 2])
    assert forward(crane)[-1, 1] == pytest.approx(np.sin(np.radians(15)))


def test_elevator_only_rises():
    poses = Elevator(speed_m_s=0.5).sample(17, 16.0).world_from_cam
    assert poses[-1, :3, 3] == pytest.approx([0, -0.5, 0])
    assert np.array_equal(poses[:, :3, :3], np.tile(np.eye(3), (17, 1, 1)))


def test_whip_pan_turns_only_within_its_window():
    whip = WhipPan(pan_deg=90, whip_s=0.4).sample(65, 16.0)
    heading_deg = np.degrees(np.arctan2(forward(whip)[:, 0], forward(whip)[:, 2]))
    moving = np.abs(np.diff(heading_deg)) > 1e-9
    assert heading_deg[[0, -1]] == pytest.approx([0, 90])
    assert moving.sum() <= 0.4 * 16 + 2
    assert np.abs(np.diff(heading_deg)).max() * 16 > 180  # faster than any deliberate pan, deg/s


def test_walk_bobs_and_shakes_about_the_s_curve():
    walk, curve = (path.sample(64, 16.0).world_from_cam for path in (Walk(), SCurve()))
    away = walk[:, :3, 3] - curve[:, :3, 3]
    assert 0.019 < np.abs(away[:, 1]).max() <= 0.02
    assert np.abs(away[:, 0]).max() <= 0.015 + ROUNDING
    assert np.abs(walk[:, 1, 0]).max() > 1e-3  # it rolls


def test_backtrack_returns_the_same_way():
    poses = Backtrack(distance_m=2.0, bend_deg=20).sample(41, 16.0).world_from_cam
    assert np.allclose(poses, poses[::-1], atol=ROUNDING)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.sum() == pytest.approx(4.0, rel=1e-3)  # chords of an arc are a little shorter


def test_placed_turns_and_moves_the_path():
    placed = Drive(speed_m_s=2.0, sway_m=0).sample(17, 16.0).placed((1.0, -1.5, 3.0), heading_deg=90.0)
    assert placed.world_from_cam[0, :3, 3] == pytest.approx([1, -1.5, 3])
    assert placed.world_from_cam[-1, :3, 3] == pytest.approx([3, -1.5, 3])  # +90 deg is to the right: +x
    assert forward(placed)[0] == pytest.approx([1, 0, 0])


def test_angles_turn_the_way_their_names_say():
    assert rotation_from_angles(90, 0, 0) @ [0, 0, 1] == pytest.approx([1, 0, 0])  # heading: right
    assert rotation_from_angles(0, 90, 0) @ [0, 0, 1] == pytest.approx([0, -1, 0])  # pitch: up, y is down
    assert rotation_from_angles(0, 0, 90) @ [1, 0, 0] == pytest.approx([0, 1, 0])  # roll: the right side drops


def test_look_at_refuses_what_has_no_upright_view():
    with pytest.raises(InputError, match="away from the camera"):
        look_at(np.zeros((1, 3)), np.zeros(3))
    with pytest.raises(InputError, match="along gravity"):
        look_at(np.zeros((1, 3)), np.array([0.0, 2.0, 0.0]))


@pytest.mark.parametrize(("frames", "fps"), [(0, 16.0), (-1, 16.0), (5, 0.0), (5, float("nan"))])
def test_nothing_to_sample_is_an_error(frames, fps):
    with pytest.raises(InputError, match="at least one frame"):
        Drive().sample(frames, fps)
