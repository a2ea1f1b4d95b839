"""Noise levels, noised latents and the loss."""

import math

import pytest
import torch

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.train.config import ObjectiveConfig
from wmkit.train.draws import generator_for, normal
from wmkit.train.objective import flow_loss, noised, sample_sigma


def test_a_draw_is_a_function_of_its_address() -> None:
    address = (3, 5, 1, "noise")
    first = torch.randn(4, generator=generator_for(*address))
    torch.randn(100)
    assert torch.equal(first, torch.randn(4, generator=generator_for(*address)))
    others = [(4, 5, 1, "noise"), (3, 6, 1, "noise"), (3, 5, 2, "noise"), (3, 5, 1, "sigma")]
    assert all(not torch.equal(first, torch.randn(4, generator=generator_for(*other))) for other in others)


def test_a_sample_has_its_noise_in_any_batch() -> None:
    """The same global slot draws the same noise whether two or four samples are drawn beside it."""
    assert torch.equal(normal(0, 1, "noise", range(4), (3, 2))[1:3], normal(0, 1, "noise", range(1, 3), (3, 2)))


def test_sigma_is_shifted_logit_normal() -> None:
    config = ObjectiveConfig(sigma_mean=0.3, sigma_std=0.8, shift=2.5)
    sigma = torch.cat([sample_sigma(config, 0, step, range(8)) for step in range(500)])
    assert sigma.min() > 0
    assert sigma.max() < 1
    # Undo shift and sigmoid: what is left is normal. 4000 draws: standard errors 0.013 and 0.009, tolerance 5 of them.
    u = sigma / (config.shift - (config.shift - 1) * sigma)
    n = torch.logit(u)
    assert n.mean().item() == pytest.approx(0.3, abs=0.065)
    assert n.std().item() == pytest.approx(0.8, abs=0.045)


def test_the_median_noise_level_of_the_published_shift() -> None:
    """Half the draws lie below shift / (1 + shift): 0.909 at 9.95."""
    sigma = torch.cat([sample_sigma(ObjectiveConfig(shift=9.95), 0, step, range(8)) for step in range(250)])
    assert sigma.median().item() == pytest.approx(9.95 / 10.95, abs=0.01)


def test_the_first_frame_is_clean_and_the_others_share_a_level() -> None:
    x0 = torch.randn(3, 4, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    made = noised(x0, ObjectiveConfig(), seed=1, step=2)
    assert torch.equal(made.latent[:, 0], x0[:, 0])
    assert (made.sigma[:, 0] == 0).all()
    assert (made.sigma[:, 1:] == made.sigma[:, 1:2]).all()
    assert len(set(made.sigma[:, 1].tolist())) == 3
    # x_sigma + (1 - sigma) v = eps and x_sigma - sigma v = x0: the convention, whatever the noise.
    level = made.sigma[:, :, None, None, None]
    torch.testing.assert_close(made.latent - level * made.velocity, x0)
    noise = made.latent + (1 - level) * made.velocity
    torch.testing.assert_close(noise, x0 + made.velocity)
    assert noise.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * noise.numel()))


def test_the_first_frame_has_no_loss() -> None:
    x0 = torch.zeros(1, 3, 2, 4, 4)
    made = noised(x0, ObjectiveConfig(), seed=0, step=0)
    answer = made.velocity.clone()
    answer[:, 0] = 1e6
    assert flow_loss(answer, made).item() == 0
    answer[:, 1] += 2
    assert flow_loss(answer, made).item() == pytest.approx(2)  # 4 on half of the frames that count


def test_one_frame_is_nothing_to_learn() -> None:
    with pytest.raises(ConfigError, match="at least 2 latent frames"):
        noised(torch.zeros(1, 1, 2, 4, 4), ObjectiveConfig(), seed=0, step=0)


CHUNKS = ChunkLayout.first_plus_one(7, 2)


def chunk_levels(kind: int, clips: int = 40) -> torch.Tensor:
    """(clips, chunks) noise levels of one kind of the mixture; the frames of a chunk share one."""
    mixture = tuple(float(place == kind) for place in range(4))
    config = ObjectiveConfig(chunk_frames=2, mixture=mixture, first_clean=0.0)  # type: ignore[arg-type]
    sigma = noised(torch.zeros(clips, 7, 1, 1, 1), config, 0, 0, CHUNKS).sigma
    parts = sigma.split(list(CHUNKS.frames), dim=1)
    assert all(torch.equal(part, part[:, :1].expand_as(part)) for part in parts)
    return torch.stack([part[:, 0] for part in parts], dim=1)


def test_noise_levels_of_chunks_by_kind() -> None:
    same, rising, anchored, prefix = (chunk_levels(kind) for kind in range(4))
    assert torch.equal(same, same[:, :1].expand_as(same))
    assert (rising.diff(dim=1) > 0).all()
    assert (anchored.diff(dim=1) > 0).all()
    assert anchored[:, -1].median() > rising[:, 0].median()
    for row in prefix:
        given = int((row == 0).sum())
        assert (row[:given] == 0).all()
        assert row[given:].unique().numel() == 1
    assert {int((row == 0).sum()) for row in prefix} == {0, 1, 2}


def test_the_first_frame_is_given_in_its_share_of_clips() -> None:
    config = ObjectiveConfig(first_clean=0.9)
    sigma = torch.cat([noised(torch.zeros(20, 2, 1, 1, 1), config, 0, step).sigma for step in range(50)])
    # 1000 draws of 0.9: standard error 0.0095, tolerance 4 of them
    assert (sigma[:, 0] == 0).float().mean().item() == pytest.approx(0.9, abs=0.04)
    assert (sigma[:, 1] > 0).all()


def test_given_frames_have_no_loss() -> None:
    config = ObjectiveConfig(chunk_frames=2, mixture=(0.0, 0.0, 0.0, 1.0))
    target = noised(torch.randn(4, 7, 2, 1, 1), config, 0, 0, CHUNKS)
    given = target.sigma == 0
    assert given.any(dim=1).all()
    wrong = target.velocity + given[:, :, None, None, None] * 100.0
    assert flow_loss(wrong, target).item() == 0.0
    off = target.velocity + (~given)[:, :, None, None, None] * 2.0
    assert flow_loss(off, target).item() == pytest.approx(4.0)
