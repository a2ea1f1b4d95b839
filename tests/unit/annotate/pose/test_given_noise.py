"""Given poses' covariance against errors that are known because they were planted."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.unit.annotate.pose.scenes import arc_scene, tracks_of
from wmkit.annotate.pose.given_noise import GivenNoise, given_noise
from wmkit.annotate.pose.scene import Scene
from wmkit.camera import Array, invert_rigid

TRUTH = arc_scene(frames=20, points=200, noise_px=0.3)
TRACKS = tracks_of(TRUTH)


def held(world_from_cam: Array) -> GivenNoise:
    """What the pictures of TRUTH say of these cameras."""
    nowhere = np.full_like(TRUTH.xyz, np.nan)
    return given_noise(replace(TRUTH, cam_from_world=invert_rigid(world_from_cam), xyz=nowhere), TRACKS)


def true_poses() -> Array:
    return invert_rigid(TRUTH.cam_from_world)


def trembling(rotation_deg: float, position: float, seed: int) -> Array:
    """The true cameras, each off by so much along every axis of its own."""
    rng = np.random.default_rng(seed)
    step = np.tile(np.eye(4), (len(TRACKS), 1, 1))
    step[:, :3, :3] = Rotation.from_rotvec(np.radians(rng.normal(0, rotation_deg, (len(step), 3)))).as_matrix()
    step[:, :3, 3] = rng.normal(0, position, (len(step), 3))
    return true_poses() @ step


def errors(world_from_cam: Array) -> Array:
    """(N, 6) errors in the right tangent, in the covariance's gauge: first pose and RMS distance from it are right."""
    truth = true_poses()
    found = truth[0] @ invert_rigid(world_from_cam[0]) @ world_from_cam
    away, wanted = (poses[:, :3, 3] - truth[0, :3, 3] for poses in (found, truth))
    found[:, :3, 3] = truth[0, :3, 3] + away * np.sqrt((wanted**2).sum() / (away**2).sum())
    step = invert_rigid(truth) @ found
    return np.concatenate([Rotation.from_matrix(step[:, :3, :3]).as_rotvec(), step[:, :3, 3]], axis=1)


def covariance_of(noise: GivenNoise) -> Array:
    assert noise.covariance is not None
    return noise.covariance


@pytest.mark.parametrize(("rotation_deg", "position"), [(0.1, 0.005), (0.4, 0.02), (1.0, 0.03)])
def test_planted_noise_is_what_the_covariance_says(rotation_deg: float, position: float) -> None:
    """Within a factor of 1.5 of the standard deviation: six files of 20 poses at the same first pose's mercy."""
    ratios = []
    for seed in range(6):
        poses = trembling(rotation_deg, position, seed)
        covariance = covariance_of(held(poses))
        assert (covariance[0] == 0).all()
        said = np.diagonal(covariance[1:], axis1=1, axis2=2)
        ratios.append((errors(poses)[1:] ** 2).mean(axis=0) / said.mean(axis=0))
    turned, moved = np.sqrt(np.mean(ratios, axis=0)).reshape(2, 3).mean(axis=1)
    assert 1 / 1.5 < turned < 1.5
    assert 1 / 1.5 < moved < 1.5


def test_more_noise_is_a_larger_covariance() -> None:
    traces = [np.trace(covariance_of(held(trembling(deg, deg / 20, 1)))[1:, :3, :3], axis1=1, axis2=2).mean()
              for deg in (0.0, 0.2, 0.8)]  # fmt: skip
    assert traces[0] < traces[1] / 10
    assert traces[1] < traces[2] / 8  # 16 times by the planted noise, the pictures' own taken off


def test_exact_poses_are_as_good_as_the_pictures_can_say() -> None:
    noise = held(true_poses())
    sigma = np.sqrt(np.diagonal(covariance_of(noise)[1:], axis1=1, axis2=2))
    assert np.degrees(sigma[:, :3]).max() < 0.1  # 200 points seen to 0.3 px at 500 px: some hundredths of a degree
    assert np.nanmax(noise.between.rotation_deg) < 0.2
    assert noise.between.posed_share == 1.0


def test_a_pose_that_is_far_off_errs_for_itself() -> None:
    poses = trembling(0.1, 0.005, 0)
    before = covariance_of(held(poses))
    wild = poses.copy()
    wild[7, :3, :3] = poses[7, :3, :3] @ Rotation.from_rotvec([0.0, np.radians(3.0), 0.0]).as_matrix()
    noise = held(wild)
    covariance = covariance_of(noise)
    assert np.degrees(np.sqrt(covariance[7, 1, 1])) == pytest.approx(3.0, rel=0.2)
    others = np.delete(np.arange(1, len(poses)), 6)
    ratio = np.diagonal(covariance[others], axis1=1, axis2=2) / np.diagonal(before[others], axis1=1, axis2=2)
    assert ratio.max() < 1.5
    assert int(np.nanargmax(noise.between.rotation_deg)) == 7


def test_a_frame_without_points_has_the_noise_of_the_others_and_one_without_a_pose_none() -> None:
    poses = trembling(0.2, 0.01, 2)
    poses[5] = np.nan
    blind = replace(TRUTH, xyz=np.full_like(TRUTH.xyz, np.nan), cam_from_world=invert_rigid(poses))
    blind = blind.keep(blind.obs_frame != 9)
    covariance = covariance_of(given_noise(blind, tracks_of(blind)))
    assert np.isnan(covariance[5]).all()
    assert np.isfinite(np.delete(covariance, 5, axis=0)).all()
    assert np.trace(covariance[9, :3, :3]) == pytest.approx(np.trace(covariance[10, :3, :3]), rel=0.2)


@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_the_unit_of_the_file_is_the_covariances(factor: float) -> None:
    poses = trembling(0.2, 0.01, 3)
    larger = poses.copy()
    larger[:, :3, 3] *= factor
    unit = np.array([1, 1, 1, factor, factor, factor])
    want = covariance_of(held(poses)) * unit[:, None] * unit
    got = covariance_of(held(larger))
    # adjusted in another unit, which ends a little elsewhere
    np.testing.assert_allclose(
        np.diagonal(got[1:], axis1=1, axis2=2), np.diagonal(want[1:], axis1=1, axis2=2), rtol=0.05
    )


def test_a_camera_that_only_turns_has_none() -> None:
    poses = true_poses()
    poses[:, :3, 3] = 0.0
    noise = held(poses)
    assert noise.covariance is None
    assert np.isnan(noise.between.rotation_deg).all()


def no_observations(scene: Scene) -> Scene:
    return scene.keep(np.zeros(len(scene.obs_frame), np.bool_))


def test_pictures_without_points_say_nothing() -> None:
    empty = no_observations(TRUTH)
    noise = given_noise(empty, tracks_of(empty))
    assert noise.covariance is None
    assert noise.between.posed_share == 0.0
