"""From a picture and cameras to frames: the three samplers, a refiner after them, latents decoded as they come.

euler   all frames at once.
chunk   chunk-causal, each chunk begun before the last is done; decoded when all are.
stream  chunk by chunk in constant memory, each decoded as soon as it is done; not refined.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wmkit.model.chunk_sampler import sample_chunks
from wmkit.model.dit import CameraDiT
from wmkit.model.latent import LatentCodec
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.placement import Placement
from wmkit.model.rays import CameraBatch
from wmkit.model.refiner import DROPPED_FRAMES, Refiner, RefineTask
from wmkit.model.sampler import Prompt, SamplerConfig, sample_latents
from wmkit.model.stream import StreamConfig
from wmkit.model.stream_sampler import stream_chunks
from wmkit.sample.options import SamplerName
from wmkit.train.progress import TrainProgress

__all__ = ["STREAM_KEEPS", "Generation", "generate"]

STREAM_KEEPS = StreamConfig(window=1, sink=True)  # as released: memory does not grow with the clip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generation:
    """What is to be generated: `cameras` of 1 + stride k frames, `first` the picture (h, w, 3) at the model's size.

    A `refiner` reads `caption` and the video's `fps`; the video begins with the frame after the picture then.
    """

    first: NDArray[np.uint8]
    cameras: CameraBatch
    prompt: Prompt
    method: SamplerName
    sampler: SamplerConfig
    refiner: Refiner | None = None
    caption: str = ""
    fps: float = 16.0

    @property
    def dropped(self) -> int:
        """Frames at the beginning that the video does not have."""
        return 0 if self.refiner is None else DROPPED_FRAMES


def generate(
    model: CameraDiT, codec: LatentCodec, asked: Generation, progress: TrainProgress, place: Placement | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Every RGB frame (h, w, 3) in turn; `progress` counts Euler steps, and chunks where it streams.

    `place` is where and how the models work, None: on the CPU, in float32.
    """
    place = Placement() if place is None else place
    video = torch.from_numpy(asked.first).permute(2, 0, 1).float()[None, None] / 127.5 - 1
    with place.using(codec):
        first = codec.normalise(codec.encode(video.to(place.device)))
    asked = replace(asked, cameras=asked.cameras.to(place.device))
    if asked.method == "stream":
        yield from _streamed(model, codec, asked, first, progress, place)
        return
    work = (model, first, asked.cameras, asked.sampler, asked.prompt)
    with _counted(progress) as advance, place.running(model):
        latent = sample_latents(*work, advance) if asked.method == "euler" else sample_chunks(*work, progress=advance)
    if asked.refiner is not None:
        task = RefineTask(
            latent=latent, cameras=asked.cameras, caption=asked.caption, fps=asked.fps, seed=asked.sampler.seed
        )
        with _counted(progress) as advance:
            latent = asked.refiner.refine(task, advance)
    with place.using(codec):
        video = codec.decode(codec.normalise(latent, inverse=True))
    yield from _pictures(video[:, asked.dropped :])


@contextlib.contextmanager
def _counted(progress: TrainProgress) -> Iterator[Callable[[int, int], None]]:
    """What is called after every step with how many are done, of how many."""
    started = False

    def advance(done: int, steps: int) -> None:
        nonlocal started
        if not started:
            progress.start(steps, 0)
            started = True
        progress.advance(done, None)

    try:
        yield advance
    finally:
        if started:
            progress.stop()


def _streamed(
    model: CameraDiT,
    codec: LatentCodec,
    asked: Generation,
    first: Tensor,
    progress: TrainProgress,
    place: Placement,
) -> Iterator[NDArray[np.uint8]]:
    work = (model, first, asked.cameras, asked.sampler, asked.prompt)
    T = codec.spec().latent_frames(asked.cameras.frames)
    layout = ChunkLayout.first_plus_one(T)
    latest: Tensor | None = None
    progress.start(len(layout.frames), 0)
    try:
        chunks = stream_chunks(*work, layout=layout, kept=STREAM_KEEPS)
        for done in range(1, len(layout.frames) + 1):
            with place.running(model):
                chunk = next(chunks)
            # A latent frame decodes with the one before it, whose own last frame was shown already.
            joined = chunk if latest is None else torch.cat([latest, chunk], dim=1)
            with place.using(codec):
                video = codec.decode(codec.normalise(joined, inverse=True))
            yield from _pictures(video if latest is None else video[:, 1:])
            latest = chunk[:, -1:]
            progress.advance(done, None)
    finally:
        progress.stop()


def _pictures(video: Tensor) -> Iterator[NDArray[np.uint8]]:
    rgb = (video[0].permute(0, 2, 3, 1) + 1) * 127.5
    yield from rgb.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
