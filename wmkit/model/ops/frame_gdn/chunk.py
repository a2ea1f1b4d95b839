"""The frame-wise gated delta rule with each frame as one chunk: dense products for all frames, then a short scan.

A frame's transition has rank min(S, D), which is D for any real picture, so the D x D matrix is built once a frame
and the only serial work left is T products of D x D, independent of the number of tokens.
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["frame_states_chunk", "frame_transitions"]


def frame_transitions(
    k_BHTSD: Float[Tensor, "B H T S D"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> Float[Tensor, "B H T D D"]:
    """M_t = g_t (I - K_tᵀ diag(beta_t) K_t), symmetric; its norm is at most g_t while tr(K beta Kᵀ) <= 1 (Eq. 5)."""
    written_BHTDD = (k_BHTSD * beta_BHTS[..., None]).mT @ k_BHTSD
    eye_DD = torch.eye(k_BHTSD.shape[-1], dtype=k_BHTSD.dtype, device=k_BHTSD.device)
    return decay_BHT[..., None, None] * (eye_DD - written_BHTDD)


def frame_states_chunk(
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> Float[Tensor, "B H T D E"]:
    """Same as `frame_states_naive`: the state after every frame, the frame's own update included."""
    transition_BHTDD = frame_transitions(k_BHTSD, beta_BHTS, decay_BHT)
    update_BHTDE = (k_BHTSD * beta_BHTS[..., None]).mT @ v_BHTSE
    state_BHDE = update_BHTDE[:, :, 0]
    states = [state_BHDE]
    for t in range(1, k_BHTSD.shape[2]):
        state_BHDE = transition_BHTDD[:, :, t] @ state_BHDE + update_BHTDE[:, :, t]
        states.append(state_BHDE)
    return torch.stack(states, dim=2)
