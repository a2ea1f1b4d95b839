"""The sampler against a flow that is known in closed form."""

from typing import Any

import pytest
import torch

from tests.unit.model.tiny import STRIDE, moving_cameras, noisy_latent, stirred, tiny_config, tiny_model
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraBatch, ModelConfig, SamplerConfig, sample_latents
from wmkit.model.config import TextConfig
from wmkit.model.sampler import Prompt, frame_noise, released_sigmas, shifted_sigmas
from wmkit.model.text import TextBatch

B, T = 2, 4
CAMERAS = moving_cameras(B, 1 + STRIDE * (T - 1))


class Oracle:
    """The exact velocity towards a known x0: (x - x0) / sigma on noisy frames; garbage on clean ones."""

    def __init__(self, x0: torch.Tensor) -> None:
        self.x0 = x0
        self.seen: list[torch.Tensor] = []

    @property
    def config(self) -> ModelConfig:
        return tiny_config()

    def __call__(
        self, latent: torch.Tensor, sigma: torch.Tensor, cameras: CameraBatch, text: TextBatch | None, /
    ) -> torch.Tensor:
        self.seen.append(sigma)
        assert torch.equal(latent[:, 0], self.x0[:, 0]), "the first frame enters clean at every step"
        return (latent - self.x0) / sigma[:, :, None, None, None]


@pytest.mark.parametrize(("steps", "shift"), [(1, 1.0), (7, 1.0), (20, 3.0), (13, 9.8)])
def test_exact_velocity_leads_to_the_exact_latent(steps: int, shift: float) -> None:
    x0 = noisy_latent(B, T, seed=4)
    oracle = Oracle(x0)
    sample = sample_latents(oracle, x0[:, :1], CAMERAS, SamplerConfig(steps=steps, shift=shift))
    # A straight line is followed exactly by Euler steps of any size, up to rounding.
    torch.testing.assert_close(sample, x0, rtol=0, atol=1e-12)
    assert torch.equal(sample[:, 0], x0[:, 0])
    assert len(oracle.seen) == steps
    for sigma, level in zip(oracle.seen, shifted_sigmas(steps, shift).tolist(), strict=False):
        assert not sigma[:, 0].any()
        assert (sigma[:, 1:] == level).all()


def test_levels_fall_from_one_to_zero_and_shift_up() -> None:
    plain, shifted = shifted_sigmas(10, 1.0), shifted_sigmas(10, 3.0)
    torch.testing.assert_close(plain, torch.linspace(1, 0, 11, dtype=torch.float64))
    assert shifted[0] == 1
    assert shifted[-1] == 0
    assert (shifted.diff() < 0).all()
    assert shifted[5].item() == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_seed_decides_the_sample() -> None:
    model = stirred(tiny_model())
    first = noisy_latent(B, 1)

    def draw(seed: int) -> torch.Tensor:
        return sample_latents(model, first, CAMERAS, SamplerConfig(steps=2, seed=seed))

    assert torch.equal(draw(0), draw(0))
    assert torch.equal(draw(0)[:, 0], draw(1)[:, 0])
    assert not torch.isclose(draw(0)[:, 1:], draw(1)[:, 1:]).any(dim=-1).all()


def test_global_random_state_is_left_alone() -> None:
    model, first = tiny_model(), noisy_latent(B, 1)
    before = torch.get_rng_state()
    sample_latents(model, first, CAMERAS, SamplerConfig(steps=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_counts_every_step() -> None:
    calls: list[tuple[int, int]] = []
    x0 = noisy_latent(B, T)
    sample_latents(
        Oracle(x0),
        x0[:, :1],
        CAMERAS,
        SamplerConfig(steps=3),
        progress=lambda done, steps: calls.append((done, steps)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_single_camera_gives_the_picture_back() -> None:
    first = noisy_latent(B, 1)
    assert torch.equal(sample_latents(tiny_model(), first, moving_cameras(B, 1), SamplerConfig(steps=2)), first)


def test_frames_off_the_stride_are_named() -> None:
    with pytest.raises(InputError, match=r"1 \+ 2 k frames, got 4"):
        sample_latents(tiny_model(), noisy_latent(B, 1), moving_cameras(B, 4), SamplerConfig())


def test_a_longer_clip_begins_with_the_same_noise() -> None:
    first = noisy_latent(B, 1)
    short, long = (frame_noise(first, 3) for _ in range(2))
    drawn = [next(long) for _ in range(5)]
    assert all(torch.equal(next(short), frame) for frame in drawn[:2])
    assert not torch.equal(drawn[0], drawn[1])


def captions(seed: int) -> TextBatch:
    states = torch.randn(B, 5, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return TextBatch(states=states, mask=torch.ones(B, 5, dtype=torch.bool))


def test_guidance_is_a_line_through_two_velocities() -> None:
    model = stirred(tiny_model(text=TextConfig(channels=8, tokens=5)))
    first, config = noisy_latent(B, 1), SamplerConfig(steps=1)  # one step: the sample is linear in the velocity
    want, other = captions(1), captions(2)

    def sample(prompt: Prompt) -> torch.Tensor:
        return sample_latents(model, first, CAMERAS, config, prompt)

    plain, negative = sample(Prompt(text=want)), sample(Prompt(text=other))
    assert not torch.allclose(plain, negative)
    for guidance in (0.0, 1.0, 2.5, 5.0):
        guided = sample(Prompt(text=want, negative=other, guidance=guidance))
        torch.testing.assert_close(guided, negative + guidance * (plain - negative))


def test_no_guidance_is_one_pass() -> None:
    assert Prompt(text=captions(0), negative=captions(1)).passes[0][1] == 1
    assert len(Prompt().passes) == 1


@pytest.mark.parametrize("bad", [{"guidance": 2.0}, {"guidance": -1.0}, {"guidance": float("nan")}])
def test_bad_guidance_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="guidance"):
        Prompt(**bad)


def test_released_levels_end_a_little_above_the_end() -> None:
    levels = released_sigmas(60, 9.8)
    assert len(levels) == 61
    assert levels[0] == 1
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()
    assert 0 < levels[-2] < shifted_sigmas(60, 9.8)[-2]


@pytest.mark.parametrize("bad", [{"steps": 0}, {"shift": 0.0}, {"shift": float("nan")}, {"seed": -1}])
def test_bad_settings_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="sampler: expected"):
        SamplerConfig(**bad)
