"""The parts of the op that see tokens, on torch alone: what a frame writes, and what its queries read.

A frame's transition has rank min(S, D), which is D for any real picture, so the D x D matrix is built once a frame
and the only serial work left is T products of D x D a direction, independent of the number of tokens.
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["FrameWrites", "frame_transitions", "frame_writes", "read_state"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameWrites:
    """What a frame does to any state: state -> transition @ state + update."""

    transition: Float[Tensor, "B H T D D"]
    update: Float[Tensor, "B H T D E"]


def frame_transitions(
    k_BHTSD: Float[Tensor, "B H T S D"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> Float[Tensor, "B H T D D"]:
    """M_t = g_t (I - K_tᵀ diag(beta_t) K_t), symmetric; its norm is at most g_t while tr(K beta Kᵀ) <= 1 (Eq. 5)."""
    return _transition((k_BHTSD * beta_BHTS[..., None]).mT @ k_BHTSD, decay_BHT)


def frame_writes(
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"] | None,
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> FrameWrites:
    """Transition and update of every frame; `v_BHTSE` None stands for values of 1, the normaliser's (E = 1)."""
    weighted_BHTSD = k_BHTSD * beta_BHTS[..., None]
    if v_BHTSE is None:
        update_BHTDE = weighted_BHTSD.sum(dim=-2)[..., None]
    else:
        update_BHTDE = weighted_BHTSD.mT @ v_BHTSE
    return FrameWrites(transition=_transition(weighted_BHTSD.mT @ k_BHTSD, decay_BHT), update=update_BHTDE)


def read_state(
    q_BHTSD: Float[Tensor, "B H T S D"], state_BHTDE: Float[Tensor, "B H T D E"]
) -> Float[Tensor, "B H T S E"]:
    """q @ state; a single column goes by rows, since CPUs are slow with a matrix times a column."""
    if state_BHTDE.shape[-1] == 1:
        return (q_BHTSD * state_BHTDE.mT).sum(dim=-1, keepdim=True)
    return q_BHTSD @ state_BHTDE


def _transition(written_BHTDD: Tensor, decay_BHT: Tensor) -> Tensor:
    eye_DD = torch.eye(written_BHTDD.shape[-1], dtype=written_BHTDD.dtype, device=written_BHTDD.device)
    return decay_BHT[..., None, None] * (eye_DD - written_BHTDD)
