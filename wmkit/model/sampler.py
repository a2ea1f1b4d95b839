"""Flow-matching Euler sampler: noise to latents along the model's velocity, the first latent frame kept.

Shapes: B batch, T latent frames, C latent channels, h w latent rows and columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError, InputError
from wmkit.model.config import ModelConfig
from wmkit.model.rays import CameraBatch

__all__ = ["SamplerConfig", "VelocityModel", "sample_latents", "shifted_sigmas"]


@runtime_checkable
class VelocityModel(Protocol):
    """What the sampler needs of a model; `CameraDiT` is one."""

    @property
    def config(self) -> ModelConfig:
        """Its stride says how many latent frames the cameras ask for."""
        ...

    def __call__(self, latent: Tensor, sigma: Tensor, cameras: CameraBatch, /) -> Tensor:
        """Velocity (B, T, C, h, w) at noise level sigma (B, T)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """`steps` Euler steps; `shift` >= 1 spends more of them at high noise; `seed` fixes the noise.

    Raises ConfigError when a number is out of range.
    """

    steps: int = 20
    shift: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.shift > 0 or self.seed < 0:
            raise ConfigError(
                f"sampler: expected steps >= 1, shift > 0 and seed >= 0, got {self.steps}, {self.shift}, {self.seed}"
            )


def shifted_sigmas(steps: int, shift: float) -> Float[Tensor, " N"]:
    """Noise levels of the steps and the end: 1 ... 0, `steps` + 1 values, sigma' = shift s / (1 + (shift - 1) s)."""
    s = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return shift * s / (1 + (shift - 1) * s)


@torch.no_grad()
def sample_latents(
    model: VelocityModel,
    first: Float[Tensor, "B 1 C h w"],
    cameras: CameraBatch,
    config: SamplerConfig,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "B T C h w"]:
    """Latents whose first frame is `first` itself and whose T = 1 + (F - 1) / stride frames follow `cameras`.

    `progress(done, steps)` is called after every step. Raises InputError unless F = 1 + stride k.
    """
    stride = model.config.latent_stride
    if (cameras.frames - 1) % stride:
        raise InputError(f"cameras: expected 1 + {stride} k frames, got {cameras.frames}; hold the last pose")
    B, _, C, h, w = first.shape
    T = 1 + (cameras.frames - 1) // stride
    # Drawn on the CPU, so that every device starts from the same noise.
    noise = torch.randn(B, T - 1, C, h, w, generator=torch.Generator().manual_seed(config.seed))
    moving = noise.to(first)
    sigmas = shifted_sigmas(config.steps, config.shift).tolist()
    for done, (sigma, next_sigma) in enumerate(pairwise(sigmas), start=1):
        sigma_BT = first.new_full((B, T), sigma)
        sigma_BT[:, 0] = 0.0
        velocity = model(torch.cat([first, moving], dim=1), sigma_BT, cameras)
        moving = moving + (next_sigma - sigma) * velocity[:, 1:]
        if progress is not None:
            progress(done, config.steps)
    return torch.cat([first, moving], dim=1)
