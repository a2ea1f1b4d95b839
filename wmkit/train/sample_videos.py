"""`wmkit train --sample-every`: what the model makes of some training clips, as videos in the run folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wmkit.model.chunk_sampler import sample_chunks
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import Prompt, SamplerConfig, sample_latents
from wmkit.model.text import TextBatch
from wmkit.train.checkpoint import Trained
from wmkit.train.condition import ClipBatch, cameras_of, clean_latents, text_of
from wmkit.train.config import TrainConfig
from wmkit.video.encode import write_mp4

__all__ = ["sample_videos"]

SHOWN_CLIPS, SHOWN_STEPS, SHOWN_FPS, SHOWN_PX = 4, 20, 8, 128


def sample_videos(out: Path, config: TrainConfig, batch: ClipBatch) -> Callable[[int, Trained], None]:
    """A `Watch.look` that writes OUT/step-000100.mp4: the batch's first four clips one below the other, left as they
    are, right as the model (the running mean of its weights, where there is one) makes them of the first frame, the
    cameras and the caption. Small pictures are enlarged. A pure function of weights, config and batch.
    """
    shown = slice(0, SHOWN_CLIPS)
    codec, every = config.codec, cameras_of(batch)
    clean = clean_latents(batch, config, torch.device("cpu"))[shown]
    true = batch.video[shown] if batch.latent is None else codec.decode(codec.normalise(clean, inverse=True))
    cameras = CameraBatch(
        world_from_cam=every.world_from_cam[shown],
        intrinsics=every.intrinsics[shown],
        width=every.width,
        height=every.height,
    )
    text = None if config.model.text is None else text_of(batch, config, [True] * len(batch.keys))
    prompt = Prompt() if text is None else Prompt(text=TextBatch(states=text.states[shown], mask=text.mask[shown]))
    student = config.distill or config.dmd
    steps = SHOWN_STEPS if student is None else student.student_steps
    sampler = SamplerConfig(steps=steps, shift=config.objective.shift, seed=config.seed)
    out.mkdir(parents=True, exist_ok=True)

    def look(step: int, trained: Trained) -> None:
        model = trained.model
        x0 = clean.to(next(model.parameters()).device)
        chunks, mode = config.chunks(x0.shape[1]), model.training
        with torch.no_grad(), trained.averaged():
            model.eval()
            try:
                first, seen = x0[:, :1], cameras.to(x0.device)
                text = prompt if prompt.text is None else Prompt(text=prompt.text.to(x0.device))
                if chunks is None:
                    latent = sample_latents(model, first, seen, sampler, text)
                else:
                    latent = sample_chunks(model, first, seen, sampler, text, layout=chunks)
            finally:
                model.train(mode)
        made = codec.decode(codec.normalise(latent, inverse=True)).cpu()
        pictures = _beside(true, made)
        write_mp4(out / f"step-{step:06d}.mp4", pictures, SHOWN_FPS, (pictures.shape[2], pictures.shape[1]))

    return look


def _beside(true: Tensor, made: Tensor) -> NDArray[np.uint8]:
    """(T, h, w, 3) uint8 of two videos (B, T, 3, H, W) in [-1, 1]."""
    pairs = torch.cat([true, made.clamp(-1, 1)], dim=4)  # side by side
    tall = pairs.permute(1, 0, 3, 4, 2).flatten(1, 2)  # clips below one another
    rgb = ((tall + 1) * 127.5).round().to(torch.uint8).numpy()
    times = 2 * -(-SHOWN_PX // (2 * true.shape[-2])) if true.shape[-2] < SHOWN_PX else 1
    return rgb.repeat(times, axis=1).repeat(times, axis=2)
