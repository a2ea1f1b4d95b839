"""Our sampler and diffusers' `SanaWMPipeline` make the same latents of the same noise, picture latent and captions."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.sana_wm.pipeline_sana_wm import SanaWMPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from PIL import Image

from tests.contract.test_diffusers_parity import FRAMES, HEIGHT, WIDTH, T, config_of, oracle_of, ours_of, path_of
from wmkit.model import CameraBatch, SamplerConfig, sample_latents
from wmkit.model.sampler import Prompt, released_sigmas
from wmkit.model.text import TextBatch

STEPS = 3
TOLERANCE = 1e-3  # float32; each step feeds the rounding of the one before through four blocks again


class Pipeline(SanaWMPipeline):
    """Theirs, with a picture latent that is given: no VAE is needed to compare samplers."""

    picture: torch.Tensor

    def _encode_first_frame(self, *_: Any) -> torch.Tensor:
        return self.picture


def captions(seed: int, channels: int) -> TextBatch:
    states = torch.randn(1, 7, channels, generator=torch.Generator().manual_seed(seed))
    return TextBatch(states=states, mask=torch.arange(7)[None] < 5)


@pytest.mark.parametrize("shift", [1.0, 8.0, 9.8])
@pytest.mark.parametrize("steps", [2, 60])
def test_noise_levels_are_those_of_their_scheduler(steps: int, shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    # theirs are float32
    torch.testing.assert_close(released_sigmas(steps, shift).float(), scheduler.sigmas, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_samples_are_equal(guidance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor)  # as in test_diffusers_parity
    config = config_of(camera_renorm="rms")
    assert config.text is not None
    oracle = oracle_of(config)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=9.8)
    absent: Any = None
    pipeline = Pipeline(tokenizer=absent, text_encoder=absent, vae=absent, transformer=oracle, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    poses, rows = path_of(2.0)
    rows = np.tile(rows[:1], (FRAMES, 1))
    shape = (1, config.latent_channels, T, HEIGHT // 32, WIDTH // 32)
    pipeline.picture = torch.randn(shape, generator=torch.Generator().manual_seed(5))[:, :, :1]
    text, negative = captions(1, config.text.channels), captions(2, config.text.channels)
    made: Any = pipeline(
        Image.new("RGB", (WIDTH, HEIGHT)),
        "",
        c2w=poses,
        intrinsics=rows,
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(0),
        prompt_embeds=text.states[:, None],
        prompt_attention_mask=text.mask.long(),
        negative_prompt_embeds=negative.states[:, None],
        negative_prompt_attention_mask=negative.mask.long(),
        output_type="latent",
    )
    theirs = made.frames.transpose(1, 2)
    cameras = CameraBatch(
        world_from_cam=torch.tensor(poses, dtype=torch.float32)[None],
        intrinsics=torch.tensor(rows, dtype=torch.float32)[None],
        width=WIDTH,
        height=HEIGHT,
    )
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    ours = sample_latents(
        ours_of(oracle, config),
        pipeline.picture.transpose(1, 2),
        cameras,
        SamplerConfig(steps=STEPS, shift=9.8, schedule="released"),
        Prompt(text=text, negative=negative, guidance=guidance),
        noise=iter(noise[:, 1:].split(1, dim=1)),
    )
    assert theirs[:, 1:].std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
