"""What one training run is: model, data, objective, optimizer, length. A pure value; two equal ones are one run.

Every setting is reachable from the command line as a dotted key (`optimizer.lr=0.001`, `model.width=64`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig
from wmkit.model.latent import PixelUnshuffle
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.text import HashedText
from wmkit.train.overrides import first_difference, from_plain, override, to_plain
from wmkit.train.stage_config import DmdConfig, RefineConfig

__all__ = [
    "ConditionConfig",
    "DataConfig",
    "DistillConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "TrainConfig",
]

# How long a run is, what it leaves behind, who works on it: these may change when it is resumed, the steps stay the
# same steps (but for the rounding of sums over another number of processes).
RESUMABLE = frozenset({"steps", "save_every", "keep", "parallel.cp", "parallel.recompute", "parallel.compile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a batch is: clips of `frames` frames, `height` x `width` px, `batch_size` of them.

    metric   take shards in metres alone: a sample whose unit is its own median depth is an error.
    vae      whose latents the model is made for; any but pixel-unshuffle have to be in the shards (`wmkit precompute`).
    latents  read latents and text states where the shards have them; off: decode and encode all the same.
    """

    frames: int = 17
    height: int = 64
    width: int = 96
    batch_size: int = 2
    metric: bool = False
    vae: Literal["pixel-unshuffle", "ltx2", "wan", "dc-ae"] = "pixel-unshuffle"
    latents: bool = True

    def __post_init__(self) -> None:
        _positive("data.", {name: getattr(self, name) for name in ("frames", "height", "width", "batch_size")})
        if self.frames < 2:
            raise ConfigError(f"data.frames: expected a clip of at least 2 frames, got {self.frames}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """Noise levels of flow matching: logit-normal, then shifted towards noise.

    sigma = s u / (1 + (s - 1) u) with u = sigmoid(mean + std n), n normal (Esser et al. 2024, arXiv:2403.03206, where
    s is `shift`: 1 leaves u as it is; the published runs at 720p use 9.95, a small picture needs less).

    first_clean   share of clips whose first latent frame is given: noise level 0 and no loss. Published: 0.9.
    chunk_frames  latent frames of a chunk, the first of which has the picture besides; a frame sees the past and its
                  own chunk. 0: no chunks, every frame sees all. Published: 3.
    mixture       with chunks, shares of clips whose chunks' noise levels are: one for all; rising from chunk to chunk;
                  rising to a last one that is drawn as usual; or 0 up to some chunk and one level after it, as a
                  sampler meets them. Published: 0.1, 0.4, 0.4, 0.1 (`same_t`, `incremental`, `last_chunk_anchor`,
                  `teacher_forcing_clean`; what the middle two draw from is our reading).
    """

    sigma_mean: float = 0.0
    sigma_std: float = 1.0
    shift: float = 3.0
    first_clean: float = 1.0
    chunk_frames: int = 0
    mixture: tuple[float, float, float, float] = (0.1, 0.4, 0.4, 0.1)

    def __post_init__(self) -> None:
        _positive("objective.", {"sigma_std": self.sigma_std, "shift": self.shift})
        _share("objective.first_clean", self.first_clean)
        if self.chunk_frames < 0:
            raise ConfigError(f"objective.chunk_frames: expected at least 0, got {self.chunk_frames}")
        if min(self.mixture) < 0 or abs(sum(self.mixture) - 1) > 1e-6:
            raise ConfigError(f"objective.mixture: expected four shares that add up to 1, got {self.mixture}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionConfig:
    """What is left out now and then, so that the model also knows how to do without.

    text_dropout    share of clips that lose their caption (guidance by text needs it). Published: 0.1.
    camera_dropout  share of steps whose clips lose their cameras.
    encoder         of captions; states of any but hashed words have to be in the shards (`wmkit precompute`).
    """

    text_dropout: float = 0.1
    camera_dropout: float = 0.0
    encoder: Literal["hashed", "gemma-2"] = "hashed"

    def __post_init__(self) -> None:
        _share("condition.text_dropout", self.text_dropout)
        _share("condition.camera_dropout", self.camera_dropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """A student of few steps learns where its teacher's many lead; see `wmkit.train.distill`.

    student_steps  of the student, at the noise levels of `shifted_sigmas`. Published: 4.
    teacher_steps  Euler steps of the teacher, a multiple of them.
    """

    student_steps: int = 4
    teacher_steps: int = 12

    def __post_init__(self) -> None:
        if self.student_steps < 1 or self.teacher_steps < 1 or self.teacher_steps % self.student_steps:
            raise ConfigError(
                f"distill: expected teacher_steps a multiple of student_steps, got {self.teacher_steps} and "
                f"{self.student_steps}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW, its learning rate rising over `warmup_steps` and then constant; gradients clipped to norm `clip_norm`.

    ema_decay  of the running mean of weights that sampling uses; 0 is none. A young mean forgets faster: at step n the
               decay is at most (1 + n) / (10 + n).
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    warmup_steps: int = 10
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        _positive("optimizer.", {"lr": self.lr, "eps": self.eps, "clip_norm": self.clip_norm})
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ConfigError(f"optimizer: expected beta1 and beta2 in [0, 1), got {self.beta1} and {self.beta2}")
        if self.weight_decay < 0 or self.warmup_steps < 0:
            raise ConfigError("optimizer: expected weight_decay and warmup_steps of at least 0")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"optimizer.ema_decay: expected 0 to below 1, got {self.ema_decay}")

    def lr_at(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        return self.lr * min(1.0, (step + 1) / (self.warmup_steps + 1))

    def ema_decay_at(self, step: int) -> float:
        """Weight of the past in the running mean after step `step`, counted from 0."""
        return min(self.ema_decay, (1 + step) / (10 + step))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """How a step is spread and what it keeps.

    cp         processes that share a clip's frames.
    recompute  keep each block's input alone and compute the rest again when gradients need it.
    compile    blocks by torch.compile.
    precision  of the passes; parameters, their moments and the sums of gradients stay float32.
    """

    cp: int = 1
    recompute: bool = False
    compile: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.cp < 1:
            raise ConfigError(f"parallel.cp: expected at least 1, got {self.cp}")

    @property
    def dtype(self) -> torch.dtype:
        """Of the passes."""
        return getattr(torch, self.precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run.

    recipe      name of the recipe it started from.
    distill     a few-step student: the weights it begins with are also its teacher's.
    refine      a second stage: the weights it begins with are also those of the first one.
    dmd         a student of its own clips: it begins with one's weights and is held against `teacher`'s. With none of
                the three, flow matching; there may be one.
    steps       optimizer steps in all.
    seed        of every random draw: initialisation, order of samples, noise, noise level.
    save_every  steps between checkpoints; the last step is always saved.
    keep        checkpoints that stay on disk, the newest ones.
    start       sha256 of the weights that the run begins with, an earlier stage's; None: fresh ones.
    new_latents  those weights are of a model of another VAE's latents: what reads and writes latents begins anew.
    start_gates  of a start from linear attention: stored, nearly open as released, moves the output by some percent;
                shut keeps it, and learns to forget slowly. See `wmkit.model.progressive`.
    teacher     sha256 of the weights that `dmd` learns from.
    threads     of torch on the CPU. Results depend on it in their last bits, so it is a setting and not the machine's.
    """

    recipe: str
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    distill: DistillConfig | None = None
    refine: RefineConfig | None = None
    dmd: DmdConfig | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    steps: int = 200
    seed: int = 0
    save_every: int = 50
    keep: int = 2
    start: str | None = None
    new_latents: bool = False
    start_gates: Literal["stored", "shut"] = "stored"
    teacher: str | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        _positive("", {"steps": self.steps, "save_every": self.save_every, "keep": self.keep, "threads": self.threads})
        if self.seed < 0:
            raise ConfigError(f"seed: expected a number of at least 0, got {self.seed}")
        if len(self._taught) > 1:
            raise ConfigError(f"{' and '.join(self._taught)}: expected one of them at most; set the others to null")
        model, data = self.model, self.data
        if (data.frames - 1) % model.latent_stride:
            raise ConfigError(
                f"data.frames: expected 1 + {model.latent_stride} k, the model's stride, got {data.frames}"
            )
        if data.height % model.latent_downscale or data.width % model.latent_downscale:
            size = f"{data.width}x{data.height}"
            raise ConfigError(
                f"data.height and data.width: expected multiples of {model.latent_downscale} px, got {size}"
            )
        if data.vae == "pixel-unshuffle" and model.latent_channels != self.codec.channels:
            raise ConfigError(
                f"model.latent_channels: expected {self.codec.channels}, which latent_stride {model.latent_stride} and "
                f"latent_downscale {model.latent_downscale} make, got {model.latent_channels}"
            )

    @property
    def _taught(self) -> list[str]:
        return [name for name in ("distill", "refine", "dmd") if getattr(self, name) is not None]

    @property
    def learns_from_models(self) -> bool:
        """Whether a step asks other models too: a teacher, a first stage, scores."""
        return bool(self._taught)

    @property
    def codec(self) -> PixelUnshuffle:
        """Video to latents and back; ConfigError for a model of another VAE's latents, which is not loaded here."""
        if self.data.vae != "pixel-unshuffle":
            raise ConfigError(
                f"data.vae: expected pixel-unshuffle where videos are encoded or decoded, got {self.data.vae}, whose "
                "latents are read from shards alone; run wmkit precompute on them"
            )
        return PixelUnshuffle(downscale=self.model.latent_downscale, stride=self.model.latent_stride)

    @property
    def text_encoder(self) -> HashedText | None:
        """What encodes captions, None for a model without text; ConfigError for an encoder that is not loaded here."""
        text = self.model.text
        if text is not None and self.condition.encoder != "hashed":
            raise ConfigError(
                f"condition.encoder: expected hashed where captions are encoded, got {self.condition.encoder}, whose "
                "states are read from shards alone; run wmkit precompute --text on them"
            )
        return None if text is None else HashedText(channels=text.channels, tokens=text.tokens)

    def chunks(self, latent_frames: int) -> ChunkLayout | None:
        """Chunks of a clip, None where every frame sees all."""
        size = self.objective.chunk_frames
        return ChunkLayout.first_plus_one(latent_frames, size) if size else None

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


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}: expected a share from 0 to 1, got {value}")
