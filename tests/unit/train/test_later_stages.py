"""The refiner and the few-step students show what they are for, on held-out paths through a rendered room."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train_doubles import FACTS
from tests.world_batches import WorldBatches
from wmkit.model.refiner import DitRefiner, RefineTask
from wmkit.model.sampler import Prompt, SamplerConfig, sample_latents
from wmkit.train.checkpoint import load_model, start_weights
from wmkit.train.condition import cameras_of
from wmkit.train.config import TrainConfig
from wmkit.train.loop import Start, train
from wmkit.train.recipes import recipe

HELD = WorldBatches(first=1000, clips=8, count=32)(0)
CAPTION = HELD.captions[0]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def stage(folder: Path, name: str, steps: int, *, before: str = "", teacher: str = "", count: int = 4) -> None:
    config = recipe(name).with_settings([f"steps={steps}", f"data.batch_size={count}"])
    start = None
    if before:
        weights, digest = start_weights(folder / before)
        config, told = dataclasses.replace(config, start=digest), None
        if teacher:
            told, digest = start_weights(folder / teacher)
            config = dataclasses.replace(config, teacher=digest)
        start = Start(weights=weights, teacher=told)
    train(config, WorldBatches(count=count), FACTS, folder / name, start=start)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the camera stage is, of 400 steps with 8 clips."""
    folder = tmp_path_factory.mktemp("stages")
    stage(folder, "tiny-cpu-camera", 400, count=8)
    return folder


def psnr_db(latent: Tensor, config: TrainConfig) -> float:
    """Mean over clips, of their frames after the first."""
    error = (config.codec.decode(latent).clamp(-1, 1) - HELD.video)[:, 1:].square().mean(dim=(1, 2, 3, 4))
    return (10 * torch.log10(4 / error)).mean().item()


def prompt_of(config: TrainConfig) -> Prompt:
    encoder = config.text_encoder
    assert encoder is not None
    return Prompt(text=encoder.encode(list(HELD.captions)))


def test_a_refiner_improves_on_its_first_stage(trained: Path) -> None:
    """By PSNR, and more than the first stage's own weights do in the same three steps: training is worth something."""
    stage(trained, "tiny-cpu-refiner", 200, before="tiny-cpu-camera")
    (first_stage, config), (second_stage, _) = (
        load_model(trained / f"tiny-cpu-{name}") for name in ("camera", "refiner")
    )
    first = config.codec.encode(HELD.video)[:, :1]
    sampler = SamplerConfig(steps=12, shift=config.objective.shift)
    latent = sample_latents(first_stage, first, cameras_of(HELD), sampler, prompt_of(config))
    task = RefineTask(latent=latent, cameras=cameras_of(HELD), caption=CAPTION, fps=4.0, seed=0)
    found = {"stage 1": psnr_db(latent, config)}
    for name, model in (("refined", second_stage), ("by stage 1 itself", first_stage)):
        refiner = DitRefiner(model=model, text=config.text_encoder, licence="none")
        found[name] = psnr_db(refiner.refine(task), config)
    print(found)
    assert found["refined"] > found["stage 1"] + 0.5
    assert found["refined"] > found["by stage 1 itself"]
