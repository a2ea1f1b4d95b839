"""Motion families: the same case is the same clip, and the truth is the truth of the pictures."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from wmkit.camera import invert_rigid
from wmkit.camera_paths import DoubleLoop
from wmkit.errors import InputError
from wmkit.video.frames import FrameSource
from wmkit.worlds import SMALL_CLIPS, render
from wmkit.worlds.families import (
    FAMILIES,
    MOVING_FAMILIES,
    STILL_FAMILIES,
    Film,
    MemorySource,
    WorldCase,
    film,
    survey,
)

shot = functools.cache(lambda family, seed=7: film(WorldCase(family=family, seed=seed, size="tiny")))


def tracked(film: Film, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Lucas-Kanade tracks (P, 2) px from clean frame `start` to the next, pixel corners at integers."""
    gray = [cv2.cvtColor(film.clean[index], cv2.COLOR_RGB2GRAY) for index in (start, start + 1)]
    corners = cv2.goodFeaturesToTrack(gray[0], 600, 0.005, 5)
    flow = functools.partial(cv2.calcOpticalFlowPyrLK, winSize=(15, 15), maxLevel=4)
    to, _, _ = flow(gray[0], gray[1], corners, corners.copy())
    back, _, _ = flow(gray[1], gray[0], to, to.copy())
    kept = np.linalg.norm(back - corners, axis=2)[:, 0] < 0.3
    at = corners[kept, 0] + 0.5
    still = ~film.moving[start, at[:, 1].astype(int), at[:, 0].astype(int)]
    return at[still].astype(float), (to[kept, 0] + 0.5)[still].astype(float)


def epipolar_px(film: Film, start: int) -> float:
    """Median distance of tracks to the epipolar lines that the true cameras of both frames give them."""
    at, to = tracked(film, start)
    assert len(at) > 20
    first, second = film.intrinsics[start].matrix, film.intrinsics[start + 1].matrix
    pose = film.trajectory.world_from_cam
    b_from_a = invert_rigid(pose[start + 1]) @ pose[start]
    t = b_from_a[:3, 3]
    if np.linalg.norm(t) < 1e-9:  # no epipolar lines: the rotation alone says where points go
        ray = np.linalg.inv(first) @ np.concatenate([at.T, np.ones((1, len(at)))])
        moved = second @ b_from_a[:3, :3] @ ray
        return float(np.median(np.linalg.norm((moved[:2] / moved[2]).T - to, axis=1)))
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    fundamental = np.linalg.inv(second).T @ cross @ b_from_a[:3, :3] @ np.linalg.inv(first)
    line = np.concatenate([at, np.ones((len(at), 1))], axis=1) @ fundamental.T
    point = np.concatenate([to, np.ones((len(to), 1))], axis=1)
    return float(np.median(np.abs((line * point).sum(axis=1)) / np.linalg.norm(line[:, :2], axis=1)))


SHARP = {"blur": 10}  # seeds of cases that can be tracked; the others' exposure smears them by several pixels


@pytest.mark.parametrize("family", FAMILIES)
def test_the_true_cameras_explain_the_pictures(family: str) -> None:
    one = shot(family, SHARP.get(family, 7))
    # 0.01-0.11 px measured with these seeds; half a pixel of shift in the principal point's convention costs 0.2 to 0.5
    assert epipolar_px(one, 2) < 0.25
    assert one.rgb.shape[1:] == (108, 192, 3)
    assert 24 <= len(one.rgb) <= 26
    assert (one.z > 0).all()  # closed: every pixel sees a surface
    assert one.z.min() > 0.05
    assert np.isclose(one.trajectory.path_length, 0) == (family in STILL_FAMILIES)


def test_a_wrong_camera_does_not_explain_them() -> None:
    """The check above can fail: a focal length that is a tenth off does."""
    one = shot("orbit")
    wrong = tuple(dataclasses.replace(lens, fx=1.1 * lens.fx, fy=1.1 * lens.fy) for lens in one.intrinsics)
    turned = one.trajectory.world_from_cam.copy()
    turn = np.radians(0.5)
    turned[1::2, :3, :3] @= np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    assert epipolar_px(dataclasses.replace(one, intrinsics=wrong), 9) > epipolar_px(one, 9)
    trajectory = dataclasses.replace(one.trajectory, world_from_cam=turned)
    assert epipolar_px(dataclasses.replace(one, trajectory=trajectory), 9) > 0.5


def test_depth_is_that_of_the_pictures() -> None:
    one = shot("crane")
    at, to = tracked(one, 10)
    pixel = at.astype(int)
    ray = np.linalg.inv(one.intrinsics[10].matrix) @ np.concatenate([at.T, np.ones((1, len(at)))])
    pose = one.trajectory.world_from_cam
    b_from_a = invert_rigid(pose[11]) @ pose[10]
    point = b_from_a[:3, :3] @ (ray * one.z[10, pixel[:, 1], pixel[:, 0]]) + b_from_a[:3, 3:]
    moved = one.intrinsics[11].matrix @ point
    assert np.median(np.linalg.norm((moved[:2] / moved[2]).T - to, axis=1)) < 0.25


@pytest.mark.parametrize("family", ["moving_objects", "blur", "zoom"])
def test_a_case_is_a_pure_function_of_its_recipe(family: str) -> None:
    first, again = shot(family), film(WorldCase(family=family, seed=7, size="tiny"))
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.trajectory.world_from_cam, again.trajectory.world_from_cam)
    assert first.intrinsics == again.intrinsics
    other = shot(family, 8)
    assert other.rgb.shape != first.rgb.shape or (other.rgb != first.rgb).any()


def test_families_are_what_they_are_called() -> None:
    assert set(FAMILIES) == set(MOVING_FAMILIES) | set(STILL_FAMILIES)
    assert len({lens.fx for lens in shot("zoom").intrinsics}) > 10
    assert len({lens.fx for lens in shot("orbit").intrinsics}) == 1
    assert np.isclose(np.diff(shot("low_fps").trajectory.time_s), 0.2).all()
    assert shot("blur").imaging.shutter > 0
    assert shot("moving_objects").moving.any()
    assert not shot("orbit").moving.any()
    textured = [survey(shot(name)).texture_share for name in ("low_texture", "orbit")]
    assert textured[0] < textured[1]
    back = shot("backtrack").trajectory.world_from_cam
    np.testing.assert_allclose(back[0], back[-1], atol=1e-12)
    turned = shot("pure_rotation").trajectory
    np.testing.assert_array_equal(turned.position, np.repeat(turned.position[:1], len(turned), axis=0))


def test_the_survey_by_hand() -> None:
    """A camera that slides sideways at a known depth: parallax by arithmetic, and what a still one lacks."""
    still = survey(shot("static"))
    assert still.parallax_deg == pytest.approx(0, abs=1e-4)
    assert not still.well_posed
    one = shot("crane")
    grown = dataclasses.replace(one, z=one.z * np.float32(1000))  # the same pictures of things a thousand times away
    assert survey(grown).parallax_deg < survey(one).parallax_deg / 100
    flat = dataclasses.replace(one, clean=np.full_like(one.clean, 128))
    assert survey(flat).texture_share == 0
    assert not survey(flat).well_posed
    half = dataclasses.replace(one, moving=np.ones_like(one.moving))
    assert survey(half).moving_share == 1


def test_memory_source_is_a_frame_source() -> None:
    rgb = shot("orbit").rgb
    source: FrameSource = MemorySource(rgb, 16.0)
    got = np.concatenate([window.rgb for window in source.windows(7)])
    np.testing.assert_array_equal(got, rgb)
    assert [window.start for window in source.windows(7)][:3] == [0, 7, 14]
    assert source.view.time_s[1] == 1 / 16
    assert source.clip.id == MemorySource(rgb, 16.0).clip.id != MemorySource(rgb[:-1], 16.0).clip.id


@pytest.mark.parametrize("wrong", [{"family": "yoyo"}, {"size": "huge"}])
def test_a_case_refuses(wrong: dict) -> None:
    with pytest.raises(InputError, match="expected one of"):
        WorldCase(**{"family": "orbit", "seed": 0} | wrong)


def test_both_renderers_move_the_same_quads() -> None:
    clip = SMALL_CLIPS[0]
    world, poses = clip.scene.build(), clip.sampled.world_from_cam[:3]
    shift = np.zeros((3, len(world.quads), 3))
    shift[1, -10:] = (0.1, 0.0, 0.2)
    still, moved = (list(render(world, clip.intrinsics, poses, "numpy", s)) for s in (None, shift))
    np.testing.assert_array_equal(still[0].rgb, moved[0].rgb)
    np.testing.assert_array_equal(still[2].z, moved[2].z)
    assert (still[1].z != moved[1].z).mean() > 0.01
    with pytest.raises(InputError, match="shift: expected"):
        render(world, clip.intrinsics, poses, "numpy", shift[:2])
    try:
        drawn = list(render(world, clip.intrinsics, poses, "gl", shift))
    except InputError:
        pytest.skip("no working EGL with OpenGL 4.3 here")
    for one, other in zip(moved, drawn, strict=True):
        assert np.median(np.abs(one.z - other.z)) < 1e-4  # float32 against float64
        assert (np.abs(one.z - other.z) > 1e-3).mean() < 0.01  # silhouettes


def test_a_double_loop_comes_round_twice() -> None:
    path = DoubleLoop(radius_m=0.5, ahead_m=2.0, drop_m=0.1).sample(41, 10.0)
    poses = path.world_from_cam
    np.testing.assert_allclose(poses[0], poses[20], atol=1e-12)
    np.testing.assert_allclose(poses[0], poses[40], atol=1e-12)
    assert path.trajectory().path_length == pytest.approx(2 * 2 * np.pi * 0.5, rel=0.01)
    target = np.array([0.0, 0.1, 3.0])
    local = np.einsum("nji,nj->ni", poses[:, :3, :3], target - poses[:, :3, 3])
    np.testing.assert_allclose(local[:, :2], 0, atol=1e-12)
