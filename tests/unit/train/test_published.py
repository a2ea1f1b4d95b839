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
def test_the_model_builds_and_a_step_of_each_fits_64_gpus(name: str) -> None:
    """On the meta device: no weights, every layer."""
    config = recipe(name)
    with torch.device("meta"):
        model = CameraDiT(config.model)
    estimate = estimate_recipe(config, 64)
    assert estimate.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert estimate.fits
    assert estimate.spreads == (config.distill is None and config.dmd is None)
    assert (estimate.memory_gb > 1, estimate.step_s > 0.1) == (True, True)


def test_stages_that_learn_of_other_models_take_more() -> None:
    chunk, ode, dmd = (recipe(f"sana-wm-2b6-{stage}-64xh100") for stage in ("minute-chunk", "21s-ode", "21s-dmd"))
    shorter = chunk.with_settings(["data.frames=337"])
    plain, with_teacher, with_scores = (estimate_recipe(config, 64) for config in (shorter, ode, dmd))
    assert with_teacher.pflop == pytest.approx(plain.pflop * (4 + 60) / 4)
    assert with_teacher.states_gb == pytest.approx(plain.states_gb * 20 / 16)
    # Roll-out 1.5 + 2, critic 4, and every fifth step three scores and the way back through one pass computed again.
    assert with_scores.pflop == pytest.approx(plain.pflop * (3.5 + 4 + (3 + 3) / 5) / 4)
    assert with_scores.states_gb == pytest.approx(plain.states_gb * 36 / 16)


def test_a_dry_run_says_memory_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    name = "sana-wm-2b6-minute-camera-64xh100"
    assert cli.main(["train", name, "--dry-run", "--gpus", "64"]) == 0
    told = capsys.readouterr().out
    assert "2661.8 M parameters on 64 x h100: 32 groups of 2" in told
    assert "memory of the busiest GPU" in told
    assert "time of a step" in told
    assert cli.main(["train", "sana-wm-2b6-21s-dmd-64xh100", "--dry-run", "--gpus", "64"]) == 0
    assert "on one process alone" in capsys.readouterr().out


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
