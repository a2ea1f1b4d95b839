"""A camera that only turns: its rotations and focal length from synthetic tracks; one that moves is refused."""

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, SIZE, arc_scene, rotation_vector, tracks_of
from wmkit.annotate.pose.rotation import TurningConfig, fit_turning, may_turn_only
from wmkit.annotate.pose.tracks import Tracks

CONFIG = TurningConfig()
FRAMES = 16


def turns(pan_deg: float, tilt_deg: float) -> np.ndarray:
    """(FRAMES, 3, 3) world_from_cam: panning, nodding and rolling a little."""
    steps = np.linspace(0, 1, FRAMES)
    return np.array(
        [
            rotation_vector(np.radians([0, pan_deg * s, 0]))
            @ rotation_vector(np.radians([tilt_deg * np.sin(2 * np.pi * s), 0, 1.5 * s]))
            for s in steps
        ]
    )


def seen_from(rotation: np.ndarray, position: np.ndarray, xyz: np.ndarray, noise_px: float) -> Tracks:
    """Tracks of points (M, 3) in cameras (N, 3, 3), (N, 3)."""
    rng = np.random.default_rng(3)
    ids, xy = [], []
    for turn, at in zip(rotation, position, strict=True):
        point = (xyz - at) @ turn
        pixel = FOCAL_PX * point[:, :2] / point[:, 2:] + np.array(SIZE) / 2 + rng.normal(0, noise_px, (len(xyz), 2))
        seen = np.flatnonzero((point[:, 2] > 0) & ((pixel > 0) & (pixel < SIZE)).all(axis=1))
        ids.append(seen.astype(np.int64))
        xy.append(pixel[seen].astype(np.float32))
    return Tracks(
        ids=tuple(ids),
        xy=tuple(xy),
        rgb=np.zeros((len(xyz), 3), np.uint8),
        thumbnail=np.zeros((len(rotation), 24, 32), np.uint8),
        width=SIZE[0],
        height=SIZE[1],
    )


def shell(count: int = 3000, near: float = 2.0, far: float = 9.0) -> np.ndarray:
    """(count, 3) points all round, at distances from near to far."""
    rng = np.random.default_rng(0)
    ray = rng.normal(size=(count, 3))
    return ray / np.linalg.norm(ray, axis=1, keepdims=True) * rng.uniform(near, far, (count, 1))


def worst_deg(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest angle between two sets of rotations (N, 3, 3), both counted from their first."""
    relative = np.swapaxes(found, 1, 2) @ truth[0].T @ truth
    cosine = (np.trace(relative, axis1=1, axis2=2) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


@pytest.mark.parametrize(("pan_deg", "tilt_deg"), [(35.0, 6.0), (-12.0, 4.0)])
def test_rotations_and_focal_length_of_a_turning_camera(pan_deg: float, tilt_deg: float) -> None:
    truth = turns(pan_deg, tilt_deg)
    tracks = seen_from(truth, np.zeros((FRAMES, 3)), shell(), noise_px=0.3)
    frames = tuple(range(FRAMES))
    assert may_turn_only(tracks, frames, CONFIG)
    fit = fit_turning(tracks, frames, CONFIG, None)
    assert fit.holds
    assert abs(fit.focal_px / FOCAL_PX - 1) < 0.03
    np.testing.assert_allclose(fit.rotation[0], np.eye(3), atol=1e-12)
    assert worst_deg(fit.rotation, truth) < 0.1 + abs(pan_deg) * abs(fit.focal_px / FOCAL_PX - 1)


def test_with_the_focal_length_known_rotations_are_those_of_the_noise() -> None:
    truth = turns(35.0, 6.0)
    tracks = seen_from(truth, np.zeros((FRAMES, 3)), shell(), noise_px=0.3)
    fit = fit_turning(tracks, tuple(range(FRAMES)), CONFIG, FOCAL_PX)
    assert fit.focal_px == FOCAL_PX
    # 0.3 px over 500 px is 0.034 degrees for one point, and a frame sees hundreds
    assert worst_deg(fit.rotation, truth) < 0.03


def test_some_points_that_move_on_their_own_do_not_matter() -> None:
    truth = turns(20.0, 3.0)
    xyz = shell()
    tracks = seen_from(truth, np.zeros((FRAMES, 3)), xyz, noise_px=0.3)
    wrong = tuple(np.where(ids % 8 == 0, 4.0 * frame, 0.0) for frame, ids in enumerate(tracks.ids))
    moved = tuple((xy + shift[:, None]).astype(np.float32) for xy, shift in zip(tracks.xy, wrong, strict=True))
    tracks = Tracks(ids=tracks.ids, xy=moved, rgb=tracks.rgb, thumbnail=tracks.thumbnail, width=SIZE[0], height=SIZE[1])
    fit = fit_turning(tracks, tuple(range(FRAMES)), CONFIG, None)
    assert fit.holds
    assert abs(fit.focal_px / FOCAL_PX - 1) < 0.03
    assert worst_deg(fit.rotation, truth) < 0.2


def test_a_camera_that_moves_among_things_is_refused() -> None:
    tracks = tracks_of(arc_scene(frames=8, points=200, noise_px=0.3))
    assert not may_turn_only(tracks, tuple(range(8)), CONFIG)
    assert not fit_turning(tracks, tuple(range(8)), CONFIG, None).holds


def test_a_turn_with_a_step_aside_is_refused() -> None:
    """A pan about a point behind the camera, a sixth of the nearest distance away, as of a phone at arm's length."""
    truth = turns(30.0, 4.0)
    position = truth[:, :, 2] * 0.25
    tracks = seen_from(truth, position, shell(near=1.5, far=6.0), noise_px=0.3)
    assert not fit_turning(tracks, tuple(range(FRAMES)), CONFIG, FOCAL_PX).holds


def test_a_plane_passed_by_looks_like_turning_to_a_homography_but_not_to_the_fit() -> None:
    rng = np.random.default_rng(1)
    wall = np.column_stack([rng.uniform(-6, 6, (2000, 2)), np.full(2000, 4.0)])
    position = np.column_stack([np.linspace(0, 2.0, FRAMES), np.zeros(FRAMES), np.linspace(0, 0.8, FRAMES)])
    tracks = seen_from(turns(15.0, 3.0), position, wall, noise_px=0.2)
    frames = tuple(range(FRAMES))
    assert may_turn_only(tracks, frames, CONFIG), "one homography joins all views of a plane"
    assert not fit_turning(tracks, frames, CONFIG, None).holds
