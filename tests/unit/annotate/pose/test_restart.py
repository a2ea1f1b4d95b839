"""Maps that began in the wrong minimum: the depth-reversed twin, the flat beginning, a focal length nothing tells."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, SIZE, arc_scene, rotation_vector, tracks_of
from wmkit.annotate.pose.bundle import bundle_adjust, focal_penalty
from wmkit.annotate.pose.mapping import Start
from wmkit.annotate.pose.restart import (
    RestartConfig,
    best_beginning,
    flat_map,
    reversed_twin,
    turning_focal,
    turning_start,
    usual_beginning,
)
from wmkit.annotate.pose.scene import Scene
from wmkit.camera import invert_rigid

CONFIG = RestartConfig()
LONG_PX = max(SIZE)
PRIOR_PX = (0.8 * LONG_PX, 0.4 * LONG_PX)


def sidle(noise_px: float = 0.3) -> Scene:
    """A short sidelong way, turning to keep the middle of a shallow cloud in view: where reversal is nearly as good."""
    rng = np.random.default_rng(1)
    xyz = rng.uniform([-1.8, -1.2, 4.2], [1.8, 1.2, 5.8], (300, 3))
    world_from_cam = np.tile(np.eye(4), (9, 1, 1))
    for index, turn in enumerate(np.linspace(0, np.radians(5), 9)):
        world_from_cam[index, :3, :3] = rotation_vector(np.array([0.004 * index, -turn, 0.0]))
        world_from_cam[index, :3, 3] = [5.0 * np.sin(turn), 0.01 * index, 0.0]
    return filmed(world_from_cam, xyz, FOCAL_PX, rng, noise_px)


def filmed(
    world_from_cam: np.ndarray, xyz: np.ndarray, focal_px: float, rng: np.random.Generator, noise_px: float
) -> Scene:
    """The points (M, 3) as cameras (F, 4, 4) see them, with noise: what is before them and in the picture."""
    frames, points = len(world_from_cam), len(xyz)
    scene = replace(
        arc_scene(frames=frames, points=points),
        cam_from_world=invert_rigid(world_from_cam),
        focal=np.full(frames, focal_px),
        xyz=xyz,
        obs_frame=np.repeat(np.arange(frames), points),
        obs_track=np.tile(np.arange(points), frames),
        obs_xy=np.zeros((points * frames, 2)),
        focal_prior=PRIOR_PX,
    )
    point = scene.in_camera()
    with np.errstate(divide="ignore"):
        exact = focal_px * point[:, :2] / point[:, 2:] + scene.centre
    inside = np.asarray((point[:, 2] > 0.1) & ((exact > 0) & (exact < SIZE)).all(axis=1))
    return replace(scene, obs_xy=exact + rng.normal(0, noise_px, exact.shape)).keep(inside)


def rotation_off_deg(scene: Scene, truth: Scene) -> float:
    """Largest angle between relative rotations to the first camera, over the posed frames."""
    posed = scene.posed & truth.posed
    a, b = (s.cam_from_world[posed][:, :3, :3] for s in (scene, truth))
    relative = np.swapaxes(a @ a[0].T, 1, 2) @ (b @ b[0].T)
    cosine = (np.trace(relative, axis1=1, axis2=2) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


def test_the_twin_sees_the_same_from_the_middle_and_is_its_own_inverse() -> None:
    scene = sidle(noise_px=0.0)
    twin = reversed_twin(scene)
    middle = scene.obs_frame == 4
    np.testing.assert_allclose(twin.error_px()[middle], 0, atol=1e-9)
    assert np.median(twin.error_px()) < 3.0, "elsewhere it nearly fits"
    back = reversed_twin(twin)
    np.testing.assert_allclose(back.error_px()[middle], 0, atol=1e-9)
    depth = [s.in_camera()[middle, 2] for s in (scene, twin, back)]
    near = depth[0] < np.median(depth[0])
    assert (depth[1][near] >= np.median(depth[1]) - 1e-9).all(), "what was near is far"
    np.testing.assert_allclose(depth[2] / depth[0], 1.0, rtol=1e-6)


def test_a_map_that_began_reversed_is_found_out() -> None:
    truth = sidle()
    wrong = bundle_adjust(reversed_twin(truth), 1.0, fixed_focal=True)
    assert rotation_off_deg(wrong, truth) > 3.0, "bundle adjustment alone does not find back"
    found = best_beginning(wrong, CONFIG, fixed_focal=True)
    assert found is not wrong
    assert found.posed.all()
    assert rotation_off_deg(found, truth) < 0.5
    assert len(found.obs_frame) == len(truth.obs_frame), "no observation is lost"
    assert np.isfinite(found.xyz[:, 0]).sum() > 250, "all tracks have points again"


def test_a_map_that_fits_stays_as_it_is() -> None:
    truth = sidle()
    assert best_beginning(truth, CONFIG, fixed_focal=False) is truth
    assert best_beginning(truth, replace(CONFIG, settled=0.0), fixed_focal=True) is truth, "also against the others"
    zooming = replace(truth, zooms=True)
    assert best_beginning(zooming, CONFIG, fixed_focal=False) is zooming


def test_a_map_whose_pieces_hold_each_other_wrong_is_let_loose() -> None:
    truth = sidle()
    bent = replace(truth, cam_from_world=truth.cam_from_world.copy())
    bent.cam_from_world[4:, :3, :3] = rotation_vector(np.array([0.0, 0.01, 0.0])) @ bent.cam_from_world[4:, :3, :3]
    found = best_beginning(bent, CONFIG, fixed_focal=True)
    assert rotation_off_deg(bent, truth) > 0.5
    assert rotation_off_deg(found, truth) < 0.2
    assert best_beginning(bent, replace(CONFIG, loose=1.0), fixed_focal=True) is bent, "no other beginning is needed"


def test_cameras_that_turn_are_followed_by_the_turning_start() -> None:
    truth = sidle(noise_px=0.0)
    still = replace(truth, cam_from_world=truth.cam_from_world.copy())
    still.cam_from_world[:, :3, 3] = 0.0
    point = still.in_camera()
    still = replace(still, obs_xy=FOCAL_PX * point[:, :2] / point[:, 2:] + still.centre)
    flat = turning_start(replace(still, xyz=still.xyz * 0 + 1))
    assert rotation_off_deg(flat, still) < 1e-5  # arccos near 1 knows no better
    assert np.abs(flat.cam_from_world[:, :3, 3]).max() < 0.01


def spin(focal_px: float, frames: int = 20, step_deg: float = 8.0) -> Scene:
    """A camera that turns much and moves little past a cloud all around: every point stays in view for few frames."""
    rng = np.random.default_rng(3)
    around = rng.uniform(-0.5, np.radians(step_deg) * frames + 0.5, 3000)
    far = rng.uniform(4, 8, 3000)
    xyz = np.stack([far * np.sin(around), rng.uniform(-2, 2, 3000), far * np.cos(around)], axis=1)
    world_from_cam = np.tile(np.eye(4), (frames, 1, 1))
    for index in range(frames):
        world_from_cam[index, :3, :3] = rotation_vector(np.array([0.0, np.radians(step_deg) * index, 0.0]))
        world_from_cam[index, :3, 3] = [0.02 * index, 0.007 * np.sin(index), 0.014 * index]
    return filmed(world_from_cam, xyz, focal_px, rng, 0.3)


@pytest.mark.parametrize("share", [0.5, 1.0, 1.6])
def test_a_camera_that_turns_much_speaks_for_its_focal_length(share: float) -> None:
    assert turning_focal(spin(share * LONG_PX), CONFIG.turning_focal) == pytest.approx(share * LONG_PX)


@pytest.mark.parametrize("share", [1.0, 1.6])
def test_a_map_of_fast_turns_is_found_from_its_tracks_alone(share: float) -> None:
    """160 degrees of turning, tracks of four or five frames, another focal length than the usual one."""
    truth = spin(share * LONG_PX)
    tracks, keyframes = tracks_of(truth), tuple(range(20))
    start = Start(model="SIMPLE_PINHOLE", params=((0.8 * LONG_PX, SIZE[0] / 2, SIZE[1] / 2),), focal_prior=PRIOR_PX)
    found = flat_map(tracks, keyframes, start, CONFIG)
    assert found.posed.all(), "all keyframes take part where tracks are short"
    assert rotation_off_deg(found, truth) < 1.0
    assert abs(np.log(found.focal[0] / truth.focal[0])) < 0.02
    for less in (replace(CONFIG, other_focal=99.0), replace(CONFIG, long_tracks=0.0)):
        assert rotation_off_deg(flat_map(tracks, keyframes, start, less), truth) > 1.5, "it takes both"


@pytest.mark.parametrize("fixed", [True, False])
def test_a_map_without_a_mapper(fixed: bool) -> None:
    truth = sidle()
    focal_px = FOCAL_PX if fixed else PRIOR_PX[0]
    start = Start(
        model="SIMPLE_PINHOLE", params=((focal_px, *truth.centre.tolist()),), fixed=fixed, focal_prior=PRIOR_PX
    )
    found = flat_map(tracks_of(truth), tuple(range(9)), start, CONFIG)
    assert np.median(found.error_px()[found.usable]) < 0.4  # the noise's own median is 0.35 px
    assert rotation_off_deg(found, truth) < 1.0
    two = flat_map(tracks_of(truth), (0, 8), start, CONFIG)
    assert not two.usable.any(), "two frames are not enough to tell"


def straight_ahead() -> Scene:
    """Forward without turning: the focal length trades exactly against the depth of everything."""
    scene = arc_scene(frames=8, points=300)
    pose = np.tile(np.eye(4), (8, 1, 1))
    pose[:, 2, 3] = -0.15 * np.arange(8)
    scene = replace(scene, cam_from_world=pose)
    point = scene.in_camera()
    exact = FOCAL_PX * point[:, :2] / point[:, 2:] + scene.centre
    return replace(scene, obs_xy=exact + np.random.default_rng(2).normal(0, 0.3, exact.shape))


def test_where_the_motion_does_not_tell_the_focal_length_the_prior_does() -> None:
    far_off = replace(straight_ahead(), focal=np.full(8, 0.3 * LONG_PX))
    free = bundle_adjust(far_off, 1.0, iterations=200)
    held = bundle_adjust(replace(far_off, focal_prior=(FOCAL_PX, 0.05 * FOCAL_PX)), 1.0, iterations=200)
    assert abs(held.focal[0] / FOCAL_PX - 1) < 0.1
    assert abs(free.focal[0] / FOCAL_PX - 1) > 2 * abs(held.focal[0] / FOCAL_PX - 1)
    assert held.posed.all(), "the prior leaves no frame of its own behind"
    assert held.cam_from_world.shape == far_off.cam_from_world.shape


def test_a_motion_that_tells_it_outvotes_the_prior() -> None:
    truth = arc_scene(frames=8, points=300, noise_px=0.3)
    found = bundle_adjust(replace(truth, focal_prior=(1.5 * FOCAL_PX, 0.5 * FOCAL_PX)), 1.0)
    free = bundle_adjust(truth, 1.0)
    assert abs(found.focal[0] / free.focal[0] - 1) < 0.01


def test_the_penalty_is_that_of_the_prior() -> None:
    scene = replace(arc_scene(), focal_prior=(FOCAL_PX, 100.0))
    assert focal_penalty(scene) == 0.0
    off = [focal_penalty(replace(scene, focal=scene.focal + shift)) for shift in (50.0, 100.0, -100.0)]
    assert 0 < off[0] < off[1] == pytest.approx(off[2])
    assert focal_penalty(replace(scene, focal_prior=None, focal=scene.focal * 3)) == 0.0


def test_the_usual_beginning_keeps_the_focal_length_of_the_prior() -> None:
    truth = straight_ahead()
    ran_off = replace(truth, focal=np.full(8, 0.1 * LONG_PX), focal_prior=(1.1 * FOCAL_PX, FOCAL_PX))
    found = usual_beginning(ran_off, CONFIG)
    np.testing.assert_allclose(found.focal, 1.1 * FOCAL_PX)
    assert np.median(found.error_px()[found.usable]) < 0.6
    assert rotation_off_deg(found, truth) < 0.2
