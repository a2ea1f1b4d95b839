"""Rays, ray frames and Plücker maps against points in space."""

import pytest
import torch

from tests.unit.model.tiny import HEIGHT, STRIDE, WIDTH, moving_cameras
from wmkit.camera import Intrinsics
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraBatch
from wmkit.model.rays import (
    LatentGrid,
    invert_rigid,
    plucker_map,
    ray_directions,
    ray_from_world,
    relative_to_first,
)

GRID = LatentGrid(frames=3, rows=4, columns=6, stride=STRIDE)
FRAMES = GRID.video_frames


def test_ray_of_a_known_pixel_passes_through_the_known_point() -> None:
    camera = Intrinsics(fx=40.0, fy=50.0, cx=20.0, cy=18.0, width=WIDTH, height=HEIGHT)
    row = torch.from_numpy(camera.row.copy())[None, None]
    # One cell a pixel: the ray of pixel (column 31, row 9) goes through its centre (31.5, 9.5).
    ray = ray_directions(row, (WIDTH, HEIGHT), (HEIGHT, WIDTH))[0, 0, 9, 31]
    point = torch.linalg.inv(torch.from_numpy(camera.matrix)) @ torch.tensor([31.5, 9.5, 1.0], dtype=torch.float64) * 7
    torch.testing.assert_close(ray * point.norm(), point)
    assert ray.norm().item() == pytest.approx(1.0, abs=1e-15)


def test_a_cells_ray_is_that_of_the_middle_of_its_pixels() -> None:
    row = torch.tensor([[[40.0, 50.0, 20.0, 18.0]]], dtype=torch.float64)
    cells = ray_directions(row, (WIDTH, HEIGHT), (GRID.rows, GRID.columns))
    # 8 x 8 px a cell: the middle of cell (row 1, column 2) is (20, 12), whose x lies on the principal point.
    assert cells[0, 0, 1, 2, 0].item() == 0.0
    slope = cells[0, 0, 1, 2, 1] / cells[0, 0, 1, 2, 2]
    assert slope.item() == pytest.approx((12 - 18) / 50, abs=1e-15)


def test_ray_frame_puts_a_point_of_the_ray_on_its_z_axis() -> None:
    cameras = moving_cameras(2, FRAMES)
    to_ray = ray_from_world(cameras, GRID)
    world_from_cam = relative_to_first(cameras.world_from_cam)
    for t in range(GRID.frames):
        frame = t * STRIDE  # a latent frame's camera is the last video frame it covers
        d = ray_directions(cameras.intrinsics[:, [frame]], (WIDTH, HEIGHT), (GRID.rows, GRID.columns))[1, 0, 3, 5]
        in_camera = torch.cat([5 * d, torch.ones(1, dtype=torch.float64)])
        in_ray = to_ray[1, t, 3, 5] @ world_from_cam[1, frame] @ in_camera
        want = torch.tensor([0.0, 0.0, 5.0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(in_ray, want, rtol=0, atol=1e-13)  # a few roundings of numbers of about 5


def test_ray_frames_are_rigid_with_y_on_the_cameras_side() -> None:
    cameras = moving_cameras(1, FRAMES)
    to_ray = ray_from_world(cameras, GRID)
    rotation = to_ray[..., :3, :3]
    eye = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, eye, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones_like(rotation[..., 0, 0]))
    down = relative_to_first(cameras.world_from_cam)[:, ::STRIDE, None, None, :3, 1]
    in_ray = (rotation @ down.unsqueeze(-1))[..., 0]
    assert (in_ray[..., 1] > 0).all()
    torch.testing.assert_close(in_ray[..., 0], torch.zeros_like(in_ray[..., 0]), rtol=0, atol=1e-14)


def test_world_axes_do_not_matter() -> None:
    cameras = moving_cameras(2, FRAMES)
    other_from_world = moving_cameras(2, 1, seed=5).world_from_cam
    moved = CameraBatch(
        world_from_cam=other_from_world @ cameras.world_from_cam,
        intrinsics=cameras.intrinsics,
        width=WIDTH,
        height=HEIGHT,
    )
    for pack in (ray_from_world, plucker_map):
        torch.testing.assert_close(pack(moved, GRID), pack(cameras, GRID), rtol=0, atol=1e-13)  # positions of about 1


def test_first_camera_is_the_origin_to_the_last_bit() -> None:
    cameras = moving_cameras(2, FRAMES, dtype=torch.float32)
    relative = relative_to_first(cameras.world_from_cam)
    assert torch.equal(relative[:, 0], torch.eye(4).expand(2, 4, 4))
    again = cameras.world_from_cam[:, :1] @ relative
    torch.testing.assert_close(again, cameras.world_from_cam, rtol=0, atol=1e-6)  # float32, positions of about 1


def test_plucker_channels_are_direction_and_moment_frame_by_frame() -> None:
    cameras = moving_cameras(1, FRAMES)
    packed = plucker_map(cameras, GRID)
    assert packed.shape == (1, GRID.frames, 6 * STRIDE, GRID.rows, GRID.columns)
    first_from_cam = relative_to_first(cameras.world_from_cam)
    cells = ray_directions(cameras.intrinsics, (WIDTH, HEIGHT), (GRID.rows, GRID.columns))
    for t in range(1, GRID.frames):
        for slot in range(STRIDE):
            frame = (t - 1) * STRIDE + 1 + slot
            d, moment = packed[0, t, 6 * slot : 6 * slot + 6, 2, 4].split(3)
            origin = first_from_cam[0, frame, :3, 3]
            torch.testing.assert_close(d, first_from_cam[0, frame, :3, :3] @ cells[0, frame, 2, 4])
            # Any point of the ray has the same moment.
            torch.testing.assert_close(moment, torch.linalg.cross(origin + 3.7 * d, d))


def test_first_latent_frame_sees_no_later_camera() -> None:
    cameras = moving_cameras(1, FRAMES)
    changed = cameras.world_from_cam.clone()
    changed[:, 1:] = moving_cameras(1, FRAMES, seed=3).world_from_cam[:, 1:]
    others = CameraBatch(world_from_cam=changed, intrinsics=cameras.intrinsics, width=WIDTH, height=HEIGHT)
    for pack in (ray_from_world, plucker_map):
        assert torch.equal(pack(others, GRID)[:, 0], pack(cameras, GRID)[:, 0])
        assert not torch.equal(pack(others, GRID)[:, 1], pack(cameras, GRID)[:, 1])
    assert not plucker_map(cameras, GRID)[:, 0].reshape(STRIDE, 2, 3, -1)[:, 1].any(), "no moment at the origin"


def test_inverse_of_rigid_transforms() -> None:
    poses = moving_cameras(2, 3).world_from_cam
    eye = torch.eye(4, dtype=torch.float64).expand_as(poses)
    torch.testing.assert_close(invert_rigid(poses) @ poses, eye, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("without_shape_checks")
def test_cameras_check_themselves() -> None:
    good = moving_cameras(1, FRAMES)
    holes = good.world_from_cam.clone()
    holes[0, 2] = torch.nan
    flat = good.intrinsics.clone()
    flat[0, 0, 0] = 0.0
    for poses, rows, width in [
        (good.world_from_cam[:, :, :3], good.intrinsics, WIDTH),
        (good.world_from_cam, good.intrinsics[:, 1:], WIDTH),
        (good.world_from_cam[:, :0], good.intrinsics[:, :0], WIDTH),
        (holes, good.intrinsics, WIDTH),
        (good.world_from_cam, flat, WIDTH),
        (good.world_from_cam, good.intrinsics, 0),
    ]:
        with pytest.raises(InputError, match=r"^cameras: expected"):
            CameraBatch(world_from_cam=poses, intrinsics=rows, width=width, height=HEIGHT)


@pytest.mark.parametrize("frames", [FRAMES - 1, FRAMES + 1])
def test_frames_must_fit_the_latent(frames: int) -> None:
    with pytest.raises(ConfigError, match=f"expected {FRAMES} video frames"):
        plucker_map(moving_cameras(1, frames), GRID)
