"""The second estimate: disjoint from the first, and compared with it exactly."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, SIZE, arc_scene, rotation_vector, tracks_of
from wmkit.annotate.pose.mapping import MappingConfig, Start
from wmkit.annotate.pose.restart import RestartConfig
from wmkit.annotate.pose.second import SecondConfig, compare, second_estimate
from wmkit.camera import invert_rigid

FRAMES = 9
KEYFRAMES = tuple(range(FRAMES))
START = Start(model="SIMPLE_PINHOLE", params=((FOCAL_PX, SIZE[0] / 2, SIZE[1] / 2),))


def path_length(cam_from_world: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(invert_rigid(cam_from_world)[:, :3, 3], axis=0), axis=1).sum())


def in_another_world(cam_from_world: np.ndarray) -> np.ndarray:
    """The same cameras, the world turned, moved and 3.7 times as large."""
    world = np.eye(4)
    world[:3, :3] = rotation_vector(np.array([0.4, -1.1, 0.7]))
    world[:3, 3] = [5.0, -2.0, 1.0]
    moved = world @ invert_rigid(cam_from_world)
    moved[:, :3, 3] *= 3.7
    return invert_rigid(moved)


@pytest.fixture(scope="module")
def first() -> np.ndarray:
    return arc_scene(frames=FRAMES).cam_from_world


def test_the_same_cameras_in_another_world_agree(first: np.ndarray) -> None:
    rotation_deg, position = compare(first, in_another_world(first), path_length(first))
    np.testing.assert_allclose(rotation_deg, 0, atol=1e-6)
    np.testing.assert_allclose(position, 0, atol=1e-9)


def test_a_straight_path_is_compared_too() -> None:
    straight = np.tile(np.eye(4), (FRAMES, 1, 1))
    straight[:, 0, 3] = -np.arange(FRAMES)
    rotation_deg, position = compare(straight, in_another_world(straight), FRAMES - 1.0)
    np.testing.assert_allclose(rotation_deg, 0, atol=1e-6)
    np.testing.assert_allclose(position, 0, atol=1e-9)


def test_one_camera_that_turned_is_told_by_its_angle(first: np.ndarray) -> None:
    second = in_another_world(first)
    turn = np.eye(4)
    turn[:3, :3] = rotation_vector(np.radians([0.0, 9.0, 0.0]))
    world_from_cam = invert_rigid(second)
    world_from_cam[4] = world_from_cam[4] @ turn  # about its own axes: it stays where it is
    rotation_deg, position = compare(first, invert_rigid(world_from_cam), path_length(first))
    # the mean of the rotations moves by a ninth of it, to second order in the angle
    np.testing.assert_allclose(rotation_deg[4], 8.0, atol=0.05)
    np.testing.assert_allclose(np.delete(rotation_deg, 4), 1.0, atol=0.05)
    # the whole path is turned by that degree with its world, and nothing else: the chord of a degree at its radius
    centre = invert_rigid(first)[:, :3, 3]
    radius = np.linalg.norm(centre - centre.mean(axis=0), axis=1).max()
    assert position.max() <= 2 * np.sin(np.radians(1.0) / 2) * radius / path_length(first) * 1.05


def test_one_camera_that_moved_is_told_by_its_share_of_the_path() -> None:
    """By hand: cameras at 0, 1, 2, 3 along x; the second has the last one 0.4 aside. Best scale 1, mean 0.1 aside."""
    one = np.tile(np.eye(4), (4, 1, 1))
    one[:, 0, 3] = -np.arange(4.0)
    other = one.copy()
    other[3, 1, 3] = -0.4
    rotation_deg, position = compare(one, other, 3.0)
    np.testing.assert_allclose(rotation_deg, 0, atol=1e-6)
    # spread of the second: 5 along x + (3 * 0.1² + 0.3²) across; the scale shrinks it to 5 / 5.12
    scale = 5 / (5 + 3 * 0.1**2 + 0.3**2)
    along = (1 - scale) * np.array([1.5, 0.5, 0.5, 1.5])
    across = scale * np.array([0.1, 0.1, 0.1, 0.3])
    np.testing.assert_allclose(position, np.hypot(along, across) / 3, rtol=1e-9)


def test_frames_without_a_pose_in_either_are_unknown(first: np.ndarray) -> None:
    one, other = first.copy(), in_another_world(first)
    one[2], other[7] = np.nan, np.nan
    rotation_deg, position = compare(one, other, path_length(first))
    assert np.flatnonzero(np.isnan(rotation_deg)).tolist() == [2, 7]
    assert np.flatnonzero(np.isnan(position)).tolist() == [2, 7]
    assert np.isnan(compare(first, np.full_like(first, np.nan), 1.0)[0]).all()
    assert np.isnan(compare(first, first, 0.0)[1]).all(), "a path of no length has no shares"


def test_halves_share_nothing_and_are_together_all() -> None:
    tracks = tracks_of(arc_scene(points=101))
    even, odd = tracks.half(0), tracks.half(1)
    for a, b, every, xy, xy_a in zip(even.ids, odd.ids, tracks.ids, tracks.xy, even.xy, strict=True):
        assert len(np.intersect1d(a, b)) == 0
        np.testing.assert_array_equal(np.union1d(a, b), every)
        np.testing.assert_array_equal(xy_a, xy[np.isin(every, a)])


def test_reversed_tracks_are_the_same_from_the_end() -> None:
    tracks = tracks_of(arc_scene(points=50))
    back = tracks.reversed()
    np.testing.assert_array_equal(back.ids[0], tracks.ids[-1])
    np.testing.assert_array_equal(back.xy[1], tracks.xy[-2])
    assert len(back) == len(tracks)


def test_the_odd_half_backwards_finds_the_same_cameras(first: np.ndarray) -> None:
    tracks = tracks_of(arc_scene(frames=FRAMES, points=400, noise_px=0.2))
    few = SecondConfig(thin_from=2)
    second = second_estimate(tracks.half(1), KEYFRAMES, (), START, few)
    assert second is not None
    found, focal_px, share = second.poses(few, fixed_focal=False)
    posed = np.isfinite(found[:, 0, 0])
    assert posed[0]
    assert posed[-1]
    assert 2 <= posed.sum() < FRAMES, "it poses some of the keyframes: that is why it is cheap"
    assert share == 1.0
    assert abs(focal_px / FOCAL_PX - 1) < 0.02
    rotation_deg, position = compare(first, found, path_length(first))
    assert np.nanmax(rotation_deg) < 0.2
    assert np.nanmax(position) < 0.01
    again = second_estimate(tracks.half(1), KEYFRAMES, (), START, few)
    assert again is not None
    assert again.poses(few, fixed_focal=False)[0].tobytes() == found.tobytes()
    whole = second_estimate(tracks.half(1), KEYFRAMES, (), START, SecondConfig())
    assert whole is not None
    every, _, _ = whole.poses(SecondConfig(), fixed_focal=False)
    assert np.isfinite(every[:, 0, 0]).all(), "of a short clip it poses all"


def test_tracks_that_say_nothing_give_no_second_estimate() -> None:
    tracks = tracks_of(arc_scene(points=8))
    assert second_estimate(tracks.half(1), tuple(range(6)), (), START, SecondConfig()) is None


def test_a_second_look_takes_the_other_estimates_cameras_where_they_leave_less() -> None:
    scene = arc_scene(frames=FRAMES, points=400, noise_px=0.2)
    half = tracks_of(scene).half(1)
    second = second_estimate(half, KEYFRAMES, (), START, SecondConfig())
    assert second is not None
    assert second.job is not None
    bent = second.scene.cam_from_world.copy()
    bent[:, 0, 3] *= 1 + 0.3 * np.sin(np.arange(FRAMES))  # a wrong map: sideways steps of wrong length
    lost = replace(second, scene=replace(second.scene, cam_from_world=bent, xyz=np.full_like(second.scene.xyz, np.nan)))
    truth, focal = scene.cam_from_world, np.full(FRAMES, FOCAL_PX)
    found, _, _ = lost.again(truth, focal, MappingConfig(), RestartConfig()).poses(SecondConfig(), fixed_focal=False)
    rotation_deg, position = compare(truth, found, path_length(truth))
    assert rotation_deg.max() < 0.2
    assert 1e-6 < position.max() < 0.01, "its own tracks have their say: it is no copy"
    kept = second.again(lost.scene.cam_from_world[::-1], focal, MappingConfig(), RestartConfig())
    assert kept.scene.cam_from_world.tobytes() == second.scene.cam_from_world.tobytes(), "worse cameras are not taken"
