"""The named one-minute trajectories of `wmkit sample`: `simple/...` and `hard/...`. numpy only.

Made as arXiv 2605.15178, App. D.1 says its benchmark's are: 11 to 15 waypoints; positions by a centripetal Catmull-Rom
spline (Yuksel et al. 2011), rotations by quaternion Squad (Shoemake 1987), an even pace along the path, Laplacian
smoothing, turns clamped at 12 deg/s, at most 0.4 m/s, 961 cameras at 16 a second. The paper publishes names and this
recipe, not the waypoints: those are ours. Of each ten, six have a name of the paper, four are our own kind of motion.
World and camera axes are those of `camera_paths`.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from wmkit.camera import Array
from wmkit.camera_paths import SampledPath, rotation_from_angles
from wmkit.errors import InputError

__all__ = ["FRAMES", "TEMPLATES", "template_path"]

FPS, FRAMES = 16.0, 961
MAX_SPEED_M_S, MAX_TURN_DEG_S = 0.4, 12.0
SMOOTHINGS = 64  # passes: a corner is spread over some six frames (their deviation, sqrt(64 / 2))
DENSE = 64  # points of the spline a segment, from which the even pace is measured

Waypoint = tuple[float, float, float, float, float]  # right m, up m, forward m, heading deg (right), pitch deg (up)


def _ring(count: int, radius_m: float, turns: float, rise_m: float = 0.0, look: str = "along") -> list[Waypoint]:
    """Waypoints round a circle that begins at the origin, its centre ahead ("in": looking at it) or to the right."""
    points: list[Waypoint] = []
    for i in range(count):
        done = i / (count - 1)
        angle = 2 * np.pi * turns * done
        degrees = float(np.degrees(angle))
        if look == "in":
            points.append((radius_m * np.sin(angle), rise_m * done, radius_m * (1 - np.cos(angle)), -degrees, 0.0))
        else:
            points.append((radius_m * (1 - np.cos(angle)), rise_m * done, radius_m * np.sin(angle), degrees, 0.0))
    return points


def _along(ground: list[tuple[float, float]], pitch_deg: float = 0.0) -> list[Waypoint]:
    """Waypoints over (right, forward) points on the ground, each facing where the path goes."""
    before, after = [ground[0], *ground[:-1]], [*ground[1:], ground[-1]]
    heading = [np.degrees(np.arctan2(b[0] - a[0], b[1] - a[1])) for a, b in zip(before, after, strict=True)]
    return [(x, 0.0, z, h, pitch_deg) for (x, z), h in zip(ground, np.unwrap(heading, period=360), strict=True)]


def _there_and_back(points: list[Waypoint]) -> list[Waypoint]:
    return [*points, *points[-2::-1]]


def _figure_eight(count: int, half_m: float) -> list[Waypoint]:
    phase = np.linspace(0, 2 * np.pi, count)
    return _along([(half_m * float(np.sin(2 * p)) / 1.5, 2 * half_m * float(np.sin(p))) for p in phase])


SIMPLE: Mapping[str, list[Waypoint]] = {
    "s-curve": _along([(1.2 * float(np.sin(2 * np.pi * i / 11)), 1.4 * i) for i in range(12)]),
    "orbit": _ring(12, 3.0, 0.45, look="in"),
    "backtrack": _there_and_back(_along([(0.1 * i * i / 3, 1.3 * i) for i in range(7)])),
    "l-return": _there_and_back(_along([(0, 0), (0, 2), (0, 4), (0.6, 5.4), (2, 6), (4, 6), (6, 6)])),
    "figure-eight": _figure_eight(15, 1.5),
    "room-loop": _ring(13, 2.5, 1.0),
    "straight": [(0.0, 0.0, 1.6 * i, 0.0, 0.0) for i in range(11)],
    "arc": _ring(11, 8.0, 0.25),
    "slalom": _along([(0.8 * float(np.sin(4 * np.pi * i / 14)), 1.1 * i) for i in range(15)]),
    "look-around": [(0.0, 0.0, 0.5 * i, 40 * float(np.sin(2 * np.pi * i / 11)), 0.0) for i in range(12)],
}

HARD: Mapping[str, list[Waypoint]] = {
    "staircase": [(0.0, 0.35 * i, 0.6 * i, 12.0 * (i % 2), 12.0) for i in range(13)],
    "whip-pan": [(0.0, 0.0, 0.7 * i, (0.0, 45.0, -45.0)[i % 3], 0.0) for i in range(11)],
    "elevator": _there_and_back([(0.0, 0.9 * i, 0.0, 10.0 * i, -3.0 * i) for i in range(6)]),
    "spiral": _ring(15, 1.6, 1.5, rise_m=2.4),
    "crane": [(0.0, 0.4 * i, 0.5 * i, 6.0 * i, -4.0 * i) for i in range(11)],
    "double-loop": _ring(15, 1.5, 2.0),
    "dive": [(0.3 * i, 2.5 * float(np.cos(np.pi * i / 10)) - 2.5, 1.2 * i, 0.0, -25 * i / 10) for i in range(11)],
    "strafe-weave": [(1.5 * float(np.sin(np.pi * i / 3)), 0.0, 0.4 * i, -15.0 * (i % 2), 0.0) for i in range(12)],
    "reverse-turn": [(0.0, 0.0, -0.9 * i, 18.0 * i, 0.0) for i in range(11)],
    "nod-and-pan": [(0.0, 0.1 * (i % 2), 0.5 * i, 30.0 * (i % 4 - 1.5), 20.0 * (i % 2)) for i in range(13)],
}

TEMPLATES: MappingProxyType[str, list[Waypoint]] = MappingProxyType(
    {f"simple/{name}": points for name, points in SIMPLE.items()}
    | {f"hard/{name}": points for name, points in HARD.items()}
)
"""Waypoints of each template by the name that commands take."""


def template_path(name: str) -> SampledPath:
    """The 961 cameras of a template, 60 s at 16 a second; InputError lists the names there are."""
    if name not in TEMPLATES:
        raise InputError(f"template {name!r}: expected one of {', '.join(TEMPLATES)}")
    points = np.array(TEMPLATES[name], dtype=np.float64)
    position_m = points[:, :3] * np.array([1.0, -1.0, 1.0])  # up is -y
    rotation = rotation_from_angles(points[:, 3], points[:, 4], np.zeros(len(points)))
    place = _even_pace(position_m, rotation)
    smooth_m = _smoothed(_catmull_rom(position_m, place))
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3] = _clamped(_squad(rotation, place), np.radians(MAX_TURN_DEG_S / FPS))
    poses[:, :3, 3] = smooth_m - smooth_m[0]
    return SampledPath(world_from_cam=poses, time_s=np.arange(FRAMES) / FPS)


def _even_pace(position_m: Array, rotation: Array) -> Array:
    """(961,) place of every frame in waypoint numbers: a segment takes as long as its way or its turn needs.

    Within a segment the way is covered evenly.
    """
    grid = np.linspace(0, len(position_m) - 1, DENSE * (len(position_m) - 1) + 1)
    way_m = np.linalg.norm(np.diff(_catmull_rom(position_m, grid), axis=0), axis=1)
    turn_s = np.degrees(np.linalg.norm(_log(_transposed(rotation[:-1]) @ rotation[1:]), axis=1)) / MAX_TURN_DEG_S
    needed_s = np.maximum(way_m / MAX_SPEED_M_S, np.repeat(turn_s / DENSE, DENSE))
    total_s = np.concatenate([[0.0], np.cumsum(needed_s)])
    if total_s[-1] > (FRAMES - 1) / FPS:
        raise ValueError(f"waypoints need {total_s[-1]:.1f} s at the greatest pace, there are 60")
    return np.interp(np.linspace(0, total_s[-1], FRAMES), total_s, grid)


def _catmull_rom(points: Array, place: Array) -> Array:
    """Centripetal Catmull-Rom through `points` (K, 3) at `place` (M,) in waypoint numbers; ends are mirrored."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    # Knots are at least a little apart: waypoints of one place differ in where they look.
    knots = np.concatenate([[0.0], np.cumsum(np.maximum(np.linalg.norm(np.diff(ends, axis=0), axis=1) ** 0.5, 1e-3))])
    segment = np.clip(place.astype(np.int64), 0, len(points) - 2)
    p0, p1, p2, p3 = (ends[segment + i] for i in range(4))
    t0, t1, t2, t3 = (knots[segment + i][:, None] for i in range(4))
    t = t1 + (place - segment)[:, None] * (t2 - t1)
    a1 = (t1 - t) / (t1 - t0) * p0 + (t - t0) / (t1 - t0) * p1
    a2 = (t2 - t) / (t2 - t1) * p1 + (t - t1) / (t2 - t1) * p2
    a3 = (t3 - t) / (t3 - t2) * p2 + (t - t2) / (t3 - t2) * p3
    b1 = (t2 - t) / (t2 - t0) * a1 + (t - t0) / (t2 - t0) * a2
    b2 = (t3 - t) / (t3 - t1) * a2 + (t - t1) / (t3 - t1) * a3
    return (t2 - t) / (t2 - t1) * b1 + (t - t1) / (t2 - t1) * b2


def _squad(rotation: Array, place: Array) -> Array:
    """Rotations (M, 3, 3) at `place`, through `rotation` (K, 3, 3) with continuous turning."""
    inner = rotation.copy()
    back = _transposed(rotation[1:-1])
    inner[1:-1] = rotation[1:-1] @ _exp(-(_log(back @ rotation[2:]) + _log(back @ rotation[:-2])) / 4)
    segment = np.clip(place.astype(np.int64), 0, len(rotation) - 2)
    t = (place - segment)[:, None]
    outer = _slerp(rotation[segment], rotation[segment + 1], t)
    return _slerp(outer, _slerp(inner[segment], inner[segment + 1], t), 2 * t * (1 - t))


def _slerp(a: Array, b: Array, t: Array) -> Array:
    return a @ _exp(t * _log(_transposed(a) @ b))


def _clamped(rotation: Array, limit_rad: float) -> Array:
    """Follow `rotation` (M, 3, 3) with at most `limit_rad` between frames: what turns too fast lags behind."""
    followed = [rotation[0]]
    for asked in rotation[1:]:
        turn = _log((followed[-1].T @ asked)[None])
        angle_rad = float(np.linalg.norm(turn))
        followed.append(followed[-1] @ _exp(turn * min(1.0, limit_rad / max(angle_rad, 1e-12)))[0])
    return np.stack(followed)


def _log(rotation: Array) -> Array:
    """Rotation vectors (..., 3) rad."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_rotvec()


def _exp(vector: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vector).as_matrix()


def _transposed(rotation: Array) -> Array:
    return np.swapaxes(rotation, 1, 2)


def _smoothed(points: Array) -> Array:
    """Laplacian smoothing; the ends stay."""
    for _ in range(SMOOTHINGS):
        points = np.concatenate([points[:1], (points[:-2] + 2 * points[1:-1] + points[2:]) / 4, points[-1:]])
    return points
