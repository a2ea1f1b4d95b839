"""Whether a lens is found where there is one, and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, SIZE, arc_scene, rotation_vector
from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.lens import LensConfig, find_lens, lens_gain
from wmkit.annotate.pose.scene import Scene, longest_tracks
from wmkit.camera import Intrinsics, Lens, invert_rigid

CENTRE = (SIZE[0] / 2, SIZE[1] / 2)
PINHOLE = Intrinsics(fx=FOCAL_PX, fy=FOCAL_PX, cx=CENTRE[0], cy=CENTRE[1], width=SIZE[0], height=SIZE[1])
LENSES = {
    "barrel": Lens(model="RADIAL", params=(FOCAL_PX, *CENTRE, -0.22, 0.05), width=SIZE[0], height=SIZE[1]),
    "pincushion": Lens(model="RADIAL", params=(FOCAL_PX, *CENTRE, 0.15, 0.0), width=SIZE[0], height=SIZE[1]),
    "fisheye": Lens(model="SIMPLE_RADIAL_FISHEYE", params=(330.0, *CENTRE, 0.02), width=SIZE[0], height=SIZE[1]),
}


def walk_scene(lens: Lens | None, forward: bool, noise_px: float, frames: int = 10, points: int = 900) -> Scene:
    """Cameras going along, through points on all sides; every point is seen as the lens bends it."""
    rng = np.random.default_rng(2)
    xyz = np.column_stack([rng.uniform(-5, 5, points), rng.uniform(-4, 4, points), rng.uniform(2.5, 12, points)])
    world_from_cam = np.tile(np.eye(4), (frames, 1, 1))
    for index in range(frames):
        turn = np.array([0.01 * np.sin(index), 0.02 * index * (not forward), 0.01 * np.cos(index)])
        world_from_cam[index, :3, :3] = rotation_vector(turn)
        world_from_cam[index, :3, 3] = [0.02 * index, 0, 0.2 * index] if forward else [0.25 * index, 0.03 * index, 0]
    cam_from_world = invert_rigid(world_from_cam)
    frame, track, xy = [], [], []
    for index, pose in enumerate(cam_from_world):
        point = xyz @ pose[:3, :3].T + pose[:3, 3]
        ahead = np.flatnonzero(point[:, 2] > 0.5)
        straight = FOCAL_PX * point[ahead, :2] / point[ahead, 2:] + CENTRE
        bent = straight if lens is None else lens.from_pinhole(straight, PINHOLE)
        with np.errstate(invalid="ignore"):
            inside = np.isfinite(bent[:, 0]) & ((bent > 0) & (bent < SIZE)).all(axis=1)
        frame.append(np.full(inside.sum(), index))
        track.append(ahead[inside])
        xy.append(bent[inside] + rng.normal(0, noise_px, (int(inside.sum()), 2)))
    focal_px = FOCAL_PX if lens is None else lens.undistorted_core.fx
    return Scene(
        cam_from_world=cam_from_world,
        focal=np.full(frames, focal_px),
        centre=np.array(CENTRE),
        xyz=xyz,
        obs_frame=np.concatenate(frame),
        obs_track=np.concatenate(track),
        obs_xy=np.concatenate(xy),
        size=SIZE,
    )


def found(scene: Scene) -> Lens | None:
    keyframes = scene.at_frames(np.arange(len(scene.cam_from_world)))
    return find_lens(keyframes, LensConfig())


@pytest.mark.parametrize("name", LENSES)
def test_a_lens_is_found_with_its_distortion(name: str) -> None:
    truth = LENSES[name]
    lens = found(walk_scene(truth, forward=False, noise_px=0.3))
    assert lens is not None
    grid = np.stack(np.meshgrid(np.linspace(20, 620, 13), np.linspace(20, 460, 11)), -1).reshape(-1, 2)
    # where either lens puts a picture's point on one and the same pinhole: what undistorting depends on
    off = np.linalg.norm(lens.to_pinhole(grid, PINHOLE) - truth.to_pinhole(grid, PINHOLE), axis=1)
    assert np.percentile(off, 90) < 2.0
    assert abs(lens.undistorted_core.fx / truth.undistorted_core.fx - 1) < 0.01


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("noise_px", [0.1, 0.5])
def test_a_pinhole_gets_none(forward: bool, noise_px: float) -> None:
    scene = walk_scene(None, forward=forward, noise_px=noise_px)
    assert found(scene) is None
    wrong_focal = replace(scene, focal=scene.focal * 1.1)
    assert found(wrong_focal) is None, "a focal length that is off is no lens"


def test_a_scene_without_points_has_none() -> None:
    scene = arc_scene()
    assert found(replace(scene, xyz=np.full_like(scene.xyz, np.nan))) is None


def test_a_lens_that_hardly_bends_is_not_worth_it() -> None:
    faint = Lens(model="RADIAL", params=(FOCAL_PX, *CENTRE, -0.004, 0.0), width=SIZE[0], height=SIZE[1])
    corner = np.array([[0.0, 0.0]])
    # 0.5 px of 800: the picture's corner, farther than any noise here, yet below the least shift of 0.4 %
    assert np.linalg.norm(faint.to_pinhole(corner, PINHOLE) - corner) < 0.004 * 800
    assert found(walk_scene(faint, forward=False, noise_px=0.05)) is None


def test_the_gain_of_a_lens_is_the_share_of_the_error_it_takes() -> None:
    bent = bundle_adjust(longest_tracks(walk_scene(LENSES["fisheye"], forward=False, noise_px=0.1), 300), 1.0)
    assert 0.25 < lens_gain(bent, LensConfig(), 100) < 1
    straight = bundle_adjust(longest_tracks(walk_scene(None, forward=False, noise_px=0.3), 300), 1.0)
    assert lens_gain(straight, LensConfig(), 150) == 0
    assert lens_gain(replace(straight, xyz=np.full_like(straight.xyz, np.nan)), LensConfig(), 40) == 0
