"""Our loop round the released refiner's classes makes the latents of diffusers' own pipeline, of the same noise."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.ltx2_doubles import saved_refiner
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraBatch
from wmkit.model.ltx2_refiner import Ltx2Refiner, Ltx2RefinerConfig, load_ltx2_refiner
from wmkit.model.refiner import REFINE_SIGMAS, Refiner, RefineTask, refine_noise

CHANNELS, T = 6, 9
SHAPE = (1, T, CHANNELS, 2, 3)
TOLERANCE = 1e-4  # float32; each of the three steps of a block feeds the rounding of the one before to the next

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Ltx2Refiner:
    return load_ltx2_refiner(saved_refiner(tmp_path_factory.mktemp("refiner"), CHANNELS))


def with_config(loaded: Ltx2Refiner, config: Ltx2RefinerConfig) -> Ltx2Refiner:
    return Ltx2Refiner(pipeline=loaded.pipeline, component=loaded.component, config=config)


def task(caption: str = "a red room", seed: int = 0) -> RefineTask:
    poses = torch.eye(4).repeat(1, 1 + 8 * (T - 1), 1, 1)
    cameras = CameraBatch(world_from_cam=poses, intrinsics=torch.ones(*poses.shape[:2], 4), width=96, height=64)
    latent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    return RefineTask(latent=latent, cameras=cameras, caption=caption, fps=16.0, seed=seed)


def their_noise(seed: int, size: int) -> Iterator[Tensor]:
    """Frames of what their pipeline draws, block by block."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(1, T, size):
        drawn = torch.randn(1, CHANNELS, min(size, T - start), *SHAPE[3:], generator=generator)
        yield from drawn.transpose(1, 2).split(1, dim=1)


@pytest.mark.parametrize(("size", "kept"), [(3, 11), (3, 4), (8, 11), (1, 3)])
def test_latents_are_those_of_their_pipeline(loaded: Ltx2Refiner, size: int, kept: int) -> None:
    asked = task()
    theirs = loaded.pipeline(
        asked.latent.transpose(1, 2),
        asked.caption,
        fps=asked.fps,
        generator=torch.Generator().manual_seed(7),
        block_size=size,
        kv_max_frames=kept,
        output_type="latent",
    ).transpose(1, 2)
    config = Ltx2RefinerConfig(block_frames=None if size == T - 1 else size, kept_frames=kept)
    ours = with_config(loaded, config).refine(asked, noise=their_noise(7, size))
    assert (theirs - asked.latent)[:, 1:].std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
    assert torch.equal(ours[:, :1], asked.latent[:, :1]), "the sink stays"


def test_the_loaded_one_is_a_refiner(loaded: Ltx2Refiner) -> None:
    assert isinstance(loaded, Refiner)
    assert (loaded.channels, "LTX-2" in loaded.licence) == (CHANNELS, True)
    seen: list[tuple[int, int]] = []
    made = loaded.refine(task(), lambda done, steps: seen.append((done, steps)))
    assert seen == [(done, 9) for done in range(1, 10)]  # three blocks of three steps
    assert torch.equal(loaded.refine(task()), made)
    assert not torch.equal(loaded.refine(task(seed=1)), made)
    assert not torch.equal(loaded.refine(task("a street")), made)


def test_blocks_read_the_refined_past_alone(loaded: Ltx2Refiner) -> None:
    asked = task()
    changed = asked.latent.clone()
    changed[:, 4:] += 1
    again = RefineTask(latent=changed, cameras=asked.cameras, caption=asked.caption, fps=asked.fps, seed=0)
    before, after = loaded.refine(asked), loaded.refine(again)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


def test_three_steps_at_the_released_levels() -> None:
    assert REFINE_SIGMAS == (0.909375, 0.725, 0.421875, 0.0)
    noise = refine_noise(torch.zeros(SHAPE), 0)
    first = torch.randn(1, 1, *SHAPE[2:], generator=torch.Generator().manual_seed(0))
    assert not torch.equal(next(noise), first), "not the first stage's noise of that seed"


def test_refusals(tmp_path: Path, loaded: Ltx2Refiner) -> None:
    with pytest.raises(InputError, match=r"to be a folder of SanaWMLTX2Refiner, got: .*; name one, or use --refiner"):
        load_ltx2_refiner(tmp_path)
    with pytest.raises(ConfigError, match="kept_frames > 1"):
        Ltx2RefinerConfig(kept_frames=1)
    asked = task()
    with pytest.raises(InputError, match="at least 2 frames"):
        RefineTask(latent=asked.latent[:, :1], cameras=asked.cameras, caption="", fps=16.0, seed=0)
