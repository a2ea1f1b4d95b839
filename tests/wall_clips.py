"""Clips without a renderer: a striped wall, red or blue as the caption says, slides as the camera does."""

import torch

from tests.train_doubles import DrawnBatch

__all__ = ["CAPTIONS", "clips_of"]

CAPTIONS = ("a red wall", "a blue wall")


def clips_of(step: int, count: int, frames: int = 9, height: int = 16, width: int = 16) -> DrawnBatch:
    """A pure function of the step."""
    generator = torch.Generator().manual_seed(step)
    speed = torch.rand(count, generator=generator) * 0.4 - 0.2
    phase = torch.rand(count, generator=generator) * 6.28
    poses = torch.eye(4).repeat(count, frames, 1, 1)
    poses[:, :, 0, 3] = speed[:, None] * torch.arange(frames)
    x = torch.linspace(-0.5, 0.5, width) + poses[:, :, 0, 3, None]
    grey = torch.sin(6.28 * x + phase[:, None, None])[:, :, None, None].expand(-1, -1, 3, height, -1).clone()
    blue = torch.arange(count) % 2 == 1
    grey[~blue, :, 1:] = -1.0
    grey[blue, :, :2] = -1.0
    row = torch.tensor([width, width, width / 2, height / 2], dtype=torch.float32)
    return DrawnBatch(
        video=grey,
        world_from_cam=poses,
        intrinsics=row.repeat(count, frames, 1),
        keys=tuple("abcdefgh"[:count]),
        captions=(CAPTIONS * 4)[:count],
    )
