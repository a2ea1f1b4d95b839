"""Frames that other processes of a clip hold: all of them, or those next to one's own, with gradients.

Every rank of the group has to call, and all of them with gradients or none: forward gathers, backward reduces.
"""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as nnf

from wmkit.model.ops.frame_gdn.context_parallel import FrameShards

__all__ = ["all_frames", "with_neighbours"]


def all_frames(x: Tensor, shards: FrameShards, dim: int) -> Tensor:
    """The clip's frames along `dim`, of which `x` holds this rank's."""
    x = x.movedim(dim, 0)
    padded = _padded(x, max(shards.frames))
    parts = _Gather.apply(padded, shards).unbind(0)
    return torch.cat([part[:count] for part, count in zip(parts, shards.frames, strict=True)]).movedim(0, dim)


def with_neighbours(x_BT: Tensor, shards: FrameShards, count: int) -> tuple[Tensor, int]:
    """This rank's frames (B, T, ...) between up to `count` of the clip's before and after; how many are before."""
    x = x_BT.movedim(1, 0)
    few = min(count, len(x))
    edges = torch.cat([_padded(x[:few], count), _padded(x[len(x) - few :], count)])
    heads_and_tails = _Gather.apply(edges, shards).unbind(0)
    held = [min(count, frames) for frames in shards.frames]
    tails = [part[count : count + few] for part, few in zip(heads_and_tails, held, strict=True)]
    heads = [part[:few] for part, few in zip(heads_and_tails, held, strict=True)]
    rank = shards.rank
    before = torch.cat([x[:0], *tails[:rank]])
    before = before[max(len(before) - count, 0) :]
    after = torch.cat([x[:0], *heads[rank + 1 :]])[:count]
    return torch.cat([before, x, after]).movedim(0, 1), len(before)


def _padded(x: Tensor, frames: int) -> Tensor:
    """`x` (t, ...) with zeros behind it, `frames` in all."""
    return nnf.pad(x, (0, 0) * (x.ndim - 1) + (0, frames - len(x)))


class _Gather(torch.autograd.Function):
    """The same tensor of every rank, stacked; a gradient is the sum of what all ranks have to say of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shards: FrameShards) -> Tensor:
        ctx.shards = shards
        x = x.contiguous()
        gathered = [torch.empty_like(x) for _ in shards.frames]
        dist.all_gather(gathered, x, group=shards.group)
        return torch.stack(gathered)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        grad = grad.contiguous()
        dist.all_reduce(grad, group=ctx.shards.group)
        return grad[ctx.shards.rank], None
