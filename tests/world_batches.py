"""Batches of the room of `make learn`, rendered small: the tiny recipes' size, without files between."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from tests.train_doubles import DrawnBatch
from wmkit.camera import Intrinsics, invert_rigid
from wmkit.demo.learn import Wander
from wmkit.worlds import WorldClip
from wmkit.worlds.clips import SmallRoom

__all__ = ["WorldBatches"]

SIDE_PX, FINER, FRAMES, FPS = 16, 2, 33, 4.0


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
        path=Wander(seed=number),
        position=(0.0, -1.6, 0.8),
        intrinsics=_camera(SIDE_PX * FINER),
        frames=FRAMES,
        fps=FPS,
    )
    rgb = np.stack([frame.rgb for frame in clip.render("numpy")]).astype(np.float32)
    mean = rgb.reshape(FRAMES, SIDE_PX, FINER, SIDE_PX, FINER, 3).mean(axis=(2, 4))
    return torch.from_numpy(mean / 127.5 - 1).permute(0, 3, 1, 2), clip.sampled.world_from_cam
