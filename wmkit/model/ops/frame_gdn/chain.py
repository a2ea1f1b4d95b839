"""The serial heart of the op: state_{j+1} = link_j @ state_j + value_{j+1}, or the same from the last frame back.

Two ways to the same states, neither recorded for gradients (`states.py` has those): one product a frame, or frames
in blocks, whose local scans run side by side and are joined by one product a block. Blocks cost three times the
arithmetic for a sqrt(T)-th of the steps: for devices where a step's latency is the cost.
Shapes: N batch times heads, T frames, D key channels, E value channels, C = T - 1 links between neighbours.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Chain", "block_chain", "serial_chain"]

# links, values, for every link whether it is cut, whether time runs backwards
Chain = Callable[[Tensor, Tensor, tuple[bool, ...], bool], Tensor]


def serial_chain(
    link_NCDD: Float[Tensor, "N C D D"],
    value_NTDE: Float[Tensor, "N T D E"],
    cut: tuple[bool, ...],
    reverse: bool,
) -> Float[Tensor, "N T D E"]:
    """State at every frame, one step a frame; across a cut link nothing passes."""
    if value_NTDE.shape[-1] == 1:
        # A matrix times a column takes CPUs many times longer than a row times a matrix.
        return _serial(lambda value, link, state: torch.baddbmm(value, state, link.mT), link_NCDD, value_NTDE.mT, cut,
                       reverse).mT  # fmt: skip
    return _serial(torch.baddbmm, link_NCDD, value_NTDE, cut, reverse)


def _serial(
    step: Callable[[Tensor, Tensor, Tensor], Tensor], link: Tensor, value: Tensor, cut: tuple[bool, ...], reverse: bool
) -> Tensor:
    links, values = link.unbind(1), list(value.unbind(1))
    for j in reversed(range(len(links))) if reverse else range(len(links)):
        before, after = (j + 1, j) if reverse else (j, j + 1)
        if not cut[j]:
            values[after] = step(values[after], links[j], values[before])
    return torch.stack(values, dim=1)


def block_chain(
    link_NCDD: Float[Tensor, "N C D D"],
    value_NTDE: Float[Tensor, "N T D E"],
    cut: tuple[bool, ...],
    reverse: bool,
) -> Float[Tensor, "N T D E"]:
    """The states of `serial_chain` in about 2 sqrt(T) steps: blocks of sqrt(T) frames, each with its own transition."""
    N, T, D, E = value_NTDE.shape
    # A frame's own transition; the first has none, and neither have the frames that fill the last block.
    length = max(1, math.isqrt(T))
    blocks = -(-T // length)
    move = link_NCDD.new_zeros(N, blocks * length, D, D)
    value = value_NTDE.new_zeros(N, blocks * length, D, E)
    move[:, 1:T] = link_NCDD.flip(1) if reverse else link_NCDD
    for j, closed in enumerate(cut):
        if closed:
            move[:, T - 1 - j if reverse else j + 1] = 0
    value[:, :T] = value_NTDE.flip(1) if reverse else value_NTDE
    move, value = move.unflatten(1, (blocks, length)), value.unflatten(1, (blocks, length))
    # [state from nothing | product of the transitions] grow side by side.
    both = torch.cat([value[:, :, 0], move[:, :, 0]], dim=-1)
    local = [both]
    for i in range(1, length):
        both = move[:, :, i] @ both
        both[..., :E] += value[:, :, i]
        local.append(both)
    state = value.new_zeros(N, D, E)
    starts = []
    for b in range(blocks):
        starts.append(state)
        state = local[-1][:, b, :, :E] + local[-1][:, b, :, E:] @ state
    stacked = torch.stack(local, dim=2)
    joined = stacked[..., :E] + stacked[..., E:] @ torch.stack(starts, dim=1)[:, :, None]
    joined = joined.flatten(1, 2)[:, :T]
    return joined.flip(1) if reverse else joined
