"""Self-forced distribution matching: a few-step student learns on what it makes itself, chunk after chunk.

As SANA-WM's later distillation stages (arXiv 2605.15178; public config `configs/sana_wm/distill`), by Self-Forcing
(Huang et al. 2025, arXiv:2506.08009). The student rolls a clip out with its caches, each chunk from noise in Euler
steps that end at a step drawn at random; gradients pass through that last step of every chunk alone. What it made is
noised to a level sigma, and two scores say where it should lead: the real one, a frozen teacher that sees whole clips,
and the fake one, a critic that begins as that teacher and is trained by flow matching on the student's clips. By the
gradient of distribution matching (Yin et al. 2024, arXiv:2311.18828, eq. 7 and 8),

    g = (x0_fake - x0_real) / mean |x - x0_real|,    loss = |x - stop(x - g)|^2 / 2,

whose derivative by x is g over the number of values. The student takes every `every`-th step, the critic each. Where
clips are Gaussian the student ends as its teacher's distribution (tests/unit/train/test_dmd_gaussian.py).
Axes: B batch, T latent frames, C channels, h w latent px.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.dit import CameraDiT
from wmkit.model.sampler import shifted_sigmas
from wmkit.model.stream import StreamConfig, StreamState
from wmkit.model.text import TextBatch
from wmkit.train.condition import Conditions
from wmkit.train.config import TrainConfig
from wmkit.train.draws import normal, uniform
from wmkit.train.objective import Noised, flow_loss
from wmkit.train.stage_config import DmdConfig

__all__ = ["critic_loss", "dmd_loss", "roll_out", "student_turn", "turns_before"]


def student_turn(config: TrainConfig, step: int) -> bool:
    """Whether the student takes step `step`, counted from 0."""
    return step % _settings(config).every == 0


def turns_before(config: TrainConfig, step: int) -> int:
    """How many steps the student took before step `step`."""
    return -(-step // _settings(config).every)


def roll_out(
    student: CameraDiT, like: Float[Tensor, "B T C h w"], seen: Conditions, config: TrainConfig, step: int
) -> Float[Tensor, "B T C h w"]:
    """Clips the student makes of the first frames of `like`; see the module for what carries gradients.

    ConfigError for a config without chunks.
    """
    dmd = _settings(config)
    layout = config.chunks(like.shape[1])
    if layout is None:
        raise ConfigError("dmd: expected a model of chunks, got objective.chunk_frames 0; set it as its start has it")
    sigmas = shifted_sigmas(dmd.student_steps, config.objective.shift).tolist()
    last = int(uniform(config.seed, step, 0, "exit") * dmd.student_steps)
    noise = normal(config.seed, step, "noise", range(len(like)), tuple(like.shape[1:])).to(like)
    noisy = torch.cat([like[:, :1], noise[:, 1:]], dim=1)
    kept = StreamConfig(window=dmd.window)
    asked = torch.ones(like.shape[1], device=like.device)
    asked[0] = 0
    state: StreamState | None = None
    made, end = [], 0
    for frames in layout.frames:
        begin, end = end, end + frames
        latent, here = noisy[:, begin:end], asked[begin:end]
        cameras = None if seen.cameras is None else seen.cameras.until(1 + config.codec.stride * (end - 1))
        step_size = here[:, None, None, None]
        with torch.no_grad():
            for sigma, next_sigma in pairwise(sigmas[: last + 1]):
                levels = (sigma * here).expand(len(like), -1)
                velocity = student.stream(latent, levels, cameras, seen.text, state, kept)[0]
                latent = latent + (next_sigma - sigma) * step_size * velocity
        levels = (sigmas[last] * here).expand(len(like), -1)
        velocity = student.stream(latent, levels, cameras, seen.text, state, kept)[0]
        chunk = latent - sigmas[last] * step_size * velocity
        with torch.no_grad():
            state = student.stream(chunk.detach(), torch.zeros_like(levels), cameras, seen.text, state, kept)[1]
        made.append(chunk)
    return torch.cat(made, dim=1)


def dmd_loss(
    made: Float[Tensor, "B T C h w"],
    real: CameraDiT,
    fake: CameraDiT,
    seen: Conditions,
    config: TrainConfig,
    step: int,
) -> Float[Tensor, ""]:
    """The student's loss on its own clips; its gradient by `made` is that of the module, none reaches the scores."""
    dmd = _settings(config)
    with torch.no_grad():
        target = _noised(made.detach(), config, step, "score")
        level = target.sigma[:, :, None, None, None]
        toward_fake = target.latent - level * fake(target.latent, target.sigma, seen.cameras, seen.text)
        velocity = real(target.latent, target.sigma, seen.cameras, seen.text)
        empty = _empty(config, len(made))
        if dmd.guidance and empty is not None:
            without = real(target.latent, target.sigma, seen.cameras, empty.to(made.device))
            velocity = velocity + dmd.guidance * (velocity - without)
        toward_real = target.latent - level * velocity
        scale = (made - toward_real)[:, 1:].abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-6)
        wanted = made - (toward_fake - toward_real) / scale
    return 0.5 * (made - wanted)[:, 1:].square().mean()


def critic_loss(
    made: Float[Tensor, "B T C h w"], fake: CameraDiT, seen: Conditions, config: TrainConfig, step: int
) -> Float[Tensor, ""]:
    """Flow matching of the critic on clips that the student made; no gradient reaches the student."""
    target = _noised(made.detach(), config, step, "critic")
    return flow_loss(fake(target.latent, target.sigma, seen.cameras, seen.text), target)


def _noised(made: Tensor, config: TrainConfig, step: int, purpose: str) -> Noised:
    """Clips at one level each, drawn evenly and shifted, within the config's bounds; the first frame clean."""
    dmd, slots = _settings(config), range(len(made))
    u = torch.tensor([uniform(config.seed, step, slot, f"{purpose} sigma") for slot in slots])
    sigma = (dmd.score_shift * u / (1 + (dmd.score_shift - 1) * u)).clamp(dmd.least, dmd.most).to(made)
    levels = sigma[:, None].repeat(1, made.shape[1])
    levels[:, 0] = 0
    noise = normal(config.seed, step, f"{purpose} noise", slots, tuple(made.shape[1:])).to(made)
    level = levels[:, :, None, None, None]
    return Noised(latent=(1 - level) * made + level * noise, sigma=levels, velocity=noise - made)


def _empty(config: TrainConfig, count: int) -> TextBatch | None:
    encoder = config.text_encoder
    return None if encoder is None else encoder.encode([""] * count)


def _settings(config: TrainConfig) -> DmdConfig:
    if config.dmd is None:
        raise ValueError("dmd: expected a config that distils by distribution matching")
    return config.dmd
