"""Action strings: the released code's rule, and the other mappings in use."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmkit.camera_actions import (
    ACTION_MAPS,
    ActionConfig,
    action_keys,
    action_map,
    action_path,
    actions_of,
    implied_keys,
)
from wmkit.errors import InputError

ROUNDING = 1e-12  # a few float64 operations on numbers of order one


# Expected numbers: the released code's rule (NVlabs/Sana 1a52678a, camera_control.py: 0.025 m and 0.6 deg a frame,
# time constants 0.45 s pressed and 1.0 s coasting at 16 frames a second), worked out by hand.
def test_a_new_key_snaps_and_a_released_one_coasts():
    path = action_path("w-2,none-2")
    z = path.world_from_cam[:, 2, 3]
    coast = 0.025 * np.exp(-1 / 16)
    assert np.diff(z) == pytest.approx([0.025, 0.025, coast, coast * np.exp(-1 / 16)], rel=1e-12)


def test_keys_that_stay_down_approach_their_speed_after_another_is_released():
    """Releasing d while w stays: no new key, so yaw coasts; pressing w again when d was added snapped both."""
    yaw_deg = np.degrees(np.arctan2(*action_path("w-1,dw-2,w-1").world_from_cam[:, [0, 2], 2].T))
    assert np.diff(yaw_deg) == pytest.approx([0, 0.6, 0.6, 0.6 * np.exp(-1 / 16)], rel=1e-9)


def test_opposite_keys_snap_to_rest_and_then_press():
    """w and s together ask for no speed; dropping s leaves w held (no new key): speed grows with the press constant."""
    z = action_path("w-1,sw-1,w-1").world_from_cam[:, 2, 3]
    assert np.diff(z) == pytest.approx([0.025, 0.0, 0.025 * (1 - np.exp(-1 / 16 / 0.45))], rel=1e-12)


@pytest.mark.parametrize(
    ("key", "axis", "sign"),
    [("w", (2, 3), 1), ("s", (2, 3), -1), ("l", (0, 3), 1), ("j", (0, 3), -1), ("d", (0, 2), 1), ("a", (0, 2), -1)],
)
def test_what_each_key_does(key, axis, sign):
    last = action_path(f"{key}-4").world_from_cam[-1]
    size = 0.1 if axis[1] == 3 else np.sin(np.radians(2.4))
    assert last[axis] == pytest.approx(sign * size, rel=1e-9)


def test_pitch_goes_up_on_i_and_stops_at_its_limit():
    path = action_path("i-150")
    pitch_deg = np.degrees(np.arcsin(-path.world_from_cam[:, :3, 2][:, 1]))
    assert pitch_deg[1] == pytest.approx(0.6)
    assert pitch_deg.max() == pytest.approx(60.0)
    assert action_path("k-5").world_from_cam[-1, 1, 2] > 0  # down


def test_walking_while_looking_up_stays_on_the_ground_plane():
    poses = action_path("i-40,w-40").world_from_cam
    assert np.array_equal(poses[:, 1, 3], np.zeros(len(poses)))
    assert np.diff(poses[41:, 2, 3]) == pytest.approx(0.025)


def test_spelling_does_not_matter():
    plain = action_path("w-4,dw-2,none-1").world_from_cam
    assert np.array_equal(action_path(" W - 4， wD-2 ,\nNONE-1 ").world_from_cam, plain)
    assert len(plain) == 8


def test_other_step_sizes():
    config = ActionConfig(step_m=0.05, turn_deg=1.2, fps=8.0)
    path = action_path("w-2", config)
    assert path.world_from_cam[-1, 2, 3] == pytest.approx(0.1)
    assert path.time_s == pytest.approx([0, 0.125, 0.25])


@pytest.mark.parametrize("actions", ["", "w", "w-", "w-0", "-4", "w--4", "w-1.5", "q-4", "wnone-3", "w-4,,d-2", "w-4,"])
def test_a_bad_segment_is_named(actions):
    with pytest.raises(InputError, match="action '"):
        action_path(actions)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from("wasdijkl"), min_size=1), st.integers(1, 12)), min_size=1, max_size=6)
)
def test_any_action_string_is_a_trajectory(segments):
    text = ",".join(f"{''.join(sorted(keys))}-{frames}" for keys, frames in segments)
    trajectory = action_path(text).trajectory()
    assert len(trajectory) == 1 + sum(frames for _, frames in segments)
    assert np.linalg.norm(np.diff(trajectory.position, axis=0), axis=1).max() <= 0.025 * np.sqrt(2) + ROUNDING


# Per frame, by key: section g of the reference sheet (NVlabs' first release and diffusers; SGLang).
@pytest.mark.parametrize(
    ("name", "key", "moved_m", "turned_deg"),
    [
        ("sana-v2", "d", 0.0, 0.6), ("sana-v2", "l", 0.025, 0.0),
        ("sana-v1", "d", 0.05, 0.0), ("sana-v1", "l", 0.0, 1.2), ("sana-v1", "a", -0.05, 0.0),
        ("sglang", "d", 0.04, 0.48), ("sglang", "j", 0.0, -1.2),
    ],
)  # fmt: skip
def test_the_same_key_differs_by_mapping(name, key, moved_m, turned_deg):
    pose = action_path(f"{key}-1", action_map(name)).world_from_cam[1]
    assert np.hypot(pose[0, 3], pose[2, 3]) == pytest.approx(abs(moved_m))
    assert np.sign(pose[0, 3]) == np.sign(moved_m)
    assert np.degrees(np.arctan2(pose[0, 2], pose[2, 2])) == pytest.approx(turned_deg)


def test_older_mappings_stop_at_once():
    for name in ("sana-v1", "sglang"):
        z = action_path("w-2,none-2", ACTION_MAPS[name]).world_from_cam[:, 2, 3]
        assert np.diff(z)[2:] == pytest.approx([0, 0], abs=ROUNDING), name


def test_a_mapping_says_what_it_means():
    assert ACTION_MAPS["sana-v2"].describe() == (
        "w/s move forward/back, i/k pitch up/down, d/a yaw right/left, l/j strafe right/left; 0.4 m/s, 9.6 deg/s, eased"
    )
    assert "l/j yaw" in ACTION_MAPS["sana-v1"].describe()
    with pytest.raises(InputError, match="sana-v1"):
        action_map("sana-v3")


@given(st.lists(st.sets(st.sampled_from("wasdijkl")), min_size=1, max_size=12))
def test_keys_and_strings_are_each_other(held):
    keys = tuple(frozenset(each) for each in held)
    assert action_keys(actions_of(keys)) == keys


def test_a_path_implies_the_keys_that_made_it():
    """At once and one at a time; the released mapping eases, so that a key's motion outlasts it."""
    keys = action_keys("w-3,d-2,j-2,none-2,i-3,s-2,wd-3")
    implied = implied_keys(action_path(actions_of(keys), action_map("sana-v1")).world_from_cam, action_map("sana-v1"))
    assert implied == keys


def test_what_no_key_does_implies_none():
    still = np.tile(np.eye(4), (4, 1, 1))
    assert implied_keys(still) == (frozenset(),) * 3
    slow = action_path("w-4").world_from_cam.copy()
    slow[2:, 2, 3] -= 0.8 * 0.025  # the second step is a fifth of the others
    assert implied_keys(slow) == tuple(map(frozenset, ("w", "", "w", "w")))
