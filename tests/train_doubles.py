"""A model of a few thousand parameters, batches that are a pure function of the step, and a run of both."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wmkit.model.config import ModelConfig
from wmkit.train.checkpoint import DataFacts
from wmkit.train.condition import StoredText
from wmkit.train.config import DataConfig, OptimizerConfig, TrainConfig
from wmkit.train.loop import TrainResult, train

__all__ = ["FACTS", "DrawnBatch", "batch_of", "run", "small_config"]

FACTS = DataFacts(digest="d" * 64, metric=1, up_to_scale=2)


@dataclass(frozen=True)
class DrawnBatch:
    """Two clips of five 24x16 frames; the second camera's path is the first's, twice as far."""

    video: Tensor
    world_from_cam: Tensor
    intrinsics: Tensor
    keys: tuple[str, ...] = ("a", "b")
    captions: tuple[str, ...] = ("a red room", "a street")
    latent: Tensor | None = None
    text: StoredText | None = None


def small_config(*settings: str) -> TrainConfig:
    """One GDN and one softmax block, both camera branches."""
    config = TrainConfig(
        recipe="test",
        model=ModelConfig(
            latent_channels=96, latent_stride=2, latent_downscale=4, width=16, depth=2, heads=2, softmax_every=2
        ),
        data=DataConfig(frames=5, height=16, width=24, batch_size=2),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=2),
        steps=4,
        save_every=2,
    )
    return config.with_settings(settings)


def batch_of(step: int) -> DrawnBatch:
    """Noise to look at, a straight path to follow."""
    poses = torch.eye(4).repeat(2, 5, 1, 1)
    poses[:, :, 2, 3] = torch.linspace(0, 1, 5) * torch.tensor([[0.5], [1.0]])
    return DrawnBatch(
        video=torch.rand(2, 5, 3, 16, 24, generator=torch.Generator().manual_seed(step)) * 2 - 1,
        world_from_cam=poses,
        intrinsics=torch.tensor([20.0, 20.0, 12.0, 8.0]).repeat(2, 5, 1),
    )


def run(out: Path, *settings: str, resume: bool = False) -> TrainResult:
    """Train the small model."""
    return train(small_config(*settings), batch_of, FACTS, out, resume=resume)
