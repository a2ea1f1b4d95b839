"""One clip over several processes: each holds some of its frames, and the op's result is that of one process.

SANA-WM (arXiv 2605.15178) Eq. 12-13. A rank's frames act on any state as one affine map: C, the product of their
transitions, and H, the state they leave from nothing. Ranks exchange these D x D summaries once, of both directions
and both streams, and fold those of the ranks before (and after) them into the exact states at their own edges.
Exact, also in gradients: backward exchanges once more. Every rank of the group has to call, with gradients on all of
them or on none. Works on any backend of torch.distributed that gathers and reduces, gloo on CPUs included.
Shapes: N batch times heads, R ranks, T frames of this rank, D key channels, E value channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch import distributed as dist

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn.layout import ChunkLayout
from wmkit.model.ops.frame_gdn.op import normalise, outside_autocast
from wmkit.model.ops.frame_gdn.paths import Backend, GdnPath, choose_backend, path_of
from wmkit.model.ops.frame_gdn.states import read_states
from wmkit.model.ops.frame_gdn.tokens import read_state

__all__ = ["FrameShards", "parallel_frame_gdn", "parallel_read"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameShards:
    """Which rank holds which frames: `frames[r]` of them, in the order of the ranks of `group` (None: all ranks).

    Raises ConfigError unless there is a count for every rank, and at least one frame each.
    """

    frames: tuple[int, ...]
    group: dist.ProcessGroup | None = None

    def __post_init__(self) -> None:
        ranks = dist.get_world_size(self.group)
        if len(self.frames) != ranks or min(self.frames) < 1:
            raise ConfigError(f"context parallel: expected {ranks} counts of at least one frame, got {self.frames}")

    @property
    def rank(self) -> int:
        """This process's place in the group."""
        return dist.get_rank(self.group)

    @property
    def start(self) -> int:
        """The clip's frame that this process's first one is."""
        return sum(self.frames[: self.rank])

    @property
    def total(self) -> int:
        """Frames of the clip."""
        return sum(self.frames)

    def ends(self, layout: ChunkLayout | None) -> tuple[tuple[bool, ...], ...]:
        """Each rank's part of the clip's chunk ends; None is one chunk."""
        layout = ChunkLayout.whole(self.total) if layout is None else layout
        if layout.total != self.total:
            raise ConfigError(f"context parallel: expected chunks of {self.total} frames, got {layout.total}")
        starts = [sum(self.frames[:r]) for r in range(len(self.frames))]
        return tuple(layout.ends[start : start + count] for start, count in zip(starts, self.frames, strict=True))


def parallel_frame_gdn(
    rotated: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    plain: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    gates: tuple[Float[Tensor, "B H T S"], Float[Tensor, "B H T"]],
    shards: FrameShards,
    *,
    layout: ChunkLayout | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "B H T S E"]:
    """`frame_gdn` of this rank's frames within the clip; `gates` are beta and decay, `layout` is the whole clip's."""
    streams = [(*rotated, v_BHTSE), (*plain, None)]
    numerator, denominator = _parallel(streams, gates, shards, layout, backend)
    return normalise(numerator, denominator).to(v_BHTSE.dtype)


def parallel_read(
    queries_and_keys: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    gates: tuple[Float[Tensor, "B H T S"], Float[Tensor, "B H T"]],
    shards: FrameShards,
    *,
    layout: ChunkLayout | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "B H T S E"]:
    """`bidirectional_read` of this rank's frames within the clip."""
    return _parallel([(*queries_and_keys, v_BHTSE)], gates, shards, layout, backend)[0].to(v_BHTSE.dtype)


def _parallel(
    streams: Sequence[tuple[Tensor, Tensor, Tensor | None]],
    gates: tuple[Tensor, Tensor],
    shards: FrameShards,
    layout: ChunkLayout | None,
    backend: Backend,
) -> list[Tensor]:
    """The reads of each stream (q, k, v)."""
    first = streams[0][0]
    ends = shards.ends(layout)
    if first.shape[2] != shards.frames[shards.rank]:
        raise ConfigError(
            f"context parallel: expected {shards.frames[shards.rank]} frames on rank {shards.rank}, "
            f"got {first.shape[2]}"
        )
    path = path_of(choose_backend(backend, first))
    with outside_autocast(first):
        prepared = [path.prepared(q, k, v, gates) for q, k, v in streams]
        summaries = [_summary(transition, update, ends[shards.rank], path) for _, transition, update in prepared]
        widths = [update.shape[-1] for _, _, update in prepared]
        edges = _Exchange.apply(torch.cat(summaries, dim=-1), shards, ends, tuple(widths))
        reads = []
        for (q, transition, update), edge in zip(prepared, edges, strict=True):
            past, future = edge.chunk(2, dim=-1)
            states, _, _ = read_states(transition, update, (past, future), ends[shards.rank], path.chain)
            reads.append(read_state(q, states.unflatten(0, q.shape[:2]), path.products))
    return reads


def _summary(transition: Tensor, update: Tensor, ends: tuple[bool, ...], path: GdnPath) -> Tensor:
    """[H of the past | H of the future | C], (N, D, 2 E + D): the states left from nothing, and the product."""
    N, T, D, E = update.shape
    eye = torch.eye(D, dtype=update.dtype, device=update.device).expand(N, D, D)
    # C is the state that the identity becomes: further columns of the same chain.
    wide = torch.cat([update, update.new_zeros(N, T, D, D)], dim=-1)
    start = torch.cat([update.new_zeros(N, D, E), eye], dim=-1)
    _, past, future = read_states(transition, wide, (start, None), ends, path.chain)
    return torch.cat([past[..., :E], future[..., :E], past[..., E:]], dim=-1)


class _Exchange(torch.autograd.Function):
    """This rank's summaries to the states at its edges, [past | future] a stream.

    One function from end to end, so that every rank's backward takes part in the exchange, whatever it read.
    """

    @staticmethod
    def forward(
        ctx: Any, summary: Tensor, shards: FrameShards, ends: tuple[tuple[bool, ...], ...], widths: tuple[int, ...]
    ) -> tuple[Tensor, ...]:
        summary = summary.contiguous()
        gathered = [torch.empty_like(summary) for _ in shards.frames]
        dist.all_gather(gathered, summary, group=shards.group)
        stacked = torch.stack(gathered)
        ctx.save_for_backward(stacked)
        ctx.shards, ctx.ends, ctx.widths = shards, ends, widths
        return _edges(stacked, shards.rank, ends, widths)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (stacked,) = ctx.saved_tensors
        shards: FrameShards = ctx.shards
        with torch.enable_grad():
            leaf = stacked.detach().requires_grad_()
            edges = _edges(leaf, shards.rank, ctx.ends, ctx.widths)
            (of_all,) = torch.autograd.grad(edges, leaf, grads)
        dist.all_reduce(of_all, group=shards.group)
        return of_all[shards.rank], None, None, None


def _edges(
    summary_RNDX: Tensor, rank: int, ends: tuple[tuple[bool, ...], ...], widths: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Exclusive prefix of the ranks before, and suffix of the ranks after, for each stream."""
    D = summary_RNDX.shape[2]
    edges = []
    for stream in summary_RNDX.split([2 * width + D for width in widths], dim=-1):
        width = (stream.shape[-1] - D) // 2
        left_past, left_future, product = stream.split([width, width, D], dim=-1)
        past = future = 0 * left_past[rank]  # of every rank, so that each has a gradient to give
        for r in range(rank):
            past = product[r] @ past + left_past[r]
        for r in reversed(range(rank + 1, len(ends))):
            # Transitions are symmetric, so their product in reversed order is the transposed one.
            future = left_future[r] if any(ends[r]) else product[r].mT @ future + left_future[r]
        edges.append(torch.cat([past, future], dim=-1))
    return tuple(edges)
