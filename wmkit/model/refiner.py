"""The second stage: a clip's latents begun again from where noise nearly covers them, and made sharper in three steps.

x = (1 - s0) z + s0 eps with s0 = 0.909375, of latents z that the first stage made; then Euler steps along a velocity
at the levels below (arXiv 2605.15178, appendix A; the levels are the public release's). The first latent frame, the
sink, comes clean, is read by all others and reads none of them, and stays as it is; its picture is dropped from the
video, which then begins one frame later. `ltx2_refiner.py` is the released one; a `CameraDiT` may be one too.
Shapes: B batch, T latent frames, C latent channels, h w latent rows and columns.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.placement import Placement
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import frame_noise
from wmkit.model.text import TextEncoder

__all__ = [
    "DROPPED_FRAMES",
    "REFINE_SIGMAS",
    "SINK_FRAMES",
    "DitRefiner",
    "RefineTask",
    "Refiner",
    "frames_of",
    "refine_noise",
    "refined_block",
    "step_counter",
]

REFINE_SIGMAS = (0.909375, 0.725, 0.421875, 0.0)
SINK_FRAMES = 1  # latent frames
DROPPED_FRAMES = 1  # pictures that the sink decodes to


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RefineTask:
    """What is to be refined.

    latent   (B, T, C, h, w) in the model's scale, as the first stage made it.
    cameras  of the clip's video frames; the released refiner does not read them.
    caption  what is to be seen, one for all clips; may be empty.
    fps      of the video, 1/s.
    seed     of the noise.

    Raises InputError when there is no frame but the sink.
    """

    latent: Tensor
    cameras: CameraBatch
    caption: str
    fps: float
    seed: int

    def __post_init__(self) -> None:
        if self.latent.ndim != 5 or self.latent.shape[1] <= SINK_FRAMES:
            raise InputError(
                f"refiner: expected latents (B, T, C, h, w) of at least {SINK_FRAMES + 1} frames, got "
                f"{tuple(self.latent.shape)}; ask for a longer path, or leave the refiner out"
            )


@runtime_checkable
class Refiner(Protocol):
    """Latents to better ones of the same shape, the sink unchanged."""

    @property
    def channels(self) -> int:
        """C."""
        ...

    @property
    def licence(self) -> str:
        """Licence of the weights, in words."""
        ...

    def refine(
        self,
        task: RefineTask,
        progress: Callable[[int, int], None] | None = None,
        noise: Iterator[Float[Tensor, "B 1 C h w"]] | None = None,
    ) -> Float[Tensor, "B T C h w"]:
        """The refined latents; `progress(done, steps)` after every Euler step, `noise` None: `refine_noise`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DitRefiner:
    """A model of our own that was trained to refine: all frames at once, by the cameras too.

    `text` encodes captions, None for a model without text; `licence` is of the weights, in words; `place` is where and
    how the model works.
    """

    model: CameraDiT
    text: TextEncoder | None
    licence: str
    place: Placement = Placement()

    @property
    def channels(self) -> int:
        """C."""
        return self.model.config.latent_channels

    @torch.no_grad()
    def refine(
        self,
        task: RefineTask,
        progress: Callable[[int, int], None] | None = None,
        noise: Iterator[Float[Tensor, "B 1 C h w"]] | None = None,
    ) -> Float[Tensor, "B T C h w"]:
        """See `Refiner.refine`."""
        sink, rest = task.latent[:, :SINK_FRAMES], task.latent[:, SINK_FRAMES:]
        noise = refine_noise(task.latent, task.seed) if noise is None else noise
        text = None if self.text is None else self.text.encode([task.caption] * len(sink)).to(sink.device)
        chunks = ChunkLayout(frames=(SINK_FRAMES, rest.shape[1]))

        def velocity(latent: Tensor, sigma: float) -> Tensor:
            levels = latent.new_full(task.latent.shape[:2], sigma)
            levels[:, :SINK_FRAMES] = 0
            whole = torch.cat([sink, latent], dim=1)
            return self.model(whole, levels, task.cameras, text, None, chunks)[:, SINK_FRAMES:]

        after_step = step_counter(progress, len(REFINE_SIGMAS) - 1)
        with self.place.running(self.model):
            refined = refined_block(rest, frames_of(noise, rest.shape[1]), velocity, after_step)
        return torch.cat([sink, refined], dim=1)


def refine_noise(like: Float[Tensor, "B T C h w"], seed: int) -> Iterator[Float[Tensor, "B 1 C h w"]]:
    """Noise of the frames after the sink, one by one; other noise than the first stage's of the same seed."""
    digest = hashlib.sha256(f"{seed}\0refiner".encode()).digest()
    return frame_noise(like[:, :1], int.from_bytes(digest[:8], "little") >> 1)


def refined_block(
    block: Float[Tensor, "B t C h w"],
    noise: Float[Tensor, "B t C h w"],
    velocity: Callable[[Tensor, float], Tensor],
    after_step: Callable[[], None],
) -> Float[Tensor, "B t C h w"]:
    """Some frames noised and refined together; `velocity(latent, sigma)` is the model's, `after_step` counts."""
    first = REFINE_SIGMAS[0]
    latent = ((1 - first) * block.float() + first * noise.float()).to(block)
    for sigma, next_sigma in pairwise(REFINE_SIGMAS):
        latent = (latent.float() + (next_sigma - sigma) * velocity(latent, sigma).float()).to(block)
        after_step()
    return latent


def step_counter(progress: Callable[[int, int], None] | None, steps: int) -> Callable[[], None]:
    """What is called after each of so many steps, and tells `progress(done, steps)`."""
    done = count(1)

    def after_step() -> None:
        number = next(done)
        if progress is not None:
            progress(number, steps)

    return after_step


def frames_of(noise: Iterator[Tensor], count: int) -> Float[Tensor, "B t C h w"]:
    """The next `count` frames of noise."""
    return torch.cat([next(noise) for _ in range(count)], dim=1)
