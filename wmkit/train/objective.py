"""Flow matching with a clean first frame.

x_sigma = (1 - sigma) x0 + sigma eps, velocity = eps - x0. The first latent frame has sigma 0 and no loss; all others
of a clip share one sigma. Axes: B batch, T latent frames, C channels, h w latent px.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.train.config import ObjectiveConfig
from wmkit.train.draws import normal

__all__ = ["Noised", "flow_loss", "noised", "sample_sigma"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noised:
    """What the model is shown and what it should answer.

    latent    x_sigma; its first frame is x0's.
    sigma     noise level of every frame, 0 for the first.
    velocity  eps - x0; the first frame's means nothing and is left out of the loss.
    """

    latent: Float[Tensor, "B T C h w"]
    sigma: Float[Tensor, "B T"]
    velocity: Float[Tensor, "B T C h w"]


def sample_sigma(config: ObjectiveConfig, seed: int, step: int, batch: int) -> Float[Tensor, " B"]:
    """Noise levels in (0, 1), one a clip; see `ObjectiveConfig`."""
    u = torch.sigmoid(config.sigma_mean + config.sigma_std * normal(seed, step, "sigma", (batch,)))
    return config.shift * u / (1 + (config.shift - 1) * u)


def noised(x0: Float[Tensor, "B T C h w"], config: ObjectiveConfig, seed: int, step: int) -> Noised:
    """Noise clean latents for step `step`; ConfigError when there is no frame after the first."""
    batch, frames = x0.shape[:2]
    if frames < 2:
        raise ConfigError(f"data.frames: expected at least 2 latent frames, since the first is given, got {frames}")
    sigma = sample_sigma(config, seed, step, batch).to(x0)[:, None].repeat(1, frames)
    sigma[:, 0] = 0
    noise = normal(seed, step, "noise", tuple(x0.shape)).to(x0)
    level = sigma[:, :, None, None, None]
    return Noised(latent=(1 - level) * x0 + level * noise, sigma=sigma, velocity=noise - x0)


def flow_loss(predicted: Float[Tensor, "B T C h w"], target: Noised) -> Float[Tensor, ""]:
    """Mean squared error of the velocity over every frame but the first."""
    return (predicted[:, 1:] - target.velocity[:, 1:]).square().mean()
