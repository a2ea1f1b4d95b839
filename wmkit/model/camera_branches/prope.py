"""PRoPE: attention in projective camera frames, so that scores see relative projections (Li et al. 2025, "Cameras as
Relative Positional Encoding"); the third coarse branch of SANA-WM's Table 4.

With P = K cam_from_world of a token's frame, K lifted to 4 x 4 and normalised by the picture's size (focal lengths
over width and height, principal point from the middle): Q -> Pᵀ Q, K and V -> P⁻¹ (K, V), output -> P O, hence
q_iᵀ P_i P_j⁻¹ k_j. All tokens of a frame share P; where in the picture a token lies, RoPE says. The second half of a
head turns with frame, row and column as the UCPE branch's does, so that an ablation compares geometry alone (the
paper's own layout, for pictures without time, turns with row and column).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.camera_branches.protocol import TokenMaps
from wmkit.model.rays import CameraBatch, LatentGrid, invert_rigid, relative_to_first
from wmkit.model.rope import rope_angles

__all__ = ["PropeConfig", "normalised_projection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropeConfig:
    """Projective attention; no options yet."""

    def token_maps(self, cameras: CameraBatch, grid: LatentGrid, head_dim: int, theta: float) -> TokenMaps:
        """P, its inverse and its transpose, the same at every cell; raises ConfigError when the frames do not fit."""
        grid.check(cameras)
        step = slice(None, None, grid.stride)
        world_from_cam = relative_to_first(cameras.world_from_cam)[:, step]
        lifted, unlifted = normalised_projection(cameras.intrinsics[:, step], (cameras.width, cameras.height))
        cells = (-1, -1, grid.rows * grid.columns, -1, -1)
        p_BTS44 = (lifted @ invert_rigid(world_from_cam))[:, :, None].expand(cells)
        inverse_BTS44 = (world_from_cam @ unlifted)[:, :, None].expand(cells)
        return TokenMaps(
            query=p_BTS44.mT,
            key=inverse_BTS44,
            output=p_BTS44,
            angles=rope_angles(grid, head_dim, theta, keep=head_dim // 2).to(p_BTS44.device),
        )


def normalised_projection(
    intrinsics: Float[Tensor, "B T 4"], size_px: tuple[int, int]
) -> tuple[Float[Tensor, "B T 4 4"], Float[Tensor, "B T 4 4"]]:
    """K as 4 x 4 for `size_px` = (width, height), and its inverse: a resized picture has the same."""
    width, height = size_px
    fx, fy, cx, cy = intrinsics.unbind(-1)
    sx, sy, px, py = fx / width, fy / height, cx / width - 0.5, cy / height - 0.5
    lifted = torch.eye(4, dtype=intrinsics.dtype, device=intrinsics.device).repeat(*intrinsics.shape[:2], 1, 1)
    unlifted = lifted.clone()
    for index, scale, offset in ((0, sx, px), (1, sy, py)):
        lifted[..., index, index], lifted[..., index, 2] = scale, offset
        unlifted[..., index, index], unlifted[..., index, 2] = 1 / scale, -offset / scale
    return lifted, unlifted
