"""What a camera branch is. It owns no weights: it says how cameras act, the blocks own the released parameters.

- An attention branch gives per-token linear maps for the camera half of every attention (`*_cam` weights).
- A map branch gives channels per latent cell that are embedded once and mixed in after every self-attention.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.ops.frame_gdn.op import outside_autocast
from wmkit.model.rays import CameraBatch, LatentGrid
from wmkit.model.rope import rotate_pairs

__all__ = ["AttentionBranch", "MapBranch", "TokenMaps"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenMaps:
    """Linear maps of one forward pass, one set a token: 4 x 4 on the first half of a head, rotations on the other.

    query, key, output  (B, T, S, 4, 4) act on the groups of 4 channels (key on values too);
    angles              (T, S, P) rad turn the pairs of the second half, and turn the output back.
    """

    query: Float[Tensor, "B T S 4 4"]
    key: Float[Tensor, "B T S 4 4"]
    output: Float[Tensor, "B T S 4 4"]
    angles: Float[Tensor, "T S P"]

    def of(self, frames: slice) -> "TokenMaps":
        """The maps of some frames."""
        return TokenMaps(
            query=self.query[:, frames],
            key=self.key[:, frames],
            output=self.output[:, frames],
            angles=self.angles[frames],
        )

    def on_query(self, x: Float[Tensor, "B H T S D"]) -> Float[Tensor, "B H T S D"]:
        """Map queries."""
        return _apply(x, self.query, self.angles)

    def on_key(self, x: Float[Tensor, "B H T S D"]) -> Float[Tensor, "B H T S D"]:
        """Map keys or values."""
        return _apply(x, self.key, self.angles)

    def on_output(self, x: Float[Tensor, "B H T S D"]) -> Float[Tensor, "B H T S D"]:
        """Map what attention read back into the query token's own frame."""
        return _apply(x, self.output, -self.angles)


@runtime_checkable
class AttentionBranch(Protocol):
    """Config of an attention branch: frozen, JSON-able, and itself the code (it holds no weights)."""

    def token_maps(self, cameras: CameraBatch, grid: LatentGrid, head_dim: int, theta: float) -> TokenMaps:
        """Maps of every token of `grid`, for heads of `head_dim` channels and RoPE base `theta`."""
        ...


@runtime_checkable
class MapBranch(Protocol):
    """Config of a map branch: frozen, JSON-able, and itself the code (it holds no weights)."""

    def channels(self, stride: int) -> int:
        """Channels of the map when a latent frame covers `stride` video frames."""
        ...

    def camera_map(self, cameras: CameraBatch, grid: LatentGrid) -> Float[Tensor, "B T c h w"]:
        """The map of one batch."""
        ...


def _apply(x_BHTSD: Tensor, matrix_BTS44: Tensor, angles_TSP: Tensor) -> Tensor:
    geometric, rotary = x_BHTSD.chunk(2, dim=-1)
    # In the wider of the two dtypes, also under autocast: metres in bfloat16 are good to a part in 256 alone.
    dtype = torch.promote_types(x_BHTSD.dtype, matrix_BTS44.dtype)
    groups_BHTSG4 = geometric.unflatten(-1, (-1, 4)).to(dtype)
    with outside_autocast(x_BHTSD):
        mapped = groups_BHTSG4 @ matrix_BTS44[:, None].mT.to(dtype)
    return torch.cat([mapped.flatten(-2).to(x_BHTSD.dtype), rotate_pairs(rotary, angles_TSP)], dim=-1)
