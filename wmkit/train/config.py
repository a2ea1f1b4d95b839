"""What one training run is: model, data, objective, optimizer, length. A pure value; two equal ones are one run.

Every setting is reachable from the command line as a dotted key (`optimizer.lr=0.001`, `model.width=64`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig
from wmkit.model.latent import PixelUnshuffle
from wmkit.train.overrides import first_difference, from_plain, override, to_plain

__all__ = ["DataConfig", "ObjectiveConfig", "OptimizerConfig", "TrainConfig"]

# How long a run is and what it leaves behind: these may change when it is resumed, the steps stay the same steps.
RESUMABLE = frozenset({"steps", "save_every", "keep"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a batch is: clips of `frames` frames, `height` x `width` px, `batch_size` of them."""

    frames: int = 17
    height: int = 64
    width: int = 96
    batch_size: int = 2

    def __post_init__(self) -> None:
        _positive("data.", to_plain(self))
        if self.frames < 2:
            raise ConfigError(f"data.frames: expected a clip of at least 2 frames, got {self.frames}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """Distribution of the noise level in flow matching: logit-normal, then shifted towards noise.

    sigma = s u / (1 + (s - 1) u) with u = sigmoid(mean + std n), n normal (Esser et al. 2024, arXiv:2403.03206, where
    s is `shift`: 1 leaves u as it is; the published runs at 720p use 9.95, a small picture needs less).
    """

    sigma_mean: float = 0.0
    sigma_std: float = 1.0
    shift: float = 3.0

    def __post_init__(self) -> None:
        _positive("objective.", {"sigma_std": self.sigma_std, "shift": self.shift})


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW, its learning rate rising over `warmup_steps` and then constant; gradients clipped to norm `clip_norm`."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    warmup_steps: int = 10

    def __post_init__(self) -> None:
        _positive("optimizer.", {"lr": self.lr, "eps": self.eps, "clip_norm": self.clip_norm})
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ConfigError(f"optimizer: expected beta1 and beta2 in [0, 1), got {self.beta1} and {self.beta2}")
        if self.weight_decay < 0 or self.warmup_steps < 0:
            raise ConfigError("optimizer: expected weight_decay and warmup_steps of at least 0")

    def lr_at(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        return self.lr * min(1.0, (step + 1) / (self.warmup_steps + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run.

    recipe      name of the recipe it started from.
    steps       optimizer steps in all.
    seed        of every random draw: initialisation, order of samples, noise, noise level.
    save_every  steps between checkpoints; the last step is always saved.
    keep        checkpoints that stay on disk, the newest ones.
    threads     of torch on the CPU. Results depend on it in their last bits, so it is a setting and not the machine's.
    """

    recipe: str
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    steps: int = 200
    seed: int = 0
    save_every: int = 50
    keep: int = 2
    threads: int = 1

    def __post_init__(self) -> None:
        _positive("", {"steps": self.steps, "save_every": self.save_every, "keep": self.keep, "threads": self.threads})
        if self.seed < 0:
            raise ConfigError(f"seed: expected a number of at least 0, got {self.seed}")
        codec = self.codec
        if (self.data.frames - 1) % codec.stride:
            raise ConfigError(f"data.frames: expected 1 + {codec.stride} k, the model's stride, got {self.data.frames}")
        if self.data.height % codec.downscale or self.data.width % codec.downscale:
            size = f"{self.data.width}x{self.data.height}"
            raise ConfigError(f"data.height and data.width: expected multiples of {codec.downscale} px, got {size}")
        if self.model.latent_channels != codec.channels:
            raise ConfigError(
                f"model.latent_channels: expected {codec.channels}, which latent_stride {codec.stride} and "
                f"latent_downscale {codec.downscale} make, got {self.model.latent_channels}"
            )

    @property
    def codec(self) -> PixelUnshuffle:
        """Video to latents and back."""
        return PixelUnshuffle(downscale=self.model.latent_downscale, stride=self.model.latent_stride)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, every setting."""
        return to_plain(self)

    @classmethod
    def from_json(cls, plain: object, where: str = "config") -> "TrainConfig":
        """The config that `to_json` gave; ConfigError names what is unknown, absent or of the wrong type."""
        return from_plain(cls, plain, where)

    def with_settings(self, assignments: Sequence[str]) -> "TrainConfig":
        """This config with `key=value` texts applied; ConfigError for an unknown key or a value of another type."""
        return override(self, assignments)

    def differs_from(self, stored: dict[str, Any]) -> tuple[str, Any, Any] | None:
        """First setting, but for length and checkpoints, that a stored config has otherwise: (key, stored, this)."""
        return first_difference(stored, self.to_json(), RESUMABLE)


def _positive(group: str, values: dict[str, float]) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{group}{name}: expected a positive number, got {value}")
