"""Every stage at the size of one GPU: the published figures, a model that can be made, a step that fits."""

import dataclasses
import json

import pytest
import torch

from wmkit import cli
from wmkit.model.dit import CameraDiT
from wmkit.train.published import PUBLISHED
from wmkit.train.recipes import RECIPES, recipe
from wmkit.train.small_gpu import SMALL_GPU_STAGES, STAGES, small_gpu_stage


def test_there_is_one_of_every_published_stage_and_of_the_refiner() -> None:
    assert set(SMALL_GPU_STAGES) < set(RECIPES)
    left_out = set(PUBLISHED) - set(STAGES.values())
    assert left_out == {"sana-wm-2b6-minute-dmd-64xh100"}, "the same stage on longer clips"


@pytest.mark.parametrize("stage", STAGES)
def test_figures_that_are_no_sizes_are_the_published_ones(stage: str) -> None:
    small, full = small_gpu_stage(f"small-gpu-{stage}"), PUBLISHED[STAGES[stage]]()
    for part in ("optimizer", "objective", "distill", "dmd", "refine"):
        assert getattr(small, part) == getattr(full, part), part
    assert dataclasses.replace(small.condition, encoder=full.condition.encoder) == full.condition
    for name in ("mixer", "softmax_every", "camera_attention", "camera_map"):
        assert getattr(small.model, name) == getattr(full.model, name), name
    assert small.data.metric == full.data.metric


@pytest.mark.parametrize("name", SMALL_GPU_STAGES)
def test_a_stage_has_a_model_latents_and_text_and_fits_a_gpu(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = recipe(name)
    with torch.device("meta"):
        model = CameraDiT(config.model)
    assert 1e7 < sum(parameter.numel() for parameter in model.parameters()) < 1e8
    assert config.codec.spec().stride == 2
    assert config.text_encoder is not None
    assert cli.main(["train", name, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] is True
