"""Frame-wise Gated DeltaNet (SANA-WM Eq. 3 and 5): numerator and denominator reads in both directions of time.

Forward in time a frame sees itself and the past (inclusive); backward it sees the future alone (exclusive), so no
frame is counted twice. `frame_gdn` adds both and, where asked, divides once by the same recurrence run on values
of 1, which is the delta rule's normaliser.
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.ops.frame_gdn.chunk import frame_states_chunk, frame_transitions
from wmkit.model.ops.frame_gdn.naive import frame_states_naive

__all__ = ["NORMALISER_EPS", "bidirectional_read", "frame_gdn", "frame_states_chunk", "frame_states_naive",
           "frame_transitions", "key_scale"]  # fmt: skip

NORMALISER_EPS = 1e-8  # as the released blocks pass it


def key_scale(head_dim: int, tokens: int) -> float:
    """1 / sqrt(D S): with ReLU(RMSNorm(k)) keys the frame's total written energy stays <= 1 (Eq. 5)."""
    return (head_dim * tokens) ** -0.5


def bidirectional_read(
    q_BHTSD: Float[Tensor, "B H T S D"],
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> Float[Tensor, "B H T S E"]:
    """q @ (state of the past and this frame + state of the future): no division."""
    past_BHTDE = frame_states_chunk(k_BHTSD, v_BHTSE, beta_BHTS, decay_BHT)
    flipped = frame_states_chunk(k_BHTSD.flip(2), v_BHTSE.flip(2), beta_BHTS.flip(2), decay_BHT.flip(2)).flip(2)
    future_BHTDE = torch.cat([flipped[:, :, 1:], torch.zeros_like(flipped[:, :, :1])], dim=2)
    return q_BHTSD @ (past_BHTDE + future_BHTDE)


def frame_gdn(
    rotated: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    plain: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
) -> Float[Tensor, "B H T S E"]:
    """Bidirectional output: numerator from the `rotated` (q, k), denominator from the `plain` (q, k) without RoPE."""
    ones_BHTS1 = torch.ones_like(v_BHTSE[..., :1])
    numerator_BHTSE = bidirectional_read(*rotated, v_BHTSE, beta_BHTS, decay_BHT)
    denominator_BHTS1 = bidirectional_read(*plain, ones_BHTS1, beta_BHTS, decay_BHT)
    return numerator_BHTSE / (denominator_BHTS1 + NORMALISER_EPS)
