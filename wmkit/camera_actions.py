"""Keyboard action strings of `wmkit sample`, rolled out to camera paths. numpy only.

The same string moves the camera differently in every public program, so a mapping from keys to motion has a name and a
version (`ACTION_MAPS`), and what it means is said when it is used (`ActionConfig.describe`). World and camera axes are
those of `camera_paths`: metres, x right, y down, z forward.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import numpy as np

from wmkit.camera import Array, invert_rigid
from wmkit.camera_paths import SampledPath, axis_turn
from wmkit.errors import InputError

__all__ = [
    "ACTION_MAPS",
    "KEYS",
    "ActionConfig",
    "action_keys",
    "action_map",
    "action_path",
    "actions_of",
    "implied_keys",
]

KEYS = "wasdijkl"
FORWARD, RIGHT, YAW, PITCH = range(4)  # velocity components: forward, strafe right, yaw right, pitch up
MOVE_AND_TURN = (("w", "s", FORWARD), ("i", "k", PITCH))
VERBS = {FORWARD: "move forward/back", RIGHT: "strafe right/left", YAW: "yaw right/left", PITCH: "pitch up/down"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionConfig:
    """How keys become motion; the defaults are `sana-v2`.

    pairs            (key, opposite key, component) of each degree of freedom: forward, strafe, yaw, pitch.
    step_m           metres a frame at full speed.
    turn_deg         degrees a frame at full speed.
    pitch_limit_deg  pitch saturates here.
    press_s, coast_s time constants of the exponential approach to the asked velocity and of coming to rest; 0: at once.
    strafe_yaw       share of the full turn that strafing adds.
    fps              frames a second of the result; the step sizes do not change with it.
    """

    pairs: tuple[tuple[str, str, int], ...] = (*MOVE_AND_TURN, ("d", "a", YAW), ("l", "j", RIGHT))
    step_m: float = 0.025
    turn_deg: float = 0.6
    pitch_limit_deg: float = 60.0
    press_s: float = 0.45
    coast_s: float = 1.0
    strafe_yaw: float = 0.0
    fps: float = 16.0

    def velocity(self, keys: frozenset[str]) -> np.ndarray:
        """(4,) asked velocity of these keys: forward and right in m a frame, yaw and pitch in rad a frame."""
        asked = np.zeros(4)
        for plus, minus, component in self.pairs:
            asked[component] = (plus in keys) - (minus in keys)
        asked[YAW] += self.strafe_yaw * asked[RIGHT]
        return asked * np.array([self.step_m, self.step_m, np.radians(self.turn_deg), np.radians(self.turn_deg)])

    def describe(self) -> str:
        """What the keys mean, in one line."""
        keys = ", ".join(f"{plus}/{minus} {VERBS[component]}" for plus, minus, component in self.pairs)
        coupled = f" with {self.strafe_yaw:g} of the turn" if self.strafe_yaw else ""
        eased = "eased" if self.press_s or self.coast_s else "at once"
        return f"{keys}{coupled}; {self.step_m * self.fps:g} m/s, {self.turn_deg * self.fps:g} deg/s, {eased}"


IMPLIED, STILL = 0.25, 1e-6  # of the fastest; trajectory units or radians a frame, below which nothing moves
STRAFE_BY_AD = (*MOVE_AND_TURN, ("d", "a", RIGHT), ("l", "j", YAW))

ACTION_MAPS: MappingProxyType[str, ActionConfig] = MappingProxyType(
    {
        "sana-v2": ActionConfig(),
        "sana-v1": ActionConfig(
            pairs=STRAFE_BY_AD, step_m=0.05, turn_deg=1.2, pitch_limit_deg=85.0, press_s=0.0, coast_s=0.0
        ),
        "sglang": ActionConfig(
            pairs=STRAFE_BY_AD,
            step_m=0.04,
            turn_deg=1.2,
            pitch_limit_deg=85.0,
            press_s=0.0,
            coast_s=0.0,
            strafe_yaw=0.4,
        ),
    }
)
"""By name: sana-v2 is NVlabs/Sana's current `inference_video_scripts/camera_control.py` (Apache-2.0), sana-v1 its first
release and diffusers 0.42.1, sglang SGLang's port (as `reference/model-training-sampling.md`, section g, gives it)."""


def action_map(name: str) -> ActionConfig:
    """The mapping of that name; InputError lists those there are."""
    if name not in ACTION_MAPS:
        raise InputError(f"--action-map: expected one of {', '.join(ACTION_MAPS)}, got {name!r}")
    return ACTION_MAPS[name]


def action_path(actions: str, config: ActionConfig | None = None) -> SampledPath:
    """Roll an action string such as ``w-40,dw-20,none-8`` out to its poses: one more than its frames, from identity.

    A segment is keys (of w a s d i j k l; `none` for no key), a dash and a positive number of frames; commas join
    segments, spaces and case do not matter. When a key goes down that was not held in the frame before, the velocity
    snaps to the asked one; otherwise it approaches it exponentially. Translation stays on the horizontal plane.

    Raises InputError that names the bad segment.
    """
    config = config or ActionConfig()
    velocity, held = np.zeros(4), frozenset[str]()
    heading, pitch = 0.0, 0.0
    limit = np.radians(config.pitch_limit_deg)
    poses = [np.eye(4)]
    for keys in action_keys(actions):
        target = config.velocity(keys)
        tau_s = np.where(np.abs(target) > 0, config.press_s, config.coast_s)
        gain = np.where(tau_s > 0, 1 - np.exp(-1 / config.fps / np.maximum(tau_s, 1e-9)), 1.0)
        velocity = target if keys - held else velocity + gain * (target - velocity)
        held = keys
        heading += velocity[YAW]
        pitch = float(np.clip(pitch + velocity[PITCH], -limit, limit))
        pose = np.eye(4)
        pose[:3, :3] = axis_turn(np.array(heading), 2, 0) @ axis_turn(np.array(pitch), 1, 2)
        forward = np.array([np.sin(heading), 0.0, np.cos(heading)])
        right = np.array([np.cos(heading), 0.0, -np.sin(heading)])
        pose[:3, 3] = poses[-1][:3, 3] + velocity[FORWARD] * forward + velocity[RIGHT] * right
        poses.append(pose)
    return SampledPath(world_from_cam=np.stack(poses), time_s=np.arange(len(poses)) / config.fps)


def action_keys(actions: str) -> tuple[frozenset[str], ...]:
    """Keys held in each frame of an action string; InputError that names the bad segment."""
    segments = "".join(actions.replace("，", ",").split()).lower()
    held: list[frozenset[str]] = []
    for segment in segments.split(","):
        match = re.fullmatch(rf"(none|[{KEYS}]+)-([0-9]{{1,6}})", segment)
        if match is None or int(match[2]) == 0:
            raise InputError(
                f"action {segment!r}: expected keys from {' '.join(KEYS)} (or 'none'), a dash and a positive number of "
                "frames, such as 'w-40' or 'dw-20'"
            )
        held += [frozenset(() if match[1] == "none" else match[1])] * int(match[2])
    return tuple(held)


def actions_of(keys: Iterable[frozenset[str]]) -> str:
    """The action string of the keys held in each frame: the inverse of `action_keys`; "" of none at all."""
    runs = [(held, len(list(run))) for held, run in groupby(keys)]
    return ",".join(f"{''.join(sorted(held, key=KEYS.index)) or 'none'}-{frames}" for held, frames in runs)


def implied_keys(world_from_cam: Array, config: ActionConfig | None = None) -> tuple[frozenset[str], ...]:
    """Keys whose motion takes each of N cameras (N, 4, 4) to the next: N - 1 sets.

    A key is down where its component, in the camera's own axes, is at least a quarter of the path's fastest step
    (forward, strafe) or turn (yaw, pitch). Roll and rise have no key. A camera that stands still presses none.
    """
    config = config or ActionConfig()
    relative = invert_rigid(world_from_cam[:-1]) @ world_from_cam[1:]
    ahead = relative[:, :3, 2]
    velocity = np.zeros((len(relative), 4))
    velocity[:, FORWARD], velocity[:, RIGHT] = relative[:, 2, 3], relative[:, 0, 3]
    velocity[:, YAW] = np.arctan2(ahead[:, 0], ahead[:, 2])
    velocity[:, PITCH] = np.arcsin(np.clip(-ahead[:, 1], -1, 1))
    pressed: list[set[str]] = [set() for _ in relative]
    for group in ((FORWARD, RIGHT), (YAW, PITCH)):
        least = max(IMPLIED * float(np.abs(velocity[:, group]).max(initial=0.0)), STILL)
        for plus, minus, component in config.pairs:
            if component in group:
                for frame, speed in enumerate(velocity[:, component]):
                    if abs(speed) >= least:
                        pressed[frame].add(plus if speed > 0 else minus)
    return tuple(frozenset(keys) for keys in pressed)
