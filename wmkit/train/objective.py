"""Flow matching with a clean first frame.

x_sigma = (1 - sigma) x0 + sigma eps, velocity = eps - x0. A frame of sigma 0 is given: it has no loss. Without chunks
all other frames of a clip share one sigma; with chunks those of a chunk do. Axes: B batch, T latent frames, C channels,
h w latent px.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.train.config import ObjectiveConfig
from wmkit.train.draws import generator_for, normal, uniform

__all__ = ["Noised", "flow_loss", "noised", "sample_sigma"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noised:
    """What the model is shown and what it should answer.

    latent    x_sigma; frames of sigma 0 are x0's.
    sigma     noise level of every frame.
    velocity  eps - x0; that of a given frame means nothing and is left out of the loss.
    """

    latent: Float[Tensor, "B T C h w"]
    sigma: Float[Tensor, "B T"]
    velocity: Float[Tensor, "B T C h w"]

    def of(self, frames: slice) -> "Noised":
        """Some of the frames."""
        return Noised(latent=self.latent[:, frames], sigma=self.sigma[:, frames], velocity=self.velocity[:, frames])

    @property
    def asked(self) -> Float[Tensor, ""]:
        """How many frames are not given."""
        return (self.sigma > 0).sum()


def sample_sigma(config: ObjectiveConfig, seed: int, step: int, slots: range) -> Float[Tensor, " B"]:
    """Noise levels in (0, 1), one a clip; see `ObjectiveConfig`."""
    return _shifted(config, normal(seed, step, "sigma", slots))


def noised(
    x0: Float[Tensor, "B T C h w"],
    config: ObjectiveConfig,
    seed: int,
    step: int,
    chunks: ChunkLayout | None = None,
    slots: range | None = None,
) -> Noised:
    """Noise clean latents for step `step`; ConfigError when there is no frame after the first.

    `slots` are the clips' places in the step's batch, None: they are the whole of it.
    """
    slots = range(len(x0)) if slots is None else slots
    frames = x0.shape[1]
    if frames < 2:
        raise ConfigError(f"data.frames: expected at least 2 latent frames, since the first is given, got {frames}")
    if chunks is None:
        sigma = sample_sigma(config, seed, step, slots).to(x0)[:, None].repeat(1, frames)
    else:
        rows = [_chunk_sigmas(config, chunks, seed, step, slot) for slot in slots]
        sigma = torch.stack(rows).to(x0)
    for row, slot in enumerate(slots):
        if uniform(seed, step, slot, "first") < config.first_clean:
            sigma[row, 0] = 0
    noise = normal(seed, step, "noise", slots, tuple(x0.shape[1:])).to(x0)
    level = sigma[:, :, None, None, None]
    return Noised(latent=(1 - level) * x0 + level * noise, sigma=sigma, velocity=noise - x0)


def _chunk_sigmas(config: ObjectiveConfig, chunks: ChunkLayout, seed: int, step: int, slot: int) -> Float[Tensor, " T"]:
    """One clip's noise levels, by the kind that its draw falls to; see `ObjectiveConfig.mixture`."""
    generator = generator_for(seed, step, slot, "chunk sigmas")
    count = len(chunks.frames)
    levels = _shifted(config, torch.randn(count, generator=generator))
    place = torch.rand((), generator=generator).item()
    same, rising, anchored, _ = torch.tensor(config.mixture).cumsum(0).tolist()
    if place < same:
        levels = levels[:1].expand(count)
    elif place < rising:
        levels = levels.sort().values
    elif place < anchored:
        last = levels[-1:]
        below = (last * torch.rand(count - 1, generator=generator)).sort().values
        levels = torch.cat([below, last])
    else:
        given = int(torch.randint(count, (), generator=generator))
        levels = torch.where(torch.arange(count) < given, 0.0, levels[0])
    return levels.repeat_interleave(torch.tensor(chunks.frames))


def _shifted(config: ObjectiveConfig, n: Tensor) -> Tensor:
    u = torch.sigmoid(config.sigma_mean + config.sigma_std * n)
    return config.shift * u / (1 + (config.shift - 1) * u)


def flow_loss(
    predicted: Float[Tensor, "B T C h w"], target: Noised, asked: Float[Tensor, ""] | None = None
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity over every frame that is not given.

    `asked` of the whole step, where these frames are a part of it: their share of the step's loss.
    """
    counted = (target.sigma > 0).to(predicted)
    error = (predicted - target.velocity).square().mean(dim=(2, 3, 4))
    # A clip of one chunk may be given whole; it then adds nothing, and a batch of such clips is 0, not 0 / 0.
    return (error * counted).sum() / (target.asked if asked is None else asked).clamp(min=1)
