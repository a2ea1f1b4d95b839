"""Pose covariance against a dense twin by numeric differences, and against repeated draws of noise."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import arc_scene, rotation_vector
from wmkit.annotate.pose import covariance as covariance_module
from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.scene import Scene
from wmkit.camera import invert_rigid

FRAMES = 5
EVERY = np.arange(FRAMES)


def covariance_of(scene: Scene, joint: np.ndarray) -> tuple[np.ndarray, float]:
    """Of a scene that determines it."""
    found, focal_sigma_log = pose_covariance(scene, joint)
    assert found is not None
    return found, focal_sigma_log


def moved(scene: Scene, delta: np.ndarray) -> Scene:
    """`delta` = (6 per frame in the right tangent, 3 per point, 1 focal) applied to the scene."""
    world_from_cam = invert_rigid(scene.cam_from_world)
    for frame in range(FRAMES):
        rotation, translation = delta[6 * frame : 6 * frame + 3], delta[6 * frame + 3 : 6 * frame + 6]
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = rotation_vector(rotation), translation
        world_from_cam[frame] = world_from_cam[frame] @ step
    xyz = scene.xyz + delta[6 * FRAMES : -1].reshape(-1, 3)
    return replace(scene, cam_from_world=invert_rigid(world_from_cam), xyz=xyz, focal=scene.focal + delta[-1])


def residuals(scene: Scene) -> np.ndarray:
    point = scene.in_camera()
    focal = scene.focal[scene.obs_frame, None]
    return (focal * point[:, :2] / point[:, 2:] + scene.centre - scene.obs_xy).ravel()


def dense_twin(scene: Scene) -> tuple[np.ndarray, float]:
    """(F, 6, 6) and the deviation of log f, by the full numeric Hessian; first pose and RMS distance are fixed."""
    size = 6 * FRAMES + scene.xyz.size + 1
    step = 1e-5
    basis = np.eye(size) * step
    jacobian = np.stack([(residuals(moved(scene, b)) - residuals(moved(scene, -b))) / (2 * step) for b in basis], 1)
    sigma_px = np.median(np.linalg.norm(residuals(scene).reshape(-1, 2), axis=1)) / 1.1774
    sigma_px *= np.sqrt(len(jacobian) / (len(jacobian) - (size - 7)))

    def spread(delta: np.ndarray) -> float:
        position = invert_rigid(moved(scene, delta).cam_from_world)[:, :3, 3]
        return float(((position - position[0]) ** 2).sum())

    gauge = np.array([(spread(b) - spread(-b)) / (2 * step) for b in basis])
    free = np.arange(6, size)
    hessian = (jacobian[:, free].T @ jacobian[:, free]) / sigma_px**2
    # Lagrange multiplier: the exact constraint
    system = np.block([[hessian, gauge[free, None]], [gauge[None, free], np.zeros((1, 1))]])
    inverse = np.linalg.inv(system)
    blocks = [inverse[6 * i : 6 * i + 6, 6 * i : 6 * i + 6] for i in range(FRAMES - 1)]
    return np.array([np.zeros((6, 6)), *blocks]), float(np.sqrt(inverse[-2, -2]) / scene.focal[0])


def pose_covariance(scene: Scene, joint: np.ndarray) -> tuple[np.ndarray, float]:
    """The function under test, of scenes that all have a covariance."""
    covariance, focal_sigma_log = covariance_module.pose_covariance(scene, joint)
    assert covariance is not None
    return covariance, focal_sigma_log


def test_equals_the_dense_twin() -> None:
    scene = bundle_adjust(arc_scene(frames=FRAMES, points=30, noise_px=0.3), loss_px=5.0)
    seen = np.bincount(scene.obs_track, minlength=30) >= 2
    assert seen.all(), "the twin needs every point determined"
    (got, sigma_log), (want, want_sigma_log) = covariance_of(scene, EVERY), dense_twin(scene)
    # numeric differences of 1e-5 are good to about 1e-5 of the largest entry
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
    np.testing.assert_allclose(sigma_log, want_sigma_log, rtol=1e-4)


def test_covers_repeated_draws_of_noise() -> None:
    """Mean squared normalised error over draws is the number of degrees of freedom, 6 a frame."""
    truth = arc_scene(frames=FRAMES, points=60)
    world_true = invert_rigid(truth.cam_from_world)
    spread_true = np.sqrt(((world_true[:, :3, 3] - world_true[0, :3, 3]) ** 2).sum())
    ratios, focal_ratios = [], []
    for draw in range(40):
        noisy = arc_scene(frames=FRAMES, points=60, noise_px=0.3)
        noise = np.random.default_rng(100 + draw).normal(0, 0.3, truth.obs_xy.shape)
        solved = bundle_adjust(replace(noisy, obs_xy=truth.obs_xy + noise), loss_px=10.0)
        covariance, focal_sigma_log = covariance_of(solved, EVERY)
        focal_ratios.append((np.log(solved.focal[0] / truth.focal[0]) / focal_sigma_log) ** 2)
        world = invert_rigid(solved.cam_from_world)
        world = world_true[0] @ invert_rigid(world[0]) @ world
        away = world[:, :3, 3] - world[0, :3, 3]
        world[:, :3, 3] = world[0, :3, 3] + away * spread_true / np.sqrt((away**2).sum())
        error = invert_rigid(world_true) @ world
        for frame in range(1, FRAMES):
            angle = 0.5 * np.array([error[frame, 2, 1] - error[frame, 1, 2], error[frame, 0, 2] - error[frame, 2, 0],
                                    error[frame, 1, 0] - error[frame, 0, 1]])  # fmt: skip
            tangent = np.concatenate([angle, error[frame, :3, 3]])
            # the RMS constraint leaves the frames' covariance full rank, since it binds them only together
            ratios.append(tangent @ np.linalg.solve(covariance[frame], tangent) / 6)
    # 40 draws of about 24 - 1 joint degrees of freedom: the mean has a standard error of 0.05 to 0.1
    assert 0.75 < np.mean(ratios) < 1.3
    # chi square of 40: the mean has a standard error of 0.22, so this is about three of them
    assert 0.4 < np.mean(focal_ratios) < 1.7


def test_a_thinned_clip_gets_a_covariance_for_every_posed_frame() -> None:
    scene = arc_scene(frames=9, points=60, noise_px=0.3)
    poses = scene.cam_from_world.copy()
    poses[4] = np.nan
    scene = replace(scene, cam_from_world=poses)
    full, _ = covariance_of(scene, np.arange(9))
    thin, _ = covariance_of(scene, np.array([0, 3, 6]))
    assert np.isnan(full[4]).all()
    assert np.isnan(thin[4]).all()
    posed = [1, 2, 3, 5, 6, 7, 8]
    assert (np.linalg.eigvalsh(thin[posed])[:, 0] > 0).all()
    # fewer frames hold the points, so the thinned estimate is the wider one, but of the same size
    ratio = np.trace(thin[posed], axis1=1, axis2=2) / np.trace(full[posed], axis1=1, axis2=2)
    assert (ratio > 0.9).all()
    assert (ratio < 8).all()


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_translation_covariance_scales_with_the_unit(factor: float) -> None:
    scene = arc_scene(frames=FRAMES, points=40, noise_px=0.3)
    poses = scene.cam_from_world.copy()
    poses[:, :3, 3] *= factor
    scaled = replace(scene, cam_from_world=poses, xyz=scene.xyz * factor)
    unit = np.array([1, 1, 1, factor, factor, factor])
    want = covariance_of(scene, EVERY)[0] * unit[:, None] * unit
    np.testing.assert_allclose(covariance_of(scaled, EVERY)[0], want, rtol=1e-3, atol=1e-6 * np.abs(want).max())


def test_a_long_clip_is_estimated_from_an_even_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = arc_scene(frames=9, points=60, noise_px=0.3)
    by_hand, _ = covariance_of(scene, np.array([0, 3, 5, 8]))
    monkeypatch.setattr(covariance_module, "JOINT_FRAMES", 4)
    np.testing.assert_array_equal(covariance_of(scene, np.arange(9))[0], by_hand)


def test_a_scene_that_does_not_hold_a_frame_has_none() -> None:
    scene = arc_scene(frames=FRAMES, points=40, noise_px=0.3)
    at = np.flatnonzero(scene.obs_frame == 2)
    loose = scene.keep(~np.isin(np.arange(len(scene.obs_frame)), at[2:]))
    found, _ = pose_covariance(loose, EVERY)
    two_points = np.inf if found is None else np.trace(found[2, :3, :3])
    assert two_points > 100 * np.trace(covariance_of(scene, EVERY)[0][2, :3, :3])
