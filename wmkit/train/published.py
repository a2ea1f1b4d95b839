"""Recipes at the released size: SANA-WM's schedule (arXiv 2605.15178, Table 7; public configs for what comes after it).

    sana-wm-2b6-vae-5s-64xh100              linear attention on LTX-2's latents    50,000 steps
    sana-wm-2b6-gdn-5s-64xh100              frame-wise GDN                         30,000
    sana-wm-2b6-hybrid-5s-64xh100           every fourth block softmax             30,000
    sana-wm-2b6-minute-camera-64xh100       cameras, minutes, metres               31,000
    sana-wm-2b6-minute-sft-64xh100          the same on the 50,000 best clips      10,000
    sana-wm-2b6-minute-chunk-64xh100        chunk-causal                           10,000
    sana-wm-2b6-21s-ode-64xh100             a student of four steps                 3,000
    sana-wm-2b6-21s-dmd-64xh100             self-forced                               700
    sana-wm-2b6-minute-dmd-64xh100          self-forced on minutes                  3,000

Each begins with the weights of the one before (`--start`), the self-forced ones are held against minute-sft's
(`--teacher`). Latents and text states are read from shards. What was not told is ours and marked so: rate and batch of
the first stage, steps of the chunk-causal one, batch of the distilled ones. The refiner is another maker's model and
no recipe of this kind: `wmkit.train.refiner_lora` and `RefineConfig`, whose defaults are the published ones. Nothing
here was trained; the last three run on one process only, as `wmkit.train.loop` stands.
"""

from dataclasses import replace

from wmkit.model.presets import preset
from wmkit.train.config import (
    ConditionConfig,
    DataConfig,
    DistillConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ParallelConfig,
    TrainConfig,
)
from wmkit.train.stage_config import DmdConfig

__all__ = [
    "PUBLISHED",
    "sana_wm_2b6_21s_dmd_64xh100",
    "sana_wm_2b6_21s_ode_64xh100",
    "sana_wm_2b6_gdn_5s_64xh100",
    "sana_wm_2b6_hybrid_5s_64xh100",
    "sana_wm_2b6_minute_camera_64xh100",
    "sana_wm_2b6_minute_chunk_64xh100",
    "sana_wm_2b6_minute_dmd_64xh100",
    "sana_wm_2b6_minute_sft_64xh100",
    "sana_wm_2b6_vae_5s_64xh100",
]


def sana_wm_2b6_vae_5s_64xh100() -> TrainConfig:
    """SANA-Video's linear attention at home in LTX-2's latents; rate and batch are ours, those of the next stage."""
    model = preset("sana-wm-2.6b")
    return TrainConfig(
        recipe="sana-wm-2b6-vae-5s-64xh100",
        model=replace(model, mixer="linear", softmax_every=0, camera_attention=None, camera_map=None),
        data=DataConfig(frames=81, height=704, width=1280, batch_size=64, vae="ltx2"),
        objective=ObjectiveConfig(shift=9.95, first_clean=0.9),
        condition=ConditionConfig(text_dropout=0.1, encoder="gemma-2"),
        optimizer=OptimizerConfig(lr=5e-5, beta1=0.9, beta2=0.999, eps=1e-10, clip_norm=0.5, warmup_steps=0),
        parallel=ParallelConfig(recompute=True, compile=True, precision="bfloat16"),
        steps=50_000,
        save_every=500,
        seed=3407,
    )


def sana_wm_2b6_gdn_5s_64xh100() -> TrainConfig:
    """The recurrence instead of linear attention."""
    before = sana_wm_2b6_vae_5s_64xh100()
    model = replace(before.model, mixer="frame-gdn")
    return replace(before, recipe="sana-wm-2b6-gdn-5s-64xh100", model=model, steps=30_000)


def sana_wm_2b6_hybrid_5s_64xh100() -> TrainConfig:
    """Softmax in every fourth block."""
    before = sana_wm_2b6_gdn_5s_64xh100()
    return replace(before, recipe="sana-wm-2b6-hybrid-5s-64xh100", model=replace(before.model, softmax_every=4))


def sana_wm_2b6_minute_camera_64xh100() -> TrainConfig:
    """Both camera branches, clips of a minute in metres, two GPUs a clip."""
    before = sana_wm_2b6_hybrid_5s_64xh100()
    return replace(
        before,
        recipe="sana-wm-2b6-minute-camera-64xh100",
        model=preset("sana-wm-2.6b"),
        data=replace(before.data, frames=961, batch_size=32, metric=True),
        optimizer=replace(before.optimizer, lr=1e-5),
        parallel=replace(before.parallel, cp=2),
        steps=31_000,
    )


def sana_wm_2b6_minute_sft_64xh100() -> TrainConfig:
    """The same on shards of the best clips alone."""
    return replace(sana_wm_2b6_minute_camera_64xh100(), recipe="sana-wm-2b6-minute-sft-64xh100", steps=10_000)


def sana_wm_2b6_minute_chunk_64xh100() -> TrainConfig:
    """Chunks of three latent frames at noise levels of the public mixture; how many steps is ours."""
    before = sana_wm_2b6_minute_sft_64xh100()
    objective = replace(before.objective, chunk_frames=3, mixture=(0.1, 0.4, 0.4, 0.1))
    return replace(before, recipe="sana-wm-2b6-minute-chunk-64xh100", objective=objective)


def sana_wm_2b6_21s_ode_64xh100() -> TrainConfig:
    """Four steps, on clips of 43 latent frames; steps of the teacher and batch are ours."""
    before = sana_wm_2b6_minute_chunk_64xh100()
    return replace(
        before,
        recipe="sana-wm-2b6-21s-ode-64xh100",
        data=replace(before.data, frames=337),
        condition=replace(before.condition, text_dropout=0.0),
        distill=DistillConfig(student_steps=4, teacher_steps=60),
        optimizer=replace(before.optimizer, lr=2e-5, clip_norm=1.0, weight_decay=0.01),
        steps=3_000,
    )


def sana_wm_2b6_21s_dmd_64xh100() -> TrainConfig:
    """Self-forced on what the softmax blocks keep whole; the batch is ours."""
    before = sana_wm_2b6_21s_ode_64xh100()
    return replace(
        before,
        recipe="sana-wm-2b6-21s-dmd-64xh100",
        distill=None,
        dmd=DmdConfig(critic_lr=2e-6),
        optimizer=replace(before.optimizer, lr=1e-5, beta1=0.0, beta2=0.999, clip_norm=10.0, weight_decay=0.0),
        steps=700,
    )


def sana_wm_2b6_minute_dmd_64xh100() -> TrainConfig:
    """The same on minutes; published with two chunks kept and a sink, four GPUs a clip for the scores."""
    before = sana_wm_2b6_21s_dmd_64xh100()
    return replace(
        before,
        recipe="sana-wm-2b6-minute-dmd-64xh100",
        data=replace(before.data, frames=961),
        dmd=DmdConfig(critic_lr=2e-6, window=1),
        parallel=replace(before.parallel, cp=4),
        steps=3_000,
    )


PUBLISHED = {
    "sana-wm-2b6-vae-5s-64xh100": sana_wm_2b6_vae_5s_64xh100,
    "sana-wm-2b6-gdn-5s-64xh100": sana_wm_2b6_gdn_5s_64xh100,
    "sana-wm-2b6-hybrid-5s-64xh100": sana_wm_2b6_hybrid_5s_64xh100,
    "sana-wm-2b6-minute-camera-64xh100": sana_wm_2b6_minute_camera_64xh100,
    "sana-wm-2b6-minute-sft-64xh100": sana_wm_2b6_minute_sft_64xh100,
    "sana-wm-2b6-minute-chunk-64xh100": sana_wm_2b6_minute_chunk_64xh100,
    "sana-wm-2b6-21s-ode-64xh100": sana_wm_2b6_21s_ode_64xh100,
    "sana-wm-2b6-21s-dmd-64xh100": sana_wm_2b6_21s_dmd_64xh100,
    "sana-wm-2b6-minute-dmd-64xh100": sana_wm_2b6_minute_dmd_64xh100,
}
