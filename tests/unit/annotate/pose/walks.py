"""Exact tracks of long walks through clouds of points: no pictures, so that hundreds of frames cost nothing."""

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array, invert_rigid
from wmkit.camera_paths import look_at

SIZE = (640, 480)
FOCAL_PX = 520.0
CENTRE = np.array(SIZE) / 2
RADIUS = 6.0  # of the ring walked along, whose wall of points is 3 to 6 units further out
LIFE = 24  # frames a track is followed before it is lost, as in real video


def ring_walk(frames: int, noise_px: float = 0.3, per_frame: int = 100, turn_deg: float = 4.0) -> tuple[Scene, Tracks]:
    """The true scene of a camera that walks along a ring and looks outwards, and noisy tracks of it."""
    rng = np.random.default_rng(5)
    angle = np.radians(turn_deg) * np.arange(frames)
    out = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    position = RADIUS * out + np.stack([0 * angle, 0.2 * np.sin(0.9 * np.arange(frames)), 0 * angle], axis=1)
    cam_from_world = invert_rigid(look_at(position, position + out))
    # a picture shows about 20 degrees of the wall, counting what lies above and below it
    points = round(per_frame * (frames * turn_deg + 70) / 20)
    where = rng.uniform(-0.6, angle[-1] + 0.6, points)
    far = rng.uniform(RADIUS + 3, RADIUS + 6, points)
    xyz = np.stack([far * np.sin(where), rng.uniform(-3, 3, points), far * np.cos(where)], axis=1)
    born: list[Array] = []
    alive: dict[int, tuple[int, int]] = {}  # point: (its track, since when)
    ids, xy = [], []
    for frame in range(frames):
        inside, pixel = _seen(xyz, cam_from_world[frame])
        near = np.abs(where - angle[frame]) < 1.2  # the ring hides its other side, and the next round
        seen = np.flatnonzero(inside & near)
        for point in seen.tolist():
            if point not in alive or frame - alive[point][1] >= LIFE:
                alive[point] = (len(born), frame)
                born.append(xyz[point])
        alive = {point: alive[point] for point in seen.tolist()}
        track = np.array([alive[point][0] for point in seen.tolist()], np.int64)
        order = np.argsort(track)
        ids.append(track[order])
        xy.append((pixel[seen] + rng.normal(0, noise_px, (len(seen), 2)))[order].astype(np.float32))
    tracks = Tracks(
        ids=tuple(ids),
        xy=tuple(xy),
        rgb=np.full((len(born), 3), 90, np.uint8),
        thumbnail=np.zeros((frames, 24, 32), np.uint8),
        width=SIZE[0],
        height=SIZE[1],
    )
    return true_scene(tracks, cam_from_world, np.array(born)), tracks


def true_scene(tracks: Tracks, cam_from_world: Array, xyz: Array) -> Scene:
    """Observations of `tracks` with those cameras and one point a track."""
    return Scene(
        cam_from_world=cam_from_world,
        focal=np.full(len(tracks), FOCAL_PX),
        centre=CENTRE,
        xyz=xyz,
        obs_frame=np.repeat(np.arange(len(tracks)), [len(row) for row in tracks.ids]),
        obs_track=np.concatenate(tracks.ids).astype(np.intp),
        obs_xy=np.concatenate(tracks.xy).astype(np.float64),
        size=SIZE,
    )


def _seen(xyz: Array, cam_from_world: Array) -> tuple[NDArray[np.bool_], Array]:
    point = xyz @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    ahead = point[:, 2] > 0.5
    pixel = FOCAL_PX * point[:, :2] / np.where(ahead, point[:, 2], 1.0)[:, None] + CENTRE
    return ahead & ((pixel > 0) & (pixel < SIZE)).all(axis=1), pixel
