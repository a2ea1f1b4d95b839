"""Adapters on the released refiner's classes: what is trained, what attention may read, and how they are merged."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ltx2_doubles import HIDDEN, tiny_transformer
from wmkit.errors import ConfigError
from wmkit.model.components import licence_of
from wmkit.model.ltx2_refiner import Ltx2Refiner, Ltx2RefinerConfig
from wmkit.model.rays import CameraBatch
from wmkit.model.refiner import REFINE_SIGMAS, RefineTask
from wmkit.train.objective import Noised, flow_loss
from wmkit.train.refine import truncated_flow
from wmkit.train.refiner_lora import LORA_MODULES, LoraSettings, add_lora, merge_lora, reference_velocity

CHANNELS, T = 6, 4
SHAPE = (2, T, CHANNELS, 2, 3)
SETTINGS = LoraSettings(rank=3)

torch.set_num_threads(1)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def caption(batch: int = 2) -> tuple[Tensor, Tensor]:
    return drawn(1, 5, HIDDEN, seed=9).expand(batch, -1, -1), torch.ones(batch, 5)


def target_of(sigma: float = 0.6) -> Noised:
    levels = torch.full((2,), sigma)
    return truncated_flow(drawn(*SHAPE, seed=1), drawn(*SHAPE, seed=2), drawn(*SHAPE, seed=3), levels, REFINE_SIGMAS[0])


def velocity(transformer: Any, target: Noised) -> Tensor:
    return reference_velocity(transformer, target, caption(), 16.0)


def test_the_published_rank_is_the_default() -> None:
    assert LoraSettings().rank == 384
    with pytest.raises(ConfigError, match="rank >= 1"):
        LoraSettings(rank=0)


def test_adapters_begin_as_nothing_and_are_all_that_is_trained() -> None:
    transformer = tiny_transformer(CHANNELS)
    before = velocity(transformer, target_of()).detach()
    names = {name for name, _ in transformer.named_parameters()}
    parameters = add_lora(transformer, SETTINGS, seed=0)
    assert torch.equal(velocity(transformer, target_of()), before)
    trained = {name for name, parameter in transformer.named_parameters() if parameter.requires_grad}
    assert len(trained) == len(parameters) == 2 * len(LORA_MODULES) * 2  # two matrices a layer, two blocks
    assert all("lora_" in name and "audio" not in name for name in trained)
    assert all(min(parameter.shape) == SETTINGS.rank for parameter in parameters)
    flow_loss(velocity(transformer, target_of()), target_of()).backward()
    moved = {name for name, parameter in transformer.named_parameters() if parameter.grad is not None}
    assert moved == trained
    assert len(names) + len(trained) == len(list(transformer.named_parameters()))


def test_training_and_sampling_see_the_same_model() -> None:
    """The velocity with references in one pass is that of the sink's cache and a block of all other frames."""
    transformer, target = tiny_transformer(CHANNELS), target_of()
    states, mask = caption()

    class Captions:
        """A pipeline with its captions given."""

        def __init__(self) -> None:
            self.transformer = tiny_transformer(CHANNELS)
            self.text_encoder = self.connectors = None
            self.first: list[Tensor] = []

        def _encode_prompt(self, text: str, **_: object) -> tuple[Tensor, Tensor]:
            return states[:1], mask[:1]

    pipeline = Captions()
    refiner = Ltx2Refiner(
        pipeline=pipeline, component=licence_of("ltx2-refiner", "."), config=Ltx2RefinerConfig(block_frames=None)
    )
    poses = torch.eye(4).repeat(2, 1 + 8 * (T - 1), 1, 1)
    cameras = CameraBatch(world_from_cam=poses, intrinsics=torch.ones(2, poses.shape[1], 4), width=96, height=64)
    task = RefineTask(latent=drawn(*SHAPE, seed=1), cameras=cameras, caption="", fps=16.0, seed=0)
    noise = drawn(*SHAPE, seed=3)
    made = refiner.refine(task, noise=iter(noise[:, 1:].split(1, dim=1)))
    latent = task.latent
    rest = (1 - REFINE_SIGMAS[0]) * latent[:, 1:] + REFINE_SIGMAS[0] * noise[:, 1:]
    with torch.no_grad():
        for sigma, following in pairwise(REFINE_SIGMAS):
            levels = torch.full((2, T), sigma)
            levels[:, 0] = 0
            whole = torch.cat([latent[:, :1], rest], dim=1)
            here = Noised(latent=whole, sigma=levels, velocity=target.velocity)
            rest = rest + (following - sigma) * velocity(transformer, here)[:, 1:]
    # float32, the same sums in another order, three steps
    torch.testing.assert_close(made[:, 1:], rest, rtol=1e-4, atol=1e-4)


def test_references_read_no_other_token() -> None:
    transformer, target = tiny_transformer(CHANNELS), target_of()
    changed = Noised(latent=target.latent.clone(), sigma=target.sigma, velocity=target.velocity)
    changed.latent[:, 1:] += 1
    with torch.no_grad():
        before, after = velocity(transformer, target), velocity(transformer, changed)
        assert torch.equal(before[:, 0], after[:, 0])
        changed.latent[:, 0] += 1
        assert not torch.allclose(velocity(transformer, changed)[:, 1:], after[:, 1:])


def test_adapters_learn_and_are_added_to_another_model() -> None:
    base, distilled = tiny_transformer(CHANNELS), tiny_transformer(CHANNELS, seed=5)
    parameters = add_lora(base, SETTINGS, seed=0)
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(30):
        loss = flow_loss(velocity(base, target_of()), target_of())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses
    same, other = tiny_transformer(CHANNELS), velocity(distilled, target_of()).detach()
    merge_lora(base, same)
    with torch.no_grad():
        # float32: W x + B A x against (W + B A) x
        torch.testing.assert_close(velocity(same, target_of()), velocity(base, target_of()), rtol=1e-4, atol=1e-5)
        merge_lora(base, distilled)
        assert not torch.allclose(velocity(distilled, target_of()), other)
    with pytest.raises(ConfigError, match="found none"):
        merge_lora(same, distilled)
