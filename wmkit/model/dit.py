"""The camera-controlled diffusion transformer: noisy latents, a noise level a frame and cameras in, velocity out.

Architecture: SANA-WM (arXiv 2605.15178) without text. Flow matching: x_sigma = (1 - sigma) x0 + sigma eps, velocity =
eps - x0; the first latent frame comes clean, with sigma 0. Parameter names are the released ones.
Shapes: B batch, T latent frames, C latent channels, h w latent rows and columns, F = 1 + stride (T - 1) video
frames, W width.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from wmkit.errors import InputError
from wmkit.model.block import Block, modulate
from wmkit.model.config import ModelConfig
from wmkit.model.rays import CameraBatch, LatentGrid
from wmkit.model.rope import rope_angles

__all__ = ["SIGMA_FLOOR", "CameraDiT", "sigma_embedding"]

SIGMA_FLOOR = 0.05  # least divisor of (x - x0) / sigma when the model predicts x0 (arXiv 2511.13720 clips likewise)


class CameraDiT(nn.Module):
    """The model of a `ModelConfig`. Two builds under the same torch seed are equal."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.x_embedder = _CellEmbed(config.latent_channels, W)
        self.t_embedder = _SigmaEmbed(config.frequency_channels, W)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(W, 6 * W))
        branch = config.camera_map
        self.plucker_embedder = None if branch is None else _CellEmbed(branch.channels(config.latent_stride), W)
        self.blocks = nn.ModuleList([Block(config, layer) for layer in range(config.depth)])
        self.final_layer = _FinalLayer(W, config.latent_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Released initial values: xavier, then gates open, camera branches and the last layer at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.data.flatten(1))
        nn.init.zeros_(self.x_embedder.bias)
        style = self.t_block[1]
        assert isinstance(style, nn.Linear)
        for linear in (self.t_embedder.linear_1, self.t_embedder.linear_2, style):
            nn.init.normal_(linear.weight, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.reset_parameters()
        if self.plucker_embedder is not None:
            nn.init.zeros_(self.plucker_embedder.proj.weight)
            nn.init.zeros_(self.plucker_embedder.bias)
        nn.init.normal_(self.final_layer.scale_shift_table, std=self.config.width**-0.5)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(
        self, latent: Float[Tensor, "B T C h w"], sigma: Float[Tensor, "B T"], cameras: CameraBatch
    ) -> Float[Tensor, "B T C h w"]:
        """Velocity at every latent cell; on frames of sigma 0 it is finite and means nothing.

        Raises InputError when the latent does not fit the config, ConfigError when the cameras do not fit the latent.
        """
        grid = self.grid(latent)
        x_BThwW = self.x_embedder(latent)
        t_BTW = self.t_embedder(sigma.to(latent.dtype))
        style_BT6W = self.t_block(t_BTW).unflatten(-1, (6, -1))
        rays, maps = None, None
        if self.config.camera_map is not None and self.plucker_embedder is not None:
            rays = self.plucker_embedder(self.config.camera_map.camera_map(cameras, grid).to(latent.dtype))
        head_dim, theta = self.config.head_dim, self.config.rope_theta
        if self.config.camera_attention is not None:
            maps = self.config.camera_attention.token_maps(cameras, grid, head_dim, theta)
        angles = rope_angles(grid, head_dim, theta).to(latent.device)
        for block in self.blocks:
            x_BThwW = block(x_BThwW, style_BT6W, angles, maps, rays)
        output = self.final_layer(x_BThwW, t_BTW).permute(0, 1, 4, 2, 3)
        if self.config.prediction == "velocity":
            return output
        return (latent - output) / sigma.to(latent.dtype).clamp(min=SIGMA_FLOOR)[:, :, None, None, None]

    def grid(self, latent: Float[Tensor, "B T C h w"]) -> LatentGrid:
        """Size of a latent; raises InputError when its channels are not the config's."""
        _, T, C, h, w = latent.shape
        if self.config.latent_channels != C:
            raise InputError(f"latent: expected {self.config.latent_channels} channels, got {C}")
        return LatentGrid(frames=T, rows=h, columns=w, stride=self.config.latent_stride)


def sigma_embedding(sigma: Float[Tensor, "*lead"], channels: int) -> Float[Tensor, "*lead c"]:
    """Sinusoids of the timestep 1000 sigma: cosines, then sines, frequencies from 1 down to 1e-4."""
    half = channels // 2
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, dtype=sigma.dtype, device=sigma.device) / half)
    angles = 1000 * sigma[..., None] * frequency
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class _SigmaEmbed(nn.Module):
    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.linear_1, self.linear_2 = nn.Linear(frequencies, width), nn.Linear(width, width)

    def forward(self, sigma_BT: Tensor) -> Tensor:
        return self.linear_2(nnf.silu(self.linear_1(sigma_embedding(sigma_BT, self.frequencies))))


class _CellEmbed(nn.Module):
    """Linear map of every latent cell's channels; a Conv3d of one cell, as the released weights store it."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, width, 1)

    @property
    def bias(self) -> Tensor:
        if self.proj.bias is None:
            raise InputError("cell embedding: expected a bias")
        return self.proj.bias

    def forward(self, x_BTChw: Tensor) -> Tensor:
        return nnf.linear(x_BTChw.permute(0, 1, 3, 4, 2), self.proj.weight.flatten(1), self.proj.bias)


class _FinalLayer(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, channels)
        self.scale_shift_table = nn.Parameter(torch.zeros(2, width))

    def forward(self, x_BThwW: Tensor, t_BTW: Tensor) -> Tensor:
        shift, scale = (t_BTW[:, :, None] + self.scale_shift_table)[:, :, None, None].unbind(-2)
        return self.linear(modulate(self.norm(x_BThwW), shift, scale))
