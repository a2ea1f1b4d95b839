"""A unit that changes between frames shows in three views, and in nothing else."""

import numpy as np
import pytest

from tests.annotate_doubles import path_of
from wmkit.annotate.pose.scale_step import scale_step
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import invert_rigid

FRAMES, POINTS = 30, 120
ROWS = np.tile([300.0, 310.0, 160.0, 90.0], (FRAMES, 1))


def seen(position: np.ndarray, noise_px: float = 0.0) -> tuple[np.ndarray, Tracks]:
    """Cameras that look along z from `position` (N, 3), and what they see of points 3 to 6 units ahead."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-2, 4, POINTS), rng.uniform(-1, 1, POINTS), rng.uniform(3, 6, POINTS)])
    poses = path_of(position)
    ids, xy = [], []
    for cam_from_world, row in zip(invert_rigid(poses), ROWS, strict=True):
        local = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        pixel = local[:, :2] / local[:, 2:] * row[:2] + row[2:] + rng.normal(0, 1, (POINTS, 2)) * noise_px
        inside = (pixel > 0).all(axis=1) & (pixel < [320, 180]).all(axis=1)
        ids.append(np.flatnonzero(inside).astype(np.int64))
        xy.append(pixel[inside].astype(np.float32))
    small = np.zeros((FRAMES, 24, 32), np.uint8)
    tracks = Tracks(
        ids=tuple(ids), xy=tuple(xy), rgb=np.zeros((POINTS, 3), np.uint8), thumbnail=small, width=320, height=180
    )
    return poses, tracks


def walk() -> np.ndarray:
    return np.column_stack([0.06 * np.arange(FRAMES), 0.01 * np.sin(np.arange(FRAMES)), np.zeros(FRAMES)])


def stepped(poses: np.ndarray, factor: float, frame: int = 14) -> np.ndarray:
    poses = poses.copy()
    poses[frame:, :3, 3] = poses[frame, :3, 3] + factor * (poses[frame:, :3, 3] - poses[frame, :3, 3])
    return poses


@pytest.mark.parametrize("factor", [1.3, 1 / 1.3, 1.05])
def test_a_step_is_its_logarithm(factor: float) -> None:
    poses, tracks = seen(walk())
    # float32 pixels; the weighted median takes one point's value
    assert scale_step(stepped(poses, factor), ROWS, tracks) == pytest.approx(abs(np.log(factor)), abs=2e-3)


def test_sound_labels_have_none_in_any_unit() -> None:
    poses, tracks = seen(walk())
    assert scale_step(poses, ROWS, tracks) < 1e-3
    assert scale_step(stepped(poses, 40.0, 0), ROWS, tracks) < 1e-3


def test_noise_stays_far_below_a_step_that_matters() -> None:
    poses, tracks = seen(walk(), noise_px=0.5)
    assert scale_step(poses, ROWS, tracks) < 0.1  # the default row rejects from 0.17 on
    assert scale_step(stepped(poses, 1.3), ROWS, tracks) == pytest.approx(np.log(1.3), abs=0.1)


def test_positions_that_tremble_are_no_step() -> None:
    poses, tracks = seen(walk())
    trembling = poses.copy()
    trembling[:, :3, 3] += np.random.default_rng(1).normal(0, 0.006, (FRAMES, 3))  # a tenth of what it moves a frame
    assert scale_step(trembling, ROWS, tracks) < 0.17  # the default row
    assert scale_step(stepped(trembling, 1.3), ROWS, tracks) > 0.17


@pytest.mark.parametrize("draw", range(4))
def test_positions_that_tremble_a_lot_are_no_step_either(draw: int) -> None:
    poses, tracks = seen(walk())
    trembling = poses.copy()
    trembling[:, :3, 3] += np.random.default_rng(draw).normal(0, 0.012, (FRAMES, 3))  # a fifth of what it moves a frame
    assert scale_step(trembling, ROWS, tracks) < 0.17  # the default row


def test_without_parallax_nothing_is_said() -> None:
    poses, tracks = seen(np.zeros((FRAMES, 3)))
    assert np.isnan(scale_step(poses, ROWS, tracks))


def test_frames_without_a_pose_are_left_out() -> None:
    poses, tracks = seen(walk())
    poses = stepped(poses, 1.3)
    poses[6:24] = np.nan  # no triplet is left that stands on both sides
    value = scale_step(poses, ROWS, tracks)
    assert np.isnan(value) or value < 1e-3
