"""Batches of a small room, rendered small: the tiny recipes' size, without files between."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from tests.train_doubles import DrawnBatch
from wmkit.camera import Intrinsics, invert_rigid
from wmkit.camera_paths import SampledPath, rotation_from_angles
from wmkit.clip import rng_for
from wmkit.worlds import WorldClip
from wmkit.worlds.clips import SmallRoom

__all__ = ["Roam", "WorldBatches"]

SIDE_PX, FINER, FRAMES, FPS = 16, 2, 33, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roam:
    """A camera that drifts through the middle of a room and looks all around, smoothly: a pure function of `seed`."""

    seed: int
    speed_m_s: float = 2.0
    turn_deg_s: float = 60.0

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `wmkit.camera_paths.CameraPath.sample`."""
        rng = rng_for(self.seed, "learn", "wander")
        time_s = np.arange(frames) / fps
        reach_m = np.array([1.1, 0.3, 1.0])  # of the room's 4 x 2.6 x 4.5 m, clear of walls and boxes
        rate = rng.uniform(0.4, 1.0, 3) * self.speed_m_s / (reach_m * math.sqrt(3))
        position = reach_m * np.sin(rate * time_s[:, None] + rng.uniform(0, 2 * np.pi, 3))
        turn = rng.uniform(0.3, 1.0) * self.turn_deg_s * rng.choice([-1, 1])
        sway = rng.uniform(0.2, 0.8)  # rad/s
        phase = rng.uniform(0, 2 * np.pi)
        heading_deg = rng.uniform(0, 360) + turn / sway * (np.sin(sway * time_s + phase) - np.sin(phase))
        pitch_deg = 14 * np.sin(rng.uniform(0.3, 0.9) * time_s + rng.uniform(0, 2 * np.pi))
        poses = np.tile(np.eye(4), (frames, 1, 1))
        poses[:, :3, :3] = rotation_from_angles(heading_deg, pitch_deg, np.zeros(frames))
        poses[:, :3, 3] = position
        return SampledPath(world_from_cam=poses, time_s=time_s)


@dataclass(frozen=True)
class WorldBatches:
    """Crops of `frames` frames out of clips `first` ... `first + clips - 1`: a pure function of the step."""

    first: int = 0
    clips: int = 24
    frames: int = 9
    count: int = 8

    def __call__(self, step: int) -> DrawnBatch:
        rng = np.random.default_rng((self.first, step))
        numbers = rng.integers(self.first, self.first + self.clips, self.count)
        begins = rng.integers(0, FRAMES - self.frames + 1, self.count)
        crops = [slice(begin, begin + self.frames) for begin in begins]
        rendered = [_rendered(int(number)) for number in numbers]
        poses = [clip[1][crop] for clip, crop in zip(rendered, crops, strict=True)]
        relative = np.stack([invert_rigid(path[:1]) @ path for path in poses])
        row = torch.tensor(_camera(SIDE_PX).row, dtype=torch.float32)
        return DrawnBatch(
            video=torch.stack([clip[0][crop] for clip, crop in zip(rendered, crops, strict=True)]),
            world_from_cam=torch.from_numpy(relative).float(),
            intrinsics=row.expand(self.count, self.frames, 4),
            keys=tuple(str(number) for number in numbers),
            captions=("a room",) * self.count,
        )


def _camera(side_px: int) -> Intrinsics:
    return Intrinsics.from_fov(80.0, side_px, side_px)


@cache
def _rendered(number: int) -> tuple[Tensor, np.ndarray]:
    """Frames (N, 3, 16, 16) in [-1, 1], each px the mean of four, and their cameras."""
    clip = WorldClip(
        name=f"wander_{number}",
        scene=SmallRoom(),
        path=Roam(seed=number),
        position=(0.0, -1.6, 0.8),
        intrinsics=_camera(SIDE_PX * FINER),
        frames=FRAMES,
        fps=FPS,
    )
    rgb = np.stack([frame.rgb for frame in clip.render("numpy")]).astype(np.float32)
    mean = rgb.reshape(FRAMES, SIDE_PX, FINER, SIDE_PX, FINER, 3).mean(axis=(2, 4))
    return torch.from_numpy(mean / 127.5 - 1).permute(0, 3, 1, 2), clip.sampled.world_from_cam
