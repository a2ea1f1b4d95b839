"""From the writes of every frame to the state every frame reads, both directions of time, with gradients.

The past runs forward and includes the frame itself; the future runs backward, excludes it and starts anew at every
chunk's end. The gradient is the same recurrence once more, on transposed transitions and with time turned round, so
each direction costs one chain forward and one backward, and all D x D gradients are one batched product.
Shapes: N batch times heads, T frames, D key channels, E value channels.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.ops.frame_gdn.chain import Chain

__all__ = ["read_states"]


def read_states(
    transition_NTDD: Float[Tensor, "N T D D"],
    update_NTDE: Float[Tensor, "N T D E"],
    edges: tuple[Float[Tensor, "N D E"] | None, Float[Tensor, "N D E"] | None],
    ends: tuple[bool, ...],
    chain: Chain,
) -> tuple[Float[Tensor, "N T D E"], Float[Tensor, "N D E"], Float[Tensor, "N D E"]]:
    """(past + future state of every frame, past state after the last frame, future state before the first).

    `edges`: the past state that comes in at the first frame and the future state that comes in at the last, None for
    nothing. `ends[t]` says that frame t sees no later frame; the future's edge passes only where the last is no end.
    """
    return _ReadStates.apply(transition_NTDD, update_NTDE, *edges, ends, chain)  # type: ignore[no-any-return]


class _ReadStates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        transition: Tensor,
        update: Tensor,
        past: Tensor | None,
        future: Tensor | None,
        ends: tuple[bool, ...],
        chain: Chain,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if ends[-1]:
            future = None
        whole = (False,) * (len(ends) - 1)
        up_to = chain(transition[:, 1:], _edge_added(update, transition, past, 0), whole, False)
        from_on = chain(transition[:, :-1], _edge_added(update, transition, future, -1), ends[:-1], True)
        nothing = torch.zeros_like(update[:, :1])
        before = torch.cat([nothing if past is None else past[:, None], up_to[:, :-1]], dim=1)
        after = torch.cat([from_on[:, 1:], nothing if future is None else future[:, None]], dim=1)
        after = _zero_at(after, ends)
        ctx.save_for_backward(transition, before, after)
        ctx.ends, ctx.chain = ends, chain
        ctx.has_past, ctx.has_future = past is not None, future is not None
        return up_to + after, up_to[:, -1].clone(), from_on[:, 0].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        transition, before, after = ctx.saved_tensors
        of_read, of_past_out, of_future_out = grads
        ends, chain, turned = ctx.ends, ctx.chain, transition.mT
        whole = (False,) * (len(ends) - 1)
        of_up_to = torch.cat([of_read[:, :-1], (of_read[:, -1] + of_past_out)[:, None]], dim=1)
        of_up_to = chain(turned[:, 1:], of_up_to, whole, True)
        of_from_on = _zero_at(of_read, ends)
        of_from_on = torch.cat([of_future_out[:, None], of_from_on[:, :-1]], dim=1)
        of_from_on = chain(turned[:, :-1], of_from_on, ends[:-1], False)
        of_transition = torch.cat([of_up_to, of_from_on], -1) @ torch.cat([before, after], -1).mT
        of_past = turned[:, 0] @ of_up_to[:, 0] if ctx.has_past else None
        of_future = of_read[:, -1] + turned[:, -1] @ of_from_on[:, -1] if ctx.has_future else None
        return of_transition, of_up_to + of_from_on, of_past, of_future, None, None


def _edge_added(update: Tensor, transition: Tensor, edge: Tensor | None, frame: int) -> Tensor:
    """`update` with what the edge's state becomes in the frame that it enters."""
    if edge is None:
        return update
    update = update.clone()
    update[:, frame] += transition[:, frame] @ edge
    return update


def _zero_at(x: Tensor, ends: tuple[bool, ...]) -> Tensor:
    """`x` without the frames that see no later one; without an index tensor, which a GPU would have to wait for."""
    if all(ends):
        return torch.zeros_like(x)
    x = x.clone()
    for t, end in enumerate(ends):
        if end:
            x[:, t] = 0
    return x
