"""Attention of video tokens to a caption. Names are the released ones.

Shapes: B batch, N video tokens, L text tokens, C width, H heads, D channels of a head.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as nnf

__all__ = ["CrossAttention"]

NORM_EPS = 1e-6


class CrossAttention(nn.Module):
    """Softmax attention with RMS norms over the full width on queries and keys; no gate, no positions.

    The caller adds the result to the same un-normalised tokens that it passes in (released block, step 4).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear, self.kv_linear = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.q_norm, self.k_norm = nn.RMSNorm(width, NORM_EPS), nn.RMSNorm(width, NORM_EPS)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x_BNC: Float[Tensor, "B N C"], text_BLC: Float[Tensor, "B L C"], mask_BL: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B N C"]:
        """What the text tokens with `mask_BL` true say to every video token."""
        k, v = self.kv_linear(text_BLC).chunk(2, dim=-1)
        q, k, v = self._heads(self.q_norm(self.q_linear(x_BNC))), self._heads(self.k_norm(k)), self._heads(v)
        read_BHND = nnf.scaled_dot_product_attention(q, k, v, attn_mask=mask_BL[:, None, None])
        return self.proj(read_BHND.transpose(1, 2).flatten(2))

    def _heads(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(-1, (self.heads, -1)).transpose(1, 2)
