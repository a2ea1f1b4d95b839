"""Rotary position embedding over frame, row and column, in the layout of Wan and the released SANA-WM.

A head's D channels are D/2 interleaved pairs: first the pairs that turn with the frame index, then rows, then
columns; each band has its own geometric ladder of frequencies. Positions count latent cells from 0.
Shapes: T frames, S = h w tokens a frame, P pairs, D channels of a head.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.rays import LatentGrid

__all__ = ["rope_angles", "rope_bands", "rotate_pairs"]


def rope_bands(channels: int) -> tuple[int, int, int]:
    """Pairs that turn with frame, row and column: 112 channels -> (20, 18, 18)."""
    spatial = channels // 6
    return channels // 2 - 2 * spatial, spatial, spatial


def rope_angles(grid: LatentGrid, head_dim: int, theta: float, keep: int | None = None) -> Float[Tensor, "T S P"]:
    """Angle of every pair at every token in radians, float64.

    `keep` channels (fewer than `head_dim`) are served by the front of each of the head's bands, as the camera
    branch does: its 56 channels turn with the first 10, 9 and 9 of the main head's 20, 18 and 18 frequencies.
    """
    kept = rope_bands(head_dim if keep is None else keep)
    positions = [torch.arange(n, dtype=torch.float64) for n in (grid.frames, grid.rows, grid.columns)]
    positions[0][1:] += grid.skipped
    bands = []
    for axis, (pairs, count) in enumerate(zip(rope_bands(head_dim), kept, strict=True)):
        frequency = (theta ** (-torch.arange(pairs, dtype=torch.float64) / max(pairs, 1)))[:count]
        shape = [1, 1, 1, count]
        shape[axis] = len(positions[axis])
        angles = (positions[axis][:, None] * frequency).view(shape)
        bands.append(angles.expand(grid.frames, grid.rows, grid.columns, count))
    return torch.cat(bands, dim=-1).flatten(1, 2)


def rotate_pairs(x: Float[Tensor, "*lead D"], angles: Float[Tensor, "*angle P"]) -> Float[Tensor, "*lead D"]:
    """Each pair (x[2i], x[2i+1]) turned by its angle; `angles` broadcast against the leading axes of `x`."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
