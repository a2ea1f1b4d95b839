"""Flow-matching Euler sampler: noise to latents along the model's velocity, the first latent frame kept.

`chunk_sampler.py` and `stream_sampler.py` build the same step into chunk-causal sampling.
Shapes: B batch, T latent frames, C latent channels, h w latent rows and columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError, InputError
from wmkit.model.config import ModelConfig
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.rays import CameraBatch
from wmkit.model.text import TextBatch

__all__ = ["Prompt", "SamplerConfig", "VelocityModel", "chunks_of", "frame_noise", "latent_frames", "noisy_frames",
           "released_sigmas", "sample_latents", "shifted_sigmas"]  # fmt: skip

TRAIN_STEPS = 1000  # noise levels that the released models were trained on


@runtime_checkable
class VelocityModel(Protocol):
    """What the sampler needs of a model; `CameraDiT` is one."""

    @property
    def config(self) -> ModelConfig:
        """Its stride says how many latent frames the cameras ask for."""
        ...

    def __call__(self, latent: Tensor, sigma: Tensor, cameras: CameraBatch, text: TextBatch | None, /) -> Tensor:
        """Velocity (B, T, C, h, w) at noise level sigma (B, T)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """How noise becomes latents.

    steps     Euler steps; shift > 1 spends more of them at high noise.
    schedule  even: `shifted_sigmas`; released: `released_sigmas`, which ends a little above 0 before it ends at 0.
    seed      fixes the noise.

    The released settings: 60 steps, shift 9.8, schedule released; few-step streaming: 4 steps, shift 8, even.
    Raises ConfigError when a number is out of range.
    """

    steps: int = 20
    shift: float = 3.0
    schedule: Literal["even", "released"] = "even"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.shift > 0 or self.seed < 0:
            raise ConfigError(
                f"sampler: expected steps >= 1, shift > 0 and seed >= 0, got {self.steps}, {self.shift}, {self.seed}"
            )

    @property
    def sigmas(self) -> list[float]:
        """Noise levels of the steps, falling from 1, and the end, 0."""
        schedule = shifted_sigmas if self.schedule == "even" else released_sigmas
        return schedule(self.steps, self.shift).tolist()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """What the clips show, in words, and how much more than without.

    text      captions; None for a model without text, or one that owns a null caption.
    negative  what guidance leads away from; None as in `text`.
    guidance  w of classifier-free guidance: v = v_negative + w (v_text - v_negative) (Ho & Salimans 2022,
              arXiv:2207.12598); cameras are the same in both. 1 is none, and one pass of the model instead of two.

    Raises ConfigError for guidance that is negative or not finite, and for guidance without a text to lead to.
    """

    text: TextBatch | None = None
    negative: TextBatch | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.guidance < float("inf"):
            raise ConfigError(f"guidance: expected a finite number of at least 0, got {self.guidance}")
        if self.guidance != 1 and self.text is None:
            raise ConfigError(f"guidance {self.guidance:g}: expected a text to lead to, got none; use guidance 1")

    @property
    def passes(self) -> tuple[tuple[TextBatch | None, float], ...]:
        """Texts of the passes that make one velocity, and the weight of each."""
        if self.guidance == 1:
            return ((self.text, 1.0),)
        return (self.text, self.guidance), (self.negative, 1 - self.guidance)

    def velocity(
        self,
        model: Callable[..., Tensor],
        latent: Float[Tensor, "B T C h w"],
        sigma: Float[Tensor, "B T"],
        cameras: CameraBatch,
        chunks: ChunkLayout | None = None,
    ) -> Float[Tensor, "B T C h w"]:
        """The guided velocity; without `chunks` the model is called as a `VelocityModel`."""
        velocity = torch.zeros_like(latent)
        seen = () if chunks is None else (None, chunks)  # no frame is padding
        for text, weight in self.passes:
            velocity += weight * model(latent, sigma, cameras, text, *seen)
        return velocity


def shifted_sigmas(steps: int, shift: float) -> Float[Tensor, " N"]:
    """Noise levels of the steps and the end: 1 ... 0, `steps` + 1 values, sigma' = shift s / (1 + (shift - 1) s)."""
    return _shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)


def released_sigmas(steps: int, shift: float) -> Float[Tensor, " N"]:
    """The levels of diffusers' `FlowMatchEulerDiscreteScheduler`, which the released sampler runs on.

    The last level before 0 is the least of 1000 training levels, shifted twice: once as a training level, once here.
    """
    least = _shifted(torch.tensor(1 / TRAIN_STEPS, dtype=torch.float64), shift).item()
    levels = torch.linspace(1, least, steps, dtype=torch.float64)
    return torch.cat([_shifted(levels, shift), levels.new_zeros(1)])


def _shifted(s: Tensor, shift: float) -> Tensor:
    return shift * s / (1 + (shift - 1) * s)


def latent_frames(model: VelocityModel, cameras: CameraBatch) -> int:
    """T = 1 + (F - 1) / stride latent frames of F cameras; InputError unless F = 1 + stride k."""
    stride = model.config.latent_stride
    if (cameras.frames - 1) % stride:
        raise InputError(f"cameras: expected 1 + {stride} k frames, got {cameras.frames}; hold the last pose")
    return 1 + (cameras.frames - 1) // stride


def frame_noise(first: Float[Tensor, "B 1 C h w"], seed: int) -> Iterator[Float[Tensor, "B 1 C h w"]]:
    """Noise of the second latent frame, the third, and so on: longer clips begin as shorter ones do.

    Drawn on the CPU, so that every device starts from the same noise.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(first.shape, generator=generator).to(first)


def noisy_frames(
    first: Float[Tensor, "B 1 C h w"], noise: Iterator[Float[Tensor, "B 1 C h w"]], T: int
) -> Float[Tensor, "B T C h w"]:
    """`first` and the next T - 1 frames of `noise`."""
    return torch.cat([first, *(next(noise) for _ in range(T - 1))], dim=1)


def chunks_of(model: VelocityModel, cameras: CameraBatch, layout: ChunkLayout | None) -> ChunkLayout:
    """`layout`, or of None the released one: three latent frames a chunk and the picture with the first.

    Raises InputError unless F = 1 + stride k, ConfigError for a layout of another length.
    """
    T = latent_frames(model, cameras)
    layout = ChunkLayout.first_plus_one(T) if layout is None else layout
    if layout.total != T:
        raise ConfigError(f"chunks: expected {T} latent frames in all, got {layout.total}")
    return layout


@torch.no_grad()
def sample_latents(
    model: VelocityModel,
    first: Float[Tensor, "B 1 C h w"],
    cameras: CameraBatch,
    config: SamplerConfig,
    prompt: Prompt | None = None,
    progress: Callable[[int, int], None] | None = None,
    noise: Iterator[Float[Tensor, "B 1 C h w"]] | None = None,
) -> Float[Tensor, "B T C h w"]:
    """Latents whose first frame is `first` itself and whose T = 1 + (F - 1) / stride frames follow `cameras`.

    All frames at once, as the released bidirectional model does; `noise` None is `frame_noise`. `progress(done, steps)`
    is called after every step. Raises InputError unless F = 1 + stride k.
    """
    T = latent_frames(model, cameras)
    latent = noisy_frames(first, frame_noise(first, config.seed) if noise is None else noise, T)
    prompt = Prompt() if prompt is None else prompt
    for done, (sigma, next_sigma) in enumerate(pairwise(config.sigmas), start=1):
        sigma_BT = first.new_full((len(first), T), sigma)
        sigma_BT[:, 0] = 0.0
        velocity = prompt.velocity(model, latent, sigma_BT, cameras)
        latent = torch.cat([first, latent[:, 1:] + (next_sigma - sigma) * velocity[:, 1:]], dim=1)
        if progress is not None:
            progress(done, config.steps)
    return latent
