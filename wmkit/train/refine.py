"""The refiner's objective: flow matching between a clip and a worse one that noise nearly covers.

arXiv 2605.15178, appendix A, with s0 = `sigma_start`: x1 = (1 - s0) x_low + s0 eps; a noise level s is drawn from the
shifted logit-normal, cut to (0, s0]; x_s = (1 - s / s0) x_high + (s / s0) x1; the velocity is (x1 - x_high) / s0, which
is dx/ds, so that Euler steps over s lead from x1 to x_high. The first latent frame of x_high is given clean, as a
reference without loss: it is a chunk of its own, so it reads no other frame and all others read it.

x_low is what the first stage makes of the clip's first frame and cameras, or the clip itself, shrunk and enlarged.
Axes: B batch, T latent frames, C channels, h w latent px; N video frames.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nnf

from wmkit.model.dit import CameraDiT
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.refiner import SINK_FRAMES
from wmkit.model.sampler import shifted_sigmas
from wmkit.train.condition import Conditions
from wmkit.train.config import ObjectiveConfig, TrainConfig
from wmkit.train.distill import solved
from wmkit.train.draws import normal, uniform
from wmkit.train.objective import Noised, flow_loss
from wmkit.train.stage_config import RefineConfig

__all__ = ["degraded", "refine_loss", "truncated_flow", "truncated_sigma"]


def truncated_sigma(objective: ObjectiveConfig, most: float, seed: int, step: int, slots: range) -> Float[Tensor, " B"]:
    """Noise levels in (0, most], one a clip: the objective's own, given that they are not above `most`.

    By the inverse of the normal's distribution, so that each takes one draw.
    """
    least_u = most / (objective.shift - (objective.shift - 1) * most)  # what the shift takes to `most`
    bound = math.inf if least_u >= 1 else (math.log(least_u / (1 - least_u)) - objective.sigma_mean)
    within = torch.special.ndtr(torch.tensor(bound / objective.sigma_std, dtype=torch.float64))
    drawn = torch.tensor([uniform(seed, step, slot, "refine sigma") for slot in slots], dtype=torch.float64)
    n = torch.special.ndtri(within * (1 - drawn))  # drawn may be 0, never 1: so no level is 0
    u = torch.sigmoid(objective.sigma_mean + objective.sigma_std * n)
    sigma = objective.shift * u / (1 + (objective.shift - 1) * u)
    return sigma.clamp(min=1e-4, max=most).float()


def truncated_flow(
    low: Float[Tensor, "B T C h w"],
    high: Float[Tensor, "B T C h w"],
    noise: Float[Tensor, "B T C h w"],
    sigma: Float[Tensor, " B"],
    sigma_start: float,
) -> Noised:
    """The clips at their noise levels and the velocity there; the first frame is `high`'s, clean and without loss."""
    start = (1 - sigma_start) * low + sigma_start * noise
    share = (sigma / sigma_start)[:, None, None, None, None].to(high)
    latent = (1 - share) * high + share * start
    levels = sigma[:, None].to(high).repeat(1, high.shape[1])
    levels[:, :SINK_FRAMES] = 0
    return Noised(
        latent=torch.cat([high[:, :SINK_FRAMES], latent[:, SINK_FRAMES:]], dim=1),
        sigma=levels,
        velocity=(start - high) / sigma_start,
    )


def degraded(video: Float[Tensor, "B N 3 H W"], factor: int) -> Float[Tensor, "B N 3 H W"]:
    """Frames shrunk by the mean of `factor` x `factor` px, or what is left at the edge, and enlarged bilinearly."""
    small = nnf.avg_pool2d(video.flatten(0, 1), factor, ceil_mode=True, count_include_pad=False)
    large = nnf.interpolate(small, size=video.shape[-2:], mode="bilinear", align_corners=False)
    return large.unflatten(0, video.shape[:2])


def refine_loss(
    refiner: CameraDiT,
    stage1: CameraDiT,
    video: Float[Tensor, "B N 3 H W"],
    high: Float[Tensor, "B T C h w"],
    seen: Conditions,
    config: TrainConfig,
    step: int,
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity over every frame but the given first; `high` are the video's own latents.

    ValueError without `config.refine`.
    """
    refine = config.refine
    if refine is None:
        raise ValueError("refine_loss: expected a config that refines")
    slots = range(len(video))
    low = _worse(stage1, video, high, seen, config, refine, step)
    noise = normal(config.seed, step, "noise", slots, tuple(high.shape[1:])).to(high)
    sigma = truncated_sigma(config.objective, refine.sigma_start, config.seed, step, slots)
    target = truncated_flow(low, high, noise, sigma.to(high), refine.sigma_start)
    chunks = ChunkLayout(frames=(SINK_FRAMES, high.shape[1] - SINK_FRAMES))
    velocity = refiner(target.latent, target.sigma, seen.cameras, seen.text, None, chunks)
    return flow_loss(velocity, target)


@torch.no_grad()
def _worse(
    stage1: CameraDiT,
    video: Tensor,
    high: Tensor,
    seen: Conditions,
    config: TrainConfig,
    refine: RefineConfig,
    step: int,
) -> Tensor:
    """x_low: clip by clip what the first stage makes, or the clip made coarse."""
    noise = normal(config.seed, step, "stage1", range(len(high)), tuple(high.shape[1:])).to(high)
    noisy = torch.cat([high[:, :1], noise[:, 1:]], dim=1)
    sigmas = shifted_sigmas(refine.stage1_steps, config.objective.shift).tolist()
    made = solved(stage1, noisy, seen, config.chunks(high.shape[1]), sigmas)[-1]
    coarse = config.codec.normalise(config.codec.encode(degraded(video, refine.factor)))
    draws = [uniform(config.seed, step, slot, "degraded") for slot in range(len(high))]
    swap = torch.tensor([draw < refine.degraded for draw in draws], device=high.device)
    return torch.where(swap[:, None, None, None, None], coarse, made)
