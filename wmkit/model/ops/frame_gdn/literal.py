"""The frame-wise gated delta rule, written as the equation reads: the specification of every faster twin.

SANA-WM (arXiv 2605.15178) Eq. 3, transposed so that the state multiplies from the left and reads with q @ state:

    state_t = g_t (I - K_tᵀ diag(beta_t) K_t) state_{t-1} + K_tᵀ diag(beta_t) V_t

All S tokens of a frame act at once on the state before that frame (Jacobi, not token after token).
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.ops.frame_gdn.layout import ChunkLayout

__all__ = ["frame_states_literal", "read_literal"]


def frame_states_literal(
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    past_BHDE: Float[Tensor, "B H D E"] | None = None,
) -> Float[Tensor, "B H T D E"]:
    """State after every frame, the frame's own update included, from `past_BHDE` or from nothing."""
    B, H, T, _, D = k_BHTSD.shape
    state_BHDE = k_BHTSD.new_zeros(B, H, D, v_BHTSE.shape[-1]) if past_BHDE is None else past_BHDE
    states = []
    for t in range(T):
        state_BHDE = _after(state_BHDE, k_BHTSD[:, :, t], v_BHTSE[:, :, t], beta_BHTS[:, :, t], decay_BHT[:, :, t])
        states.append(state_BHDE)
    return torch.stack(states, dim=2)


def read_literal(
    q_BHTSD: Float[Tensor, "B H T S D"],
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    past_BHDE: Float[Tensor, "B H D E"] | None,
    layout: ChunkLayout,
) -> tuple[Float[Tensor, "B H T S E"], Float[Tensor, "B H D E"]]:
    """q @ state of the past and this frame, plus q @ state of the later frames of its chunk; and the last past."""
    past_BHTDE = frame_states_literal(k_BHTSD, v_BHTSE, beta_BHTS, decay_BHT, past_BHDE)
    nothing_BHDE = torch.zeros_like(past_BHTDE[:, :, 0])
    reads = []
    state_BHDE = nothing_BHDE
    for t in reversed(range(layout.total)):
        if layout.ends[t]:
            state_BHDE = nothing_BHDE
        reads.append(q_BHTSD[:, :, t] @ past_BHTDE[:, :, t] + q_BHTSD[:, :, t] @ state_BHDE)
        state_BHDE = _after(state_BHDE, k_BHTSD[:, :, t], v_BHTSE[:, :, t], beta_BHTS[:, :, t], decay_BHT[:, :, t])
    return torch.stack(reads[::-1], dim=2), past_BHTDE[:, :, -1]


def _after(state_BHDE: Tensor, k_BHSD: Tensor, v_BHSE: Tensor, beta_BHS: Tensor, decay_BH: Tensor) -> Tensor:
    """What each token would read is compared with its value, and the difference is written."""
    decayed_BHDE = decay_BH[..., None, None] * state_BHDE
    wrong_BHSE = v_BHSE - k_BHSD @ decayed_BHDE
    return decayed_BHDE + k_BHSD.mT @ (beta_BHS[..., None] * wrong_BHSE)
