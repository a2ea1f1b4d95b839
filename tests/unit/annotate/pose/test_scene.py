"""Triangulation, resection, outlier removal and bundle adjustment on exact scenes."""

from dataclasses import replace

import numpy as np

from tests.unit.annotate.pose.scenes import arc_scene
from wmkit.annotate.pose.bundle import bundle_adjust, to_reconstruction
from wmkit.annotate.pose.scene import drop_outliers, resect, triangulate, widest_angle_deg


def test_the_exact_scene_reprojects_exactly() -> None:
    assert np.nanmax(arc_scene().error_px()) < 1e-9


def test_a_point_behind_the_camera_has_infinite_error() -> None:
    scene = arc_scene(frames=2, points=3)
    behind = replace(scene, xyz=scene.xyz - [0, 0, 20])
    assert np.isinf(behind.error_px()).all()


def test_triangulate_finds_the_points_it_is_not_given() -> None:
    scene = arc_scene()
    unknown = replace(scene, xyz=np.full_like(scene.xyz, np.nan))
    found = triangulate(unknown, max_error_px=2.0, min_angle_deg=0.5)
    seen = np.bincount(scene.obs_track, minlength=len(scene.xyz)) >= 3
    assert seen.sum() > 40
    np.testing.assert_allclose(found.xyz[seen], scene.xyz[seen], atol=1e-9)
    assert np.isnan(found.xyz[~seen]).all()


def test_triangulate_refuses_a_track_that_jumps() -> None:
    scene = arc_scene()
    at = np.flatnonzero(scene.obs_track == 7)
    assert len(at) >= 4
    xy = scene.obs_xy.copy()
    xy[at[2]] += 40
    found = triangulate(replace(scene, xyz=np.full_like(scene.xyz, np.nan), obs_xy=xy), 2.0, 0.5)
    assert np.isnan(found.xyz[7]).all()


def test_triangulate_goes_by_most_observations_when_asked_to() -> None:
    scene = arc_scene()
    at = np.flatnonzero(scene.obs_track == 7)
    xy = scene.obs_xy.copy()
    xy[at[2]] += 40
    found = triangulate(replace(scene, xyz=np.full_like(scene.xyz, np.nan), obs_xy=xy), 2.0, 0.5, robust=True)
    seen = np.bincount(scene.obs_track, minlength=len(scene.xyz)) >= 3
    # a point 5 away at f = 500 px: reweighting leaves the jump a few hundredths of a px of influence
    np.testing.assert_allclose(found.xyz[seen], scene.xyz[seen], atol=0.02)
    xy[at[[0, 3]]] -= 80
    torn = triangulate(replace(scene, xyz=np.full_like(scene.xyz, np.nan), obs_xy=xy), 2.0, 0.5, robust=True)
    assert np.isnan(torn.xyz[7]).all(), "half of it is elsewhere"


def test_resect_poses_the_missing_frames_and_no_starved_one() -> None:
    scene = arc_scene(noise_px=0.1)
    poses = scene.cam_from_world.copy()
    poses[[2, 5]] = np.nan
    starved = (scene.obs_frame == 5) & (scene.obs_track > 8)
    partial = replace(scene, cam_from_world=poses).keep(~starved)
    posed = resect(partial, max_error_px=4.0, min_inliers=20)
    assert posed.posed.tolist() == [True, True, True, True, True, False]
    # 0.1 px of noise at f = 500 px moves a pose by about 0.1 / 500 / sqrt(50) of the distance; ten times that
    np.testing.assert_allclose(posed.cam_from_world[2], scene.cam_from_world[2], atol=2e-3)


def test_drop_outliers_removes_the_wrong_the_short_and_the_far() -> None:
    scene = arc_scene()
    xy = scene.obs_xy.copy()
    wrong = int(np.flatnonzero((scene.obs_track == 3) & (scene.obs_frame == 1))[0])
    xy[wrong] += 10
    xyz = scene.xyz.copy()
    short = scene.keep(~((scene.obs_track == 5) & (scene.obs_frame > 1)))
    kept = drop_outliers(short, 2.0, 0.5, 10)
    assert np.isnan(kept.xyz[5]).all(), "a point that two frames see is dropped"
    xyz[9] *= 1000
    kept = drop_outliers(replace(scene, obs_xy=xy, xyz=xyz), 2.0, 0.5, 10)
    assert len(kept.obs_frame) < len(scene.obs_frame)
    assert not ((kept.obs_track == 3) & (kept.obs_frame == 1)).any()
    assert np.isnan(kept.xyz[9]).all(), "a point without parallax is dropped"
    assert np.isfinite(kept.xyz[3]).all()


def test_a_frame_left_with_too_few_points_loses_its_pose() -> None:
    scene = arc_scene()
    kept = drop_outliers(scene.keep(~((scene.obs_frame == 4) & (scene.obs_track > 5))), 2.0, 0.5, 10)
    assert kept.posed.tolist() == [True, True, True, True, False, True]


def test_widest_angle_is_the_angle_between_the_rays() -> None:
    scene = arc_scene(frames=2, points=1)
    center = -np.einsum("nji,nj->ni", scene.cam_from_world[:, :3, :3], scene.cam_from_world[:, :3, 3])
    ray = scene.xyz[0] - center
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    want_deg = np.degrees(np.arccos(ray[0] @ ray[1]))
    np.testing.assert_allclose(widest_angle_deg(scene, np.array([0])), want_deg, rtol=1e-9)


def test_bundle_adjust_recovers_poses_points_and_focal_length() -> None:
    scene = arc_scene(points=120)
    rng = np.random.default_rng(1)
    rough = replace(
        scene,
        xyz=scene.xyz + rng.normal(0, 0.02, scene.xyz.shape),
        focal=scene.focal * 1.05,
    )
    solved = bundle_adjust(rough, loss_px=1.0)
    assert np.nanmax(solved.error_px()) < 1e-3
    assert abs(solved.focal[0] / scene.focal[0] - 1) < 1e-4


def test_bundle_adjust_is_the_same_twice_and_resists_outliers() -> None:
    scene = arc_scene(points=120, noise_px=0.2)
    xy = scene.obs_xy.copy()
    xy[::25] += 15
    first, second = (bundle_adjust(replace(scene, obs_xy=xy), loss_px=1.0) for _ in range(2))
    assert first.cam_from_world.tobytes() == second.cam_from_world.tobytes()
    assert first.xyz.tobytes() == second.xyz.tobytes()
    # 4 % of the observations are 21 px wrong: a quadratic loss would move the focal length by far more than 1 %
    assert abs(first.focal[0] / scene.focal[0] - 1) < 0.01


def test_to_reconstruction_keeps_every_usable_observation() -> None:
    scene = arc_scene()
    model, track_of_point = to_reconstruction(scene, "SIMPLE_PINHOLE", shared=True)
    assert model.compute_num_observations() == scene.usable.sum()
    assert sorted(track_of_point.values()) == np.unique(scene.obs_track[scene.usable]).tolist()
    assert model.compute_mean_reprojection_error() < 1e-6 or model.compute_mean_reprojection_error() == 0
