"""Recipes: Python functions, each a complete `TrainConfig` for a model, data and hardware.

`tiny-cpu` and `small-gpu` stand alone; `published.py` has the schedule at its own size, `small_gpu.py` at that of one
GPU. The others are that schedule (arXiv 2605.15178, Table 7) at a size that two CPU cores train in minutes, each begun
from the weights of the one before (`--start`):

    tiny-cpu-video    ReLU linear attention, no cameras: what SANA-Video is, in the latents of another VAE
    tiny-cpu-vae      the same at home in new latents  published: 50,000 steps, 5 s clips; rate and batch not told
    tiny-cpu-linear   those two in one, begun fresh
    tiny-cpu-gdn      frame-wise GDN               published: 30,000 steps, lr 5e-5, batch 64, 5 s clips
    tiny-cpu-hybrid   every other block softmax    published: every fourth; 30,000 steps, lr 5e-5, batch 64, 5 s clips
    tiny-cpu-camera   both camera branches         published: 31,000 steps, lr 1e-5, batch 32, 1 min clips in metres
    tiny-cpu-chunk    chunk-causal                 published: 10,000 steps, lr 1e-5, batch 32, 1 min clips
    tiny-cpu-ode      distilled to four steps      published: 3,000 steps, lr 2e-5, decay 0.01, clip 1, 21 s clips
    tiny-cpu-dmd      self-forced, held against    published: 700 steps of 21 s clips, then 3,000 of 1 min; lr 1e-5,
                      a teacher (`--teacher`)      critic 2e-6, betas 0 and 0.999, clip 10, guidance 3, shift 10
    tiny-cpu-refiner  a second stage, begun from   published: rank-384 LoRA of LTX-2; steps and rates not told
                      tiny-cpu-camera

Published besides: AdamW, clip 0.5, no warm-up; of the chunk-causal stage 3 latent frames a chunk, i2v 0.9 and the
mixture of noise levels that is `ObjectiveConfig`'s default. Learning rates here are those of a model a thousandth the
size.
"""

from dataclasses import replace
from functools import partial

from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig, TextConfig
from wmkit.train.config import (
    ConditionConfig,
    DataConfig,
    DistillConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)
from wmkit.train.published import PUBLISHED
from wmkit.train.small_gpu import SMALL_GPU_STAGES, small_gpu_stage
from wmkit.train.stage_config import DmdConfig, RefineConfig

__all__ = [
    "RECIPES",
    "recipe",
    "small_gpu",
    "tiny_cpu",
    "tiny_cpu_camera",
    "tiny_cpu_chunk",
    "tiny_cpu_dmd",
    "tiny_cpu_gdn",
    "tiny_cpu_hybrid",
    "tiny_cpu_linear",
    "tiny_cpu_ode",
    "tiny_cpu_refiner",
    "tiny_cpu_vae",
    "tiny_cpu_video",
]


def tiny_cpu() -> TrainConfig:
    """Every part of the architecture at a size that two CPU cores train for about a minute: it moves, it is not good.

    17 frames of 64x96 px in pixel-unshuffle latents; no published counterpart.
    """
    return TrainConfig(
        recipe="tiny-cpu",
        model=ModelConfig(),
        data=DataConfig(frames=17, height=64, width=96, batch_size=2),
        objective=ObjectiveConfig(shift=3.0),
        optimizer=OptimizerConfig(lr=2e-3, warmup_steps=10),
        steps=150,
        save_every=50,
    )


def tiny_cpu_linear() -> TrainConfig:
    """Linear attention with text and without cameras, on 9 frames of 16x16 px."""
    return TrainConfig(
        recipe="tiny-cpu-linear",
        model=ModelConfig(
            latent_channels=48,
            latent_stride=1,
            latent_downscale=4,
            width=64,
            mixer="linear",
            softmax_every=0,
            camera_attention=None,
            camera_map=None,
            text=TextConfig(channels=32, tokens=16),
        ),
        data=DataConfig(frames=9, height=16, width=16, batch_size=8),
        objective=ObjectiveConfig(shift=3.0),
        optimizer=OptimizerConfig(lr=2e-3, clip_norm=0.5, warmup_steps=10),
        steps=200,
        save_every=100,
    )


def tiny_cpu_video() -> TrainConfig:
    """Linear attention on cells of 8x8 px: the other VAE of `tiny_cpu_vae`."""
    after = tiny_cpu_linear()
    return replace(after, recipe="tiny-cpu-video", model=replace(after.model, latent_channels=192, latent_downscale=8))


def tiny_cpu_vae() -> TrainConfig:
    """The weights of `tiny_cpu_video` in the latents of all later stages: what reads and writes latents is fresh."""
    return replace(tiny_cpu_linear(), recipe="tiny-cpu-vae", new_latents=True)


def tiny_cpu_gdn() -> TrainConfig:
    """The recurrence instead of linear attention: the same weights, gates nearly open."""
    before = tiny_cpu_linear()
    return replace(before, recipe="tiny-cpu-gdn", model=replace(before.model, mixer="frame-gdn"))


def tiny_cpu_hybrid() -> TrainConfig:
    """Softmax in every other block: the same weights but for those blocks' convolutions."""
    before = tiny_cpu_gdn()
    return replace(before, recipe="tiny-cpu-hybrid", model=replace(before.model, softmax_every=2))


def tiny_cpu_camera() -> TrainConfig:
    """Both camera branches, which begin as none; steps without cameras now and then."""
    before, branches = tiny_cpu_hybrid(), ModelConfig()
    model = replace(before.model, camera_attention=branches.camera_attention, camera_map=branches.camera_map)
    return replace(
        before,
        recipe="tiny-cpu-camera",
        model=model,
        condition=replace(before.condition, camera_dropout=0.1),
        steps=400,
    )


def tiny_cpu_chunk() -> TrainConfig:
    """Chunks of two latent frames; a running mean of weights."""
    before = tiny_cpu_camera()
    return replace(
        before,
        recipe="tiny-cpu-chunk",
        objective=replace(before.objective, chunk_frames=2, first_clean=0.9),
        optimizer=replace(before.optimizer, lr=1e-3, ema_decay=0.99),
        steps=200,
    )


def tiny_cpu_ode() -> TrainConfig:
    """A student of four steps, of a teacher that takes twelve: the chunk-causal stage's weights are both at first."""
    before = tiny_cpu_chunk()
    return replace(
        before,
        recipe="tiny-cpu-ode",
        condition=ConditionConfig(text_dropout=0.0, camera_dropout=0.0),
        distill=DistillConfig(),
        optimizer=replace(before.optimizer, lr=5e-4, clip_norm=1.0, weight_decay=0.01),
        steps=200,
    )


def tiny_cpu_dmd() -> TrainConfig:
    """The student of `tiny_cpu_ode` on its own clips, held against `tiny_cpu_camera`, which sees whole clips.

    Two settings are not the published ones, and each brings the student nearer to its teacher (LOG, 2026-11-23).
    Scores are compared, and the critic trained, from noise level 0.2 on, not 0.02: these models predict the clean
    latent, are off by as much however low the level, and the difference of two such errors is no score; the critic's
    gradient there is up to two hundred times that of the middle, besides. And the critic, which has dozens of steps
    where the published one has thousands, follows at eight times the student's rate, not at a fifth.
    """
    before = tiny_cpu_ode()
    return replace(
        before,
        recipe="tiny-cpu-dmd",
        distill=None,
        dmd=DmdConfig(guidance=0.0, critic_lr=4e-4, least=0.2, score_shift=3.0),
        optimizer=OptimizerConfig(lr=5e-5, beta1=0.0, beta2=0.999, clip_norm=0.5, warmup_steps=0, ema_decay=0.9),
        steps=200,
    )


def tiny_cpu_refiner() -> TrainConfig:
    """A second stage for the clips of `tiny_cpu_camera`, whose weights are both stages' at first."""
    before = tiny_cpu_camera()
    return replace(
        before,
        recipe="tiny-cpu-refiner",
        condition=ConditionConfig(text_dropout=0.0, camera_dropout=0.0),
        refine=RefineConfig(),
        optimizer=replace(before.optimizer, lr=1e-3, ema_decay=0.99),
        steps=200,
    )


def small_gpu() -> TrainConfig:
    """What one GPU trains in minutes: 17 frames of 64x64 px, the whole architecture; no published counterpart."""
    before = tiny_cpu()
    return replace(
        before,
        recipe="small-gpu",
        model=ModelConfig(
            latent_channels=96, latent_stride=2, latent_downscale=4, width=384, depth=8, heads=6, softmax_every=4
        ),
        data=DataConfig(frames=17, height=64, width=64, batch_size=32),
        optimizer=OptimizerConfig(lr=5e-4, clip_norm=0.5, warmup_steps=100, ema_decay=0.999),
        steps=4000,
        save_every=1000,
    )


MAKERS = {
    "tiny-cpu": tiny_cpu,
    "tiny-cpu-linear": tiny_cpu_linear,
    "tiny-cpu-gdn": tiny_cpu_gdn,
    "tiny-cpu-hybrid": tiny_cpu_hybrid,
    "tiny-cpu-camera": tiny_cpu_camera,
    "tiny-cpu-chunk": tiny_cpu_chunk,
    "tiny-cpu-ode": tiny_cpu_ode,
    "tiny-cpu-dmd": tiny_cpu_dmd,
    "tiny-cpu-refiner": tiny_cpu_refiner,
    "tiny-cpu-video": tiny_cpu_video,
    "tiny-cpu-vae": tiny_cpu_vae,
    "small-gpu": small_gpu,
    **{name: partial(small_gpu_stage, name) for name in SMALL_GPU_STAGES},
    **PUBLISHED,
}
RECIPES = tuple(MAKERS)


def recipe(name: str) -> TrainConfig:
    """The recipe of that name; ConfigError lists the names there are."""
    if name not in MAKERS:
        raise ConfigError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    return MAKERS[name]()
