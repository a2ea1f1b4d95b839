"""Distillation by ODE regression: a few-step student is shown points of its teacher's path from noise to a clip.

As the first of SANA-WM's distillation stages (arXiv 2605.15178; public config `configs/sana_wm/distill`): the teacher
solves its flow from noise, the latents at the student's noise levels are kept, every chunk of a clip is put at one of
them at random, and the student's x0 = x - sigma v is regressed to where the path ended. The published run reads paths
that were stored; here the teacher makes them as it goes, all chunks together.
Axes: B batch, T latent frames, C channels, h w latent px.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.dit import CameraDiT
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.sampler import shifted_sigmas
from wmkit.train.condition import Conditions
from wmkit.train.config import DistillConfig, TrainConfig
from wmkit.train.draws import generator_for, normal

__all__ = ["ode_loss", "solved", "teacher_path"]


@torch.no_grad()
def teacher_path(
    teacher: CameraDiT, noisy: Float[Tensor, "B T C h w"], seen: Conditions, config: TrainConfig, distill: DistillConfig
) -> list[Tensor]:
    """Latents at the student's noise levels, falling from 1, and at the end, 0; the first frame stays as it is."""
    sigmas = shifted_sigmas(distill.teacher_steps, config.objective.shift).tolist()
    every = distill.teacher_steps // distill.student_steps
    return solved(teacher, noisy, seen, config.chunks(noisy.shape[1]), sigmas)[::every]


@torch.no_grad()
def solved(
    model: CameraDiT,
    noisy: Float[Tensor, "B T C h w"],
    seen: Conditions,
    chunks: ChunkLayout | None,
    sigmas: Sequence[float],
) -> list[Tensor]:
    """Latents at each of the noise levels, by Euler steps from `noisy` at the first; the first frame stays."""
    path, latent = [noisy], noisy
    for sigma, next_sigma in pairwise(sigmas):
        levels = noisy.new_full(noisy.shape[:2], sigma)
        levels[:, 0] = 0
        velocity = model(latent, levels, seen.cameras, seen.text, None, chunks)
        latent = torch.cat([latent[:, :1], latent[:, 1:] + (next_sigma - sigma) * velocity[:, 1:]], dim=1)
        path.append(latent)
    return path


def ode_loss(
    student: CameraDiT,
    teacher: CameraDiT,
    x0: Float[Tensor, "B T C h w"],
    seen: Conditions,
    config: TrainConfig,
    step: int,
) -> Float[Tensor, ""]:
    """Mean squared error of the student's x0 against the teacher's end, over every frame but the given first.

    Of `x0` only the first frame is used. ValueError without `config.distill`.
    """
    distill = config.distill
    if distill is None:
        raise ValueError("ode_loss: expected a config that distils")
    batch, frames = x0.shape[:2]
    noise = normal(config.seed, step, "noise", range(batch), tuple(x0.shape[1:])).to(x0)
    path = teacher_path(teacher, torch.cat([x0[:, :1], noise[:, 1:]], dim=1), seen, config, distill)
    chunks = config.chunks(frames)
    sizes = torch.tensor((frames,) if chunks is None else chunks.frames)
    level_BT = torch.stack(
        [
            torch.randint(
                distill.student_steps, (len(sizes),), generator=generator_for(config.seed, step, slot, "level")
            ).repeat_interleave(sizes)
            for slot in range(batch)
        ]
    )
    sigmas = shifted_sigmas(distill.student_steps, config.objective.shift).to(x0)
    sigma_BT = sigmas[level_BT]
    sigma_BT[:, 0] = 0
    latent = torch.stack(path)[level_BT, torch.arange(batch)[:, None], torch.arange(frames)]
    velocity = student(latent, sigma_BT, seen.cameras, seen.text, None, chunks)
    answer = latent - sigma_BT[:, :, None, None, None] * velocity
    return (answer - path[-1])[:, 1:].square().mean()
