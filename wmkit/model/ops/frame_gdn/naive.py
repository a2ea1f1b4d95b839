"""The frame-wise gated delta rule, written as the equation reads: the specification of every faster twin.

SANA-WM (arXiv 2605.15178) Eq. 3, transposed so that the state multiplies from the left and reads with q @ state:

    state_t = g_t (I - K_tᵀ diag(beta_t) K_t) state_{t-1} + K_tᵀ diag(beta_t) V_t

All S tokens of a frame act at once on the state before that frame (Jacobi, not token after token).
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["frame_states_naive"]


def frame_states_naive(
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> Float[Tensor, "B H T D E"]:
    """State after every frame, the frame's own update included, from a zero state.

    Works token by token: what each token would read is compared with its value, and the difference is written.
    """
    B, H, T, _, D = k_BHTSD.shape
    state_BHDE = k_BHTSD.new_zeros(B, H, D, v_BHTSE.shape[-1])
    states = []
    for t in range(T):
        k_BHSD, v_BHSE, beta_BHS1 = k_BHTSD[:, :, t], v_BHTSE[:, :, t], beta_BHTS[:, :, t, :, None]
        decayed_BHDE = decay_BHT[:, :, t, None, None] * state_BHDE
        wrong_BHSE = v_BHSE - k_BHSD @ decayed_BHDE
        state_BHDE = decayed_BHDE + k_BHSD.mT @ (beta_BHS1 * wrong_BHSE)
        states.append(state_BHDE)
    return torch.stack(states, dim=2)
