"""Losses of the first steps of every tiny recipe: `python -m tests.golden.loss_curves` writes loss_curves.json anew.

A change that is not meant to alter training leaves them as they are; one that is says so in the CHANGELOG, with the
new file beside it. Every stage begins with weights that are drawn, not trained: the last layer and the camera branches
would be zero otherwise, and half of the code would not count.
"""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tests.train_doubles import FACTS
from tests.wall_clips import clips_of
from wmkit.atomic import json_bytes, write_atomic
from wmkit.train.checkpoint import build_model
from wmkit.train.config import TrainConfig
from wmkit.train.loop import Start, train
from wmkit.train.metrics_log import read_metrics
from wmkit.train.recipes import RECIPES, recipe

__all__ = ["GOLDEN", "STEPS", "TINY", "losses", "stored"]

GOLDEN = Path(__file__).with_name("loss_curves.json")
TINY = tuple(name for name in RECIPES if name.startswith("tiny-cpu"))
STEPS = 3


def losses(name: str, out: Path) -> list[float]:
    """Of the recipe's first steps, two clips each."""
    config = recipe(name).with_settings([f"steps={STEPS}", "data.batch_size=2"])
    batches = partial(clips_of, count=2, frames=config.data.frames, height=config.data.height, width=config.data.width)
    # As the stage before had it: of other latents, where they change.
    before = recipe("tiny-cpu-video") if config.new_latents else config
    start = Start(weights=_drawn(before, 1), teacher=None if config.dmd is None else _drawn(config, 2))
    train(config, batches, FACTS, out, start=start)
    return [row.loss for row in read_metrics(out / "metrics.jsonl")]


def stored() -> dict[str, list[float]]:
    """The golden file's."""
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def _drawn(config: TrainConfig, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = build_model(config.model, config.seed).state_dict()
    return {name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}


def main() -> int:
    """Write every curve."""
    curves = {}
    for name in TINY:
        with tempfile.TemporaryDirectory() as folder:
            curves[name] = losses(name, Path(folder))
        print(name, *(f"{loss:.5f}" for loss in curves[name]), file=sys.stderr)
    write_atomic(GOLDEN, json_bytes(curves))
    return 0


if __name__ == "__main__":
    sys.exit(main())
