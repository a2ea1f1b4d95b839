"""Recipes: Python functions, each a complete `TrainConfig` for a model, data and hardware."""

from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig
from wmkit.train.config import DataConfig, ObjectiveConfig, OptimizerConfig, TrainConfig

__all__ = ["RECIPES", "recipe", "tiny_cpu"]

RECIPES = ("tiny-cpu",)


def tiny_cpu() -> TrainConfig:
    """Every part of the architecture at a size that two CPU cores train for about a minute: it moves, it is not good.

    17 frames of 64x96 px in pixel-unshuffle latents; no published counterpart.
    """
    return TrainConfig(
        recipe="tiny-cpu",
        model=ModelConfig(),
        data=DataConfig(frames=17, height=64, width=96, batch_size=2),
        objective=ObjectiveConfig(shift=3.0),
        optimizer=OptimizerConfig(lr=2e-3, warmup_steps=10),
        steps=150,
        save_every=50,
    )


def recipe(name: str) -> TrainConfig:
    """The recipe of that name; ConfigError lists the names there are."""
    if name == "tiny-cpu":
        return tiny_cpu()
    raise ConfigError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
