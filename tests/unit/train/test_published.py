"""Recipes at the released size: their figures are the published ones, and a dry run of each says what it takes."""

import json
from typing import get_args

import pytest
import torch

from wmkit import cli
from wmkit.cli.model import RecipeName
from wmkit.errors import ConfigError
from wmkit.model.dit import CameraDiT
from wmkit.train.config import TrainConfig
from wmkit.train.estimate import estimate_recipe
from wmkit.train.published import PUBLISHED
from wmkit.train.recipes import RECIPES, recipe

# Steps, clips a step, video frames, learning rate, processes a clip: Table 7, and the public configs of distillation.
TABLE = {
    "vae-5s": (50_000, 64, 81, None, 1),
    "gdn-5s": (30_000, 64, 81, 5e-5, 1),
    "hybrid-5s": (30_000, 64, 81, 5e-5, 1),
    "minute-camera": (31_000, 32, 961, 1e-5, 2),
    "minute-sft": (10_000, 32, 961, 1e-5, 2),
    "minute-chunk": (None, 32, 961, 1e-5, 2),
    "21s-ode": (3_000, None, 337, 2e-5, None),
    "21s-dmd": (700, None, 337, 1e-5, None),
    "minute-dmd": (3_000, None, 961, 1e-5, 4),
}


@pytest.mark.parametrize("stage", TABLE)
def test_figures_are_the_published_ones(stage: str) -> None:
    config = recipe(f"sana-wm-2b6-{stage}-64xh100")
    found = (config.steps, config.data.batch_size, config.data.frames, config.optimizer.lr, config.parallel.cp)
    for own, told in zip(found, TABLE[stage], strict=True):
        assert told is None or own == told
    assert config.objective.shift == 9.95
    assert config.optimizer.clip_norm == {"21s-ode": 1.0, "21s-dmd": 10.0, "minute-dmd": 10.0}.get(stage, 0.5)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_model_builds(name: str) -> None:
    """On the meta device: no weights, every layer. Cameras are 0.5 billion of 2.66."""
    config = recipe(name)
    with torch.device("meta"):
        model = CameraDiT(config.model)
    millions = 2662 if config.model.camera_map is not None else 2159
    assert int(sum(parameter.numel() for parameter in model.parameters()) / 1e5) / 10 == pytest.approx(
        millions, abs=0.6
    )


def test_a_stage_that_learns_of_another_model_takes_more() -> None:
    one = ["data.batch_size=2", "parallel.recompute=true"]
    chunk, ode, dmd, refiner = (
        estimate_recipe(recipe(f"tiny-cpu-{stage}").with_settings([*one, "optimizer.ema_decay=0"]), 2)
        for stage in ("chunk", "ode", "dmd", "refiner")
    )
    assert ode.pflop == pytest.approx(chunk.pflop * (4 + 12) / 4)
    assert refiner.pflop == pytest.approx(chunk.pflop * (4 + 12) / 4)
    assert ode.states_gb == pytest.approx(chunk.states_gb * 20 / 16)
    # Roll-out 1.5 + 2, critic 4, and every fifth step two scores and the way back through one pass computed again.
    assert dmd.pflop == pytest.approx(chunk.pflop * (3.5 + 4 + (2 + 3) / 5) / 4)
    assert dmd.states_gb == pytest.approx(chunk.states_gb * 36 / 16)
    assert (chunk.spreads, ode.spreads, dmd.spreads, refiner.spreads) == (True, False, False, False)


def test_a_dry_run_says_memory_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    name = "sana-wm-2b6-21s-dmd-64xh100"
    assert cli.main(["train", name, "--dry-run", "--gpus", "64", "--set", "data.frames=81"]) == 0
    told = capsys.readouterr().out
    assert "2661.8 M parameters on 64 x h100: 32 groups of 2" in told
    assert "memory of the busiest GPU" in told
    assert "time of a step" in told
    assert "on one process alone" in told


def test_released_latents_are_not_made_here() -> None:
    config = recipe("sana-wm-2b6-gdn-5s-64xh100")
    with pytest.raises(ConfigError, match="run wmkit precompute on them"):
        _ = config.codec
    with pytest.raises(ConfigError, match="run wmkit precompute --text"):
        _ = config.text_encoder


def test_the_command_line_names_every_recipe() -> None:
    assert get_args(RecipeName) == RECIPES
    assert all(recipe(name).recipe == name for name in RECIPES)
    assert (recipe("small-gpu").data.height, recipe("small-gpu").data.frames) == (64, 17)
