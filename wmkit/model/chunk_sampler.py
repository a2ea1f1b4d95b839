"""Chunk-flow Euler: a chunk-causal model makes its chunks one after the other, each begun before the last is done.

As the released chunk-causal teacher is sampled (public `chunk_flow_euler`): chunk i begins at global step
int(i k steps) and takes `steps` of its own; chunks that are done stay in the picture at sigma 0, those not begun are
left out, which changes nothing for a model that sees no later chunk. With k = 1 every chunk waits for the one before.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.dit import CameraDiT
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import Prompt, SamplerConfig, chunks_of, frame_noise, noisy_frames

__all__ = ["sample_chunks"]


@torch.no_grad()
def sample_chunks(
    model: CameraDiT,
    first: Float[Tensor, "B 1 C h w"],
    cameras: CameraBatch,
    config: SamplerConfig,
    prompt: Prompt | None = None,
    *,
    layout: ChunkLayout | None = None,
    interval: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "B T C h w"]:
    """Latents as of `sample_latents`, chunk-causal; about twice as many passes for the same `steps`.

    `layout` None: the released one, three latent frames a chunk and the picture with the first. `interval` is k, None:
    one over the number of chunks. Raises InputError unless F = 1 + stride k, ConfigError for a layout of another
    length and an interval outside [0, 1].
    """
    layout = chunks_of(model, cameras, layout)
    interval = 1 / len(layout.frames) if interval is None else interval
    if not 0 <= interval <= 1:
        raise ConfigError(f"chunk interval: expected 0 (all at once) to 1 (one by one), got {interval}")
    latent = noisy_frames(first, frame_noise(first, config.seed), layout.total)
    prompt = Prompt() if prompt is None else prompt
    levels = list(_levels(layout, interval, config.sigmas))
    for done, (chunks, sigma_T, next_T) in enumerate(levels, start=1):
        here = latent[:, : chunks.total]
        sigma_BT = here.new_tensor(sigma_T).expand(len(first), -1)
        step_T = here.new_tensor(next_T) - here.new_tensor(sigma_T)
        seen = cameras.until(1 + model.config.latent_stride * (chunks.total - 1))
        velocity = prompt.velocity(model, here, sigma_BT, seen, chunks)
        moved = here + step_T[:, None, None, None] * velocity
        latent = torch.cat([first, moved[:, 1:], latent[:, chunks.total :]], dim=1)
        if progress is not None:
            progress(done, len(levels))
    return latent


def _levels(
    layout: ChunkLayout, interval: float, sigmas: list[float]
) -> Iterator[tuple[ChunkLayout, list[float], list[float]]]:
    """Of every global step: the chunks begun, and the noise levels of their frames before and after it."""
    steps = len(sigmas) - 1
    begins = [int(chunk * interval * steps) for chunk in range(len(layout.frames))]
    for step in range(begins[-1] + steps):
        begun = [step - begin for begin in begins if begin <= step]
        chunks = ChunkLayout(frames=layout.frames[: len(begun)])
        before, after = [], []
        for own, frames in zip(begun, chunks.frames, strict=True):
            before += [sigmas[min(own, steps)]] * frames
            after += [sigmas[min(own + 1, steps)]] * frames
        before[0] = after[0] = 0.0  # the picture
        yield chunks, before, after
