"""The refiner's objective: its levels, its path, its pairs; and that a run of it can be sampled with."""

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.train_doubles import batch_of, small_config
from wmkit.errors import ConfigError
from wmkit.model.refiner import REFINE_SIGMAS, DitRefiner, Refiner, RefineTask
from wmkit.train.checkpoint import build_model
from wmkit.train.condition import cameras_of, clean_latents, conditions
from wmkit.train.config import ObjectiveConfig, TrainConfig
from wmkit.train.objective import sample_sigma
from wmkit.train.refine import degraded, refine_loss, truncated_flow, truncated_sigma
from wmkit.train.stage_config import RefineConfig

START = REFINE_SIGMAS[0]
SLOTS = range(4000)


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 6, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def refine_config(**changes: object) -> TrainConfig:
    return dataclasses.replace(small_config(), refine=RefineConfig(**{"stage1_steps": 2, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [START, 0.3])
def test_levels_are_the_objective_s_own_cut_at_the_start(most: float) -> None:
    """Against draws of the whole distribution with those above thrown away: the same deciles."""
    objective = ObjectiveConfig(shift=3.0, sigma_mean=0.2, sigma_std=1.3)
    found = truncated_sigma(objective, most, 0, 0, SLOTS)
    assert 0 < found.min() <= found.max() <= most
    wanted = sample_sigma(objective, 0, 1, range(12000))
    wanted = wanted[wanted <= most]
    deciles = torch.linspace(0.1, 0.9, 9)
    # Standard error of a decile of 4,000 draws is about 0.008 of the distribution; densities here are up to 5 a unit.
    torch.testing.assert_close(found.quantile(deciles), wanted.quantile(deciles), rtol=0, atol=0.03 * most)
    assert torch.equal(truncated_sigma(objective, most, 0, 0, range(5, 7)), found[5:7])


def test_the_path_leads_from_the_worse_clip_to_the_better() -> None:
    low, high, noise = (drawn(seed) for seed in range(3))
    start = truncated_flow(low, high, noise, torch.full((2,), START, dtype=torch.float64), START)
    torch.testing.assert_close(start.latent[:, 1:], ((1 - START) * low + START * noise)[:, 1:])
    latent = start.latent
    for sigma, following in pairwise(REFINE_SIGMAS):
        here = truncated_flow(low, high, noise, torch.full((2,), sigma, dtype=torch.float64), START)
        torch.testing.assert_close(here.latent[:, 1:], latent[:, 1:])
        latent = latent + (following - sigma) * here.velocity
    torch.testing.assert_close(latent[:, 1:], high[:, 1:])
    assert torch.equal(start.latent[:, 0], high[:, 0])
    assert torch.equal(start.sigma[:, 0], torch.zeros(2, dtype=torch.float64))


def test_coarse_frames_keep_their_means_and_lose_detail() -> None:
    video = batch_of(0).video
    coarse = degraded(video, 2)
    assert coarse.shape == video.shape
    assert coarse.std() < 0.7 * video.std()  # of noise; the mean of four has half the deviation
    flat = torch.full_like(video, 0.25)
    torch.testing.assert_close(degraded(flat, 3), flat)


def test_what_is_to_be_refined_is_the_first_stage_s_or_coarse() -> None:
    """With every clip degraded the first stage does not matter; with none it does."""
    batch, losses = batch_of(0), {}
    for share in (0.0, 1.0):
        config = refine_config(degraded=share)
        model = build_model(config.model, 0).eval()
        # A fresh model answers nothing, and what is wanted of that does not depend on the worse clip.
        torch.nn.init.normal_(model.final_layer.linear.weight, generator=torch.Generator().manual_seed(3))
        seen = conditions(batch, config, 0)
        for seed in (1, 2):
            stage1 = build_model(config.model, seed).eval()
            torch.nn.init.normal_(stage1.final_layer.linear.weight, generator=torch.Generator().manual_seed(seed))
            high = clean_latents(batch, config, torch.device("cpu"))
            losses[share, seed] = refine_loss(model, stage1, batch.video, high, seen, config, 0).item()
    assert losses[1.0, 1] == losses[1.0, 2]
    assert losses[0.0, 1] != losses[0.0, 2]


def test_our_model_is_a_refiner_that_keeps_the_sink() -> None:
    config = refine_config()
    model = build_model(config.model, 0).eval()
    torch.nn.init.normal_(model.final_layer.linear.weight, generator=torch.Generator().manual_seed(1))
    refiner = DitRefiner(model=model, text=None, licence="none")
    assert isinstance(refiner, Refiner)
    assert refiner.channels == 96
    latent = config.codec.encode(batch_of(0).video)
    task = RefineTask(latent=latent, cameras=cameras_of(batch_of(0)), caption="", fps=16.0, seed=0)
    seen: list[tuple[int, int]] = []
    made = refiner.refine(task, lambda done, steps: seen.append((done, steps)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(made[:, 0], latent[:, 0])
    assert not torch.allclose(made[:, 1:], latent[:, 1:])
    assert torch.equal(refiner.refine(task), made)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    for changes, word in (
        ({"sigma_start": 0.0}, "sigma_start"),
        ({"degraded": 2.0}, "degraded"),
        ({"factor": 1}, "factor"),
    ):
        with pytest.raises(ConfigError, match=word):
            refine_config(**changes)
    with pytest.raises(ConfigError, match="distill and refine: expected one of them"):
        refine_config().with_settings(['distill={"student_steps": 1, "teacher_steps": 1}'])
