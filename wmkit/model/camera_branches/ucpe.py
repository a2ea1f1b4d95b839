"""UCPE: attention in the frame of every token's own ray, so that scores see relative ray-to-ray poses alone.

SANA-WM (arXiv 2605.15178) section 3, coarse branch; the ray frame is that of unified camera positional encoding
with a pinhole. With D = ray_from_world of a token: Q -> Dᵀ Q, K and V -> D⁻¹ (K, V), output -> D O, hence
q_iᵀ D_i D_j⁻¹ k_j: the world cancels. The first half of a head is geometric in groups of 4, the second is RoPE.
Own convention: rays through cell centres; `compat="sana-wm"` of the model has the released cell corners (`rays.py`).
"""

from dataclasses import dataclass

from wmkit.model.camera_branches.protocol import TokenMaps
from wmkit.model.rays import CameraBatch, LatentGrid, invert_rigid, ray_from_world
from wmkit.model.rope import rope_angles

__all__ = ["UcpeConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UcpeConfig:
    """Ray-local attention; no options yet."""

    def token_maps(self, cameras: CameraBatch, grid: LatentGrid, head_dim: int, theta: float) -> TokenMaps:
        """D, its inverse and its transpose at every latent cell; raises ConfigError when the frames do not fit."""
        d_BTS44 = ray_from_world(cameras, grid).flatten(2, 3)
        return TokenMaps(
            query=d_BTS44.mT,
            key=invert_rigid(d_BTS44),
            output=d_BTS44,
            angles=rope_angles(grid, head_dim, theta, keep=head_dim // 2).to(d_BTS44.device),
        )
