"""Small exact scenes for the pose engine's tests: cameras on an arc around a cloud of points."""

from dataclasses import replace

import numpy as np

from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import invert_rigid

SIZE = (640, 480)
FOCAL_PX = 500.0


def rotation_vector(angle_rad: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    theta = np.linalg.norm(angle_rad)
    if theta == 0:
        return np.eye(3)
    x, y, z = angle_rad / theta
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(theta) * cross + (1 - np.cos(theta)) * cross @ cross


def arc_scene(frames: int = 6, points: int = 60, noise_px: float = 0.0, seed: int = 0) -> Scene:
    """Cameras on a 20 degree arc looking at points 3 to 6 units away; every camera sees every point in its picture."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform([-1.5, -1.0, 3.0], [1.5, 1.0, 6.0], (points, 3))
    world_from_cam = np.tile(np.eye(4), (frames, 1, 1))
    for index, turn in enumerate(np.linspace(0, np.radians(20), frames)):
        world_from_cam[index, :3, :3] = rotation_vector(np.array([0.02 * index, -turn, 0.01 * index]))
        world_from_cam[index, :3, 3] = [4.5 * np.sin(turn), 0.05 * index, 4.5 * (1 - np.cos(turn))]
    scene = Scene(
        cam_from_world=invert_rigid(world_from_cam),
        focal=np.full(frames, FOCAL_PX),
        centre=np.array(SIZE) / 2,
        xyz=xyz,
        obs_frame=np.repeat(np.arange(frames), points),
        obs_track=np.tile(np.arange(points), frames),
        obs_xy=np.zeros((frames * points, 2)),
        size=SIZE,
    )
    point = scene.in_camera()
    exact = FOCAL_PX * point[:, :2] / point[:, 2:] + scene.centre
    inside = np.asarray(((exact > 0) & (exact < SIZE)).all(axis=1))
    noisy = exact + rng.normal(0, noise_px, exact.shape) if noise_px else exact
    return replace(scene, obs_xy=noisy).keep(inside)


def tracks_of(scene: Scene) -> Tracks:
    """The scene's observations as the tracker would hand them over."""
    frames = range(len(scene.cam_from_world))
    return Tracks(
        ids=tuple(scene.obs_track[scene.obs_frame == frame].astype(np.int64) for frame in frames),
        xy=tuple(scene.obs_xy[scene.obs_frame == frame].astype(np.float32) for frame in frames),
        rgb=np.full((len(scene.xyz), 3), 90, np.uint8),
        thumbnail=np.zeros((len(frames), 24, 32), np.uint8),
        width=scene.size[0],
        height=scene.size[1],
    )
