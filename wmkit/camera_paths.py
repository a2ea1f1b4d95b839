"""Named smooth camera paths and look-at. numpy only.

World convention of every path and of `wmkit.worlds`: metres, right-handed, x right, **y down** (gravity is +y), z
forward. A path starts at or near the origin looking along +z, which is OpenCV's camera frame, and `SampledPath.placed`
moves it into a world. Headings grow to the right (clockwise seen from above), pitches grow upwards.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from wmkit.camera import Array, ScaleKind, Trajectory, frozen_array
from wmkit.errors import InputError

__all__ = [
    "NAMED_PATHS",
    "Backtrack",
    "CameraPath",
    "Crane",
    "DoubleLoop",
    "Drive",
    "Elevator",
    "Orbit",
    "PureRotation",
    "SCurve",
    "SampledPath",
    "Spiral",
    "Static",
    "Walk",
    "WhipPan",
    "axis_turn",
    "look_at",
    "rotation_from_angles",
]

GRAVITY_DOWN = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampledPath:
    """A camera path at its frame times.

    world_from_cam  (N, 4, 4) float64, metres, OpenCV camera axes, world y down.
    time_s          (N,) float64, strictly increasing, starting at 0.
    """

    world_from_cam: Array
    time_s: Array

    def __post_init__(self) -> None:
        poses = frozen_array(self.world_from_cam, np.float64, (None, 4, 4), "world_from_cam")
        object.__setattr__(self, "world_from_cam", poses)
        object.__setattr__(self, "time_s", frozen_array(self.time_s, np.float64, (len(poses),), "time_s"))

    def __len__(self) -> int:
        return len(self.time_s)

    def placed(self, position: tuple[float, float, float], heading_deg: float = 0.0) -> "SampledPath":
        """The same motion with the path's origin at `position` (m) and its +z turned right by `heading_deg`."""
        world_from_path = np.eye(4)
        world_from_path[:3, :3] = rotation_from_angles(heading_deg, 0.0, 0.0)
        world_from_path[:3, 3] = position
        return SampledPath(world_from_cam=world_from_path @ self.world_from_cam, time_s=self.time_s)

    def trajectory(self) -> Trajectory:
        """The path as a metric trajectory, every frame posed."""
        return Trajectory(
            world_from_cam=self.world_from_cam,
            time_s=self.time_s,
            posed=np.ones(len(self), dtype=np.bool_),
            scale=ScaleKind.METRIC,
        )


class CameraPath(Protocol):
    """A path's parameters; `sample` is a pure function of them."""

    def sample(self, frames: int, fps: float) -> SampledPath:
        """`frames` poses at `fps` 1/s; InputError when there are none or the rate is not positive."""
        ...


def rotation_from_angles(heading_deg: Array | float, pitch_deg: Array | float, roll_deg: Array | float) -> Array:
    """world_from_cam rotations (..., 3, 3): turn right by heading, then look up by pitch, then roll clockwise."""
    heading, pitch, roll = (np.radians(np.asarray(a, dtype=np.float64)) for a in (heading_deg, pitch_deg, roll_deg))
    return axis_turn(heading, 2, 0) @ axis_turn(pitch, 1, 2) @ axis_turn(roll, 0, 1)


def look_at(position: Array, target: Array) -> Array:
    """world_from_cam (N, 4, 4) of upright cameras at `position` (N, 3) whose z axis meets `target` (N, 3) or (3,).

    Raises InputError where the camera sits on its target or looks straight up or down: upright is then undefined.
    """
    position = np.asarray(position, dtype=np.float64)
    forward = np.broadcast_to(np.asarray(target, dtype=np.float64), position.shape) - position
    distance = np.linalg.norm(forward, axis=1, keepdims=True)
    if (distance < 1e-9).any():
        raise InputError("look_at: expected a target away from the camera, got the camera's own position")
    forward = forward / distance
    right = np.cross(GRAVITY_DOWN, forward)
    level = np.linalg.norm(right, axis=1, keepdims=True)
    if (level < 1e-9).any():
        raise InputError("look_at: expected a direction that is not vertical, got one along gravity")
    right = right / level
    poses = np.tile(np.eye(4), (len(position), 1, 1))
    poses[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], axis=2)
    poses[:, :3, 3] = position
    return poses


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """A camera that does not move: the case without any trajectory."""

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        return _posed(time_s, np.zeros((frames, 3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PureRotation:
    """A tripod pan that eases in and out: rotation without any parallax."""

    pan_deg: float = 60.0
    tilt_deg: float = 5.0

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        ease = _ease(_progress(time_s))
        return _posed(time_s, np.zeros((frames, 3)), self.pan_deg * ease, self.tilt_deg * np.sin(np.pi * ease))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A dolly or car: forward at constant speed, steering in a gentle sine, looking `look_deg` off to a side.

    speed_m_s   negative drives backwards.
    sway_m      half width of the weave; heading follows the path's tangent.
    period_s    one full weave.
    look_deg    the camera turns from 0 to this heading off the direction of travel, eased over the clip.
    """

    speed_m_s: float = 6.0
    sway_m: float = 0.3
    period_s: float = 5.0
    look_deg: float = 0.0

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        omega = 2 * np.pi / self.period_s
        x_m, drift_m_s = self.sway_m * np.sin(omega * time_s), self.sway_m * omega * np.cos(omega * time_s)
        steer_deg = np.degrees(np.arctan2(drift_m_s, abs(self.speed_m_s))) * np.sign(self.speed_m_s)
        heading_deg = steer_deg + self.look_deg * _ease(_progress(time_s))
        return _posed(time_s, _columns(x_m, 0 * time_s, self.speed_m_s * time_s), heading_deg)


@dataclass(frozen=True, slots=True, kw_only=True)
class SCurve:
    """One S on the ground: forward at constant speed, once to the right and once to the left, facing the tangent."""

    speed_m_s: float = 1.0
    sway_m: float = 0.25

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        x_m, z_m, heading_deg = _s_curve(time_s, self.speed_m_s, self.sway_m)
        return _posed(time_s, _columns(x_m, 0 * x_m, z_m), heading_deg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A hand-held walk along an S: the head bobs twice a stride, sways once, and nods and rolls a little.

    bob_m, shake_m  amplitudes of the vertical and sideways motion.   shake_deg  amplitude of pitch, roll and yaw.
    step_hz         steps a second.
    """

    speed_m_s: float = 1.0
    sway_m: float = 0.25
    bob_m: float = 0.02
    shake_m: float = 0.015
    shake_deg: float = 0.5
    step_hz: float = 1.8

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        x_m, z_m, heading_deg = _s_curve(time_s, self.speed_m_s, self.sway_m)
        step, stride = 2 * np.pi * self.step_hz * time_s, np.pi * self.step_hz * time_s
        position = _columns(x_m + self.shake_m * np.sin(stride), -self.bob_m * np.sin(step), z_m)
        heading_deg = heading_deg + self.shake_deg * np.sin(stride + 0.7)
        pitch_deg, roll_deg = self.shake_deg * np.sin(step + 1.1), self.shake_deg * np.sin(stride + 0.3)
        return _posed(time_s, position, heading_deg, pitch_deg, roll_deg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orbit:
    """An arc around a point `radius_m` ahead of the first camera, looking at it.

    arc_deg  positive moves to the right.   rise_m  climb over the clip, metres.
    target_drop_m  the point looked at lies this far below the first camera.
    """

    radius_m: float = 2.0
    arc_deg: float = 60.0
    rise_m: float = 0.0
    target_drop_m: float = 0.0

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        done = _progress(time_s)
        angle = np.radians(self.arc_deg) * done
        position = _columns(
            self.radius_m * np.sin(angle), -self.rise_m * _ease(done), self.radius_m * (1 - np.cos(angle))
        )
        target = np.array([0.0, self.target_drop_m, self.radius_m])
        return SampledPath(world_from_cam=look_at(position, target), time_s=time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spiral:
    """Turns around a point `start_radius_m` ahead while closing in to `end_radius_m` and climbing, looking at it."""

    start_radius_m: float = 2.5
    end_radius_m: float = 1.2
    turns: float = 1.0
    rise_m: float = 0.6

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        done = _progress(time_s)
        angle = 2 * np.pi * self.turns * done
        radius_m = self.start_radius_m + (self.end_radius_m - self.start_radius_m) * done
        position = _columns(
            radius_m * np.sin(angle), -self.rise_m * done, self.start_radius_m - radius_m * np.cos(angle)
        )
        target = np.array([0.0, 0.0, self.start_radius_m])
        return SampledPath(world_from_cam=look_at(position, target), time_s=time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crane:
    """A crane shot: rises by `rise_m` while moving forward, tilting down by `tilt_deg` and panning by `pan_deg`."""

    rise_m: float = 3.0
    forward_m: float = 2.0
    tilt_deg: float = 15.0
    pan_deg: float = 0.0

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        done = _progress(time_s)
        ease = _ease(done)
        position = _columns(0 * done, -self.rise_m * ease, self.forward_m * done)
        return _posed(time_s, position, self.pan_deg * ease, -self.tilt_deg * ease)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elevator:
    """Straight up (negative: down) at constant speed, view direction fixed."""

    speed_m_s: float = 0.5

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        return _posed(time_s, _columns(0 * time_s, -self.speed_m_s * time_s, 0 * time_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class WhipPan:
    """Walks forward and, in the middle of the clip, whips the view round by `pan_deg` within `whip_s` seconds."""

    speed_m_s: float = 0.5
    pan_deg: float = 90.0
    whip_s: float = 0.4

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        start_s = (time_s[-1] - self.whip_s) / 2
        whip = _ease(np.clip((time_s - start_s) / self.whip_s, 0, 1))
        return _posed(time_s, _columns(0 * time_s, 0 * time_s, self.speed_m_s * time_s), self.pan_deg * whip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtrack:
    """Goes `distance_m` forward along a bend and returns the same way: the last pose is the first."""

    distance_m: float = 2.0
    bend_deg: float = 20.0

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        done = _progress(time_s)
        there = np.sin(np.pi * np.minimum(done, 1 - done)) ** 2  # 0 to 1 to 0; the minimum makes it exactly symmetric
        angle = np.radians(self.bend_deg) * there
        # Along a circle of the arc length distance_m: small-angle safe through sinc.
        chord_m = self.distance_m * there * np.sinc(angle / 2 / np.pi)
        return _posed(
            time_s, _columns(chord_m * np.sin(angle / 2), 0 * done, chord_m * np.cos(angle / 2)), np.degrees(angle)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleLoop:
    """Goes round a circle of `radius_m` on the ground twice, looking at a point `ahead_m` beyond its far side.

    The second round revisits every place of the first; the last pose is the first. The circle lies ahead of the first
    camera, which is at its near side.   drop_m  the point looked at lies this far below the cameras.
    """

    radius_m: float = 0.6
    ahead_m: float = 2.5
    drop_m: float = 0.2
    loops: int = 2

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        time_s = _times(frames, fps)
        angle = 2 * np.pi * self.loops * _progress(time_s)
        position = _columns(self.radius_m * np.sin(angle), 0 * angle, self.radius_m * (1 - np.cos(angle)))
        target = np.array([0.0, self.drop_m, 2 * self.radius_m + self.ahead_m])
        return SampledPath(world_from_cam=look_at(position, target), time_s=time_s)


NAMED_PATHS: MappingProxyType[str, CameraPath] = MappingProxyType(
    {
        "backtrack": Backtrack(),
        "crane": Crane(),
        "double_loop": DoubleLoop(),
        "drive": Drive(),
        "elevator": Elevator(),
        "orbit": Orbit(),
        "pure_rotation": PureRotation(),
        "s_curve": SCurve(),
        "spiral": Spiral(),
        "static": Static(),
        "walk": Walk(),
        "whip_pan": WhipPan(),
    }
)
"""Each path at its default size, by the name that commands offer."""


def _times(frames: int, fps: float) -> Array:
    if frames < 1 or not fps > 0:
        raise InputError(f"camera path: expected at least one frame and a positive rate, got {frames} at {fps}")
    return np.arange(frames) / fps


def _progress(time_s: Array) -> Array:
    """0 at the first frame, 1 at the last."""
    return time_s / time_s[-1] if len(time_s) > 1 else np.zeros(1)


def _ease(done: Array) -> Array:
    """Smootherstep (Perlin 2002): speed and acceleration vanish at both ends."""
    return done**3 * (done * (6 * done - 15) + 10)


def _s_curve(time_s: Array, speed_m_s: float, sway_m: float) -> tuple[Array, Array, Array]:
    """x (m), z (m), heading (deg) of one sine period over the clip, forward speed constant."""
    z_m = speed_m_s * time_s
    length_m = max(float(abs(z_m[-1])), 1e-9)
    phase = 2 * np.pi * z_m / length_m
    slope = sway_m * 2 * np.pi / length_m * np.cos(phase)
    return sway_m * np.sin(phase), z_m, np.degrees(np.arctan(slope))


def _columns(x_m: Array, y_m: Array, z_m: Array) -> Array:
    return np.stack([x_m, y_m, z_m], axis=1)


def axis_turn(angle: Array, first: int, second: int) -> Array:
    """Rotation (..., 3, 3) that carries axis `first` towards axis `second` by `angle` rad."""
    angle = np.asarray(angle)
    turn = np.zeros((*angle.shape, 3, 3))
    turn[...] = np.eye(3)
    turn[..., first, first] = turn[..., second, second] = np.cos(angle)
    turn[..., second, first] = np.sin(angle)
    turn[..., first, second] = -np.sin(angle)
    return turn


def _posed(
    time_s: Array,
    position: Array,
    heading_deg: Array | float = 0.0,
    pitch_deg: Array | float = 0.0,
    roll_deg: Array | float = 0.0,
) -> SampledPath:
    angles = [
        np.broadcast_to(np.asarray(a, dtype=np.float64), time_s.shape) for a in (heading_deg, pitch_deg, roll_deg)
    ]
    poses = np.tile(np.eye(4), (len(time_s), 1, 1))
    poses[:, :3, :3] = rotation_from_angles(*angles)
    poses[:, :3, 3] = position
    return SampledPath(world_from_cam=poses, time_s=time_s)
