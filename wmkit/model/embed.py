"""What turns a model's inputs into its width: noise levels, latent cells, captions. Names are the released ones.

Shapes: B batch, T latent frames, C channels, h w latent rows and columns, L text tokens, W width.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from wmkit.model.config import TextConfig
from wmkit.model.rays import Compat

__all__ = ["CaptionEmbed", "CellEmbed", "DeadCellEmbed", "SigmaEmbed", "sigma_embedding", "wide"]

TEXT_NORM_EPS = 1e-5


def wide(x: Tensor) -> Tensor:
    """At least float32: bfloat16 holds three digits, too few for timesteps of 0 .. 1000 and for products of decays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sigma_embedding(sigma: Float[Tensor, "*lead"], channels: int, compat: Compat = "none") -> Float[Tensor, "*lead c"]:
    """Sinusoids of the timestep 1000 sigma: cosines, then sines, frequencies from 1 down to 1e-4.

    `compat="sana-wm"` truncates the timestep to an integer first, as the released model does.
    """
    half = channels // 2
    level = wide(sigma)
    timestep = 1000 * level if compat == "none" else (1000 * level).trunc()
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, dtype=level.dtype, device=level.device) / half)
    angles = timestep[..., None] * frequency
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class SigmaEmbed(nn.Module):
    """Noise level of a frame to its style, through two linear maps."""

    def __init__(self, frequencies: int, width: int, compat: Compat) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.compat: Compat = compat
        self.linear_1, self.linear_2 = nn.Linear(frequencies, width), nn.Linear(width, width)

    def forward(self, sigma_BT: Float[Tensor, "B T"]) -> Float[Tensor, "B T W"]:
        """Style in the dtype of the weights; the sinusoids are made in float32 at least."""
        waves = sigma_embedding(sigma_BT, self.frequencies, self.compat)
        return self.linear_2(nnf.silu(self.linear_1(waves.to(self.linear_1.weight.dtype))))


class CellEmbed(nn.Module):
    """Linear map of every latent cell's channels; a Conv3d of one cell, as the released weights store it."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, width, 1)

    @property
    def bias(self) -> Tensor:
        """(W,)"""
        assert self.proj.bias is not None
        return self.proj.bias

    def forward(self, x_BTChw: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B T h w W"]:
        """Tokens, channels last."""
        return nnf.linear(x_BTChw.permute(0, 1, 3, 4, 2), self.proj.weight.flatten(1), self.proj.bias)


class DeadCellEmbed(nn.Module):
    """`raymap_embedder`: an input of three up and latitude channels that the released forward pass skips.

    Kept, frozen, so that a released file loads and is written again tensor for tensor.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, 1).requires_grad_(False)


class CaptionEmbed(nn.Module):
    """Two linear maps with a tanh-approximated GELU between them; owns the null caption where the config has one."""

    def __init__(self, config: TextConfig, width: int) -> None:
        super().__init__()
        self.y_proj = _TwoLinears(config.channels, width)
        self.y_embedding: Tensor | None
        self.register_buffer(
            "y_embedding", torch.zeros(config.tokens, config.channels) if config.null_caption else None
        )

    def reset_parameters(self) -> None:
        """Released initial values."""
        for linear in (self.y_proj.fc1, self.y_proj.fc2):
            nn.init.normal_(linear.weight, std=0.02)
        if self.y_embedding is not None:
            nn.init.normal_(self.y_embedding, std=self.y_embedding.shape[1] ** -0.5)

    def forward(self, states_BLC: Float[Tensor, "B L C"]) -> Float[Tensor, "B L W"]:
        """Embedded captions."""
        return self.y_proj.fc2(nnf.gelu(self.y_proj.fc1(states_BLC), approximate="tanh"))


class _TwoLinears(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, width), nn.Linear(width, width)
