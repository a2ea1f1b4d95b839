"""A clip chunk by chunk, each given away as soon as it is done: memory does not grow with length.

As the released few-step student is sampled: every chunk goes from noise to clean in a few Euler steps that read what
the model kept of the chunks before, then passes once more, clean at sigma 0, to be kept itself.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.model.dit import CameraDiT
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import Prompt, SamplerConfig, chunks_of, frame_noise, noisy_frames
from wmkit.model.stream import StreamConfig, StreamState

__all__ = ["stream_chunks"]


def stream_chunks(
    model: CameraDiT,
    first: Float[Tensor, "B 1 C h w"],
    cameras: CameraBatch,
    config: SamplerConfig,
    prompt: Prompt | None = None,
    *,
    layout: ChunkLayout | None = None,
    kept: StreamConfig | None = None,
) -> Iterator[Float[Tensor, "B t C h w"]]:
    """The latents of one chunk after the other, T = 1 + (F - 1) / stride frames in all; the first frame is `first`.

    `layout` None: the released one. `kept` None: softmax blocks keep every chunk; released: `StreamConfig(window=1)`.
    With everything kept the result is that of `sample_chunks` with interval 1. Raises, before the first chunk,
    InputError unless F = 1 + stride k and ConfigError for a layout of another length.
    """
    layout = chunks_of(model, cameras, layout)
    return _chunks(model, first, cameras, config, Prompt() if prompt is None else prompt, layout, kept)


def _chunks(
    model: CameraDiT,
    first: Tensor,
    cameras: CameraBatch,
    config: SamplerConfig,
    prompt: Prompt,
    layout: ChunkLayout,
    kept: StreamConfig | None,
) -> Iterator[Tensor]:
    noise = frame_noise(first, config.seed)
    states: list[StreamState | None] = [None] * len(prompt.passes)
    end = 0
    for frames in layout.frames:
        latent = noisy_frames(next(noise) if end else first, noise, frames)
        end += frames
        seen = cameras.until(1 + model.config.latent_stride * (end - 1))
        noisy = torch.ones(frames, dtype=torch.bool, device=first.device)
        noisy[0] = end > frames  # the picture comes clean
        # Not a decorator: it would stay on between chunks, in the caller's code.
        with torch.no_grad():
            for sigma, next_sigma in pairwise(config.sigmas):
                sigma_BT = (sigma * noisy.to(first)).expand(len(first), -1)
                velocity = torch.zeros_like(latent)
                for (text, weight), state in zip(prompt.passes, states, strict=True):
                    velocity += weight * model.stream(latent, sigma_BT, seen, text, state, kept)[0]
                latent = torch.where(noisy[:, None, None, None], latent + (next_sigma - sigma) * velocity, latent)
            clean = torch.zeros_like(latent[:, :, 0, 0, 0])
            states = [
                model.stream(latent, clean, seen, text, state, kept)[1]
                for (text, _), state in zip(prompt.passes, states, strict=True)
            ]
        yield latent
