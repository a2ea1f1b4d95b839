"""The schedule at a size that one GPU trains in minutes: each stage of `published.py` with its own figures but sizes.

    small-gpu-vae   small-gpu-gdn   small-gpu-hybrid   small-gpu-camera   small-gpu-sft   small-gpu-chunk
    small-gpu-ode   small-gpu-dmd   small-gpu-refiner

Rates, betas, clips, dropouts, noise levels, chunks, steps of students and guidance are the published stage's. Sizes are
ours: model, picture, length, batch, how many steps, words hashed instead of Gemma-2's states, pixel-unshuffle latents
instead of LTX-2's. Each begins with the weights of the one before (`--start`), `small-gpu-dmd` is held against
`small-gpu-sft` (`--teacher`), `small-gpu-refiner` begins with `small-gpu-camera`. None has run on a GPU yet.
"""

from dataclasses import replace

from wmkit.model.config import ModelConfig, TextConfig
from wmkit.train.config import ConditionConfig, ParallelConfig, TrainConfig
from wmkit.train.published import PUBLISHED
from wmkit.train.stage_config import RefineConfig

__all__ = ["SMALL_GPU_STAGES", "small_gpu_stage"]

STAGES = {
    "vae": "sana-wm-2b6-vae-5s-64xh100",
    "gdn": "sana-wm-2b6-gdn-5s-64xh100",
    "hybrid": "sana-wm-2b6-hybrid-5s-64xh100",
    "camera": "sana-wm-2b6-minute-camera-64xh100",
    "sft": "sana-wm-2b6-minute-sft-64xh100",
    "chunk": "sana-wm-2b6-minute-chunk-64xh100",
    "ode": "sana-wm-2b6-21s-ode-64xh100",
    "dmd": "sana-wm-2b6-21s-dmd-64xh100",
}
SMALL_GPU_STAGES = (*(f"small-gpu-{stage}" for stage in STAGES), "small-gpu-refiner")
FRAMES = 19  # ten latent frames: the picture and three chunks of three


def small_gpu_stage(name: str) -> TrainConfig:
    """The recipe of one of `SMALL_GPU_STAGES`; KeyError for another name."""
    stage = name.removeprefix("small-gpu-")
    if stage == "refiner":  # another maker's model in print: ours is the camera stage's, twice
        before = small_gpu_stage("small-gpu-camera")
        given = ConditionConfig(text_dropout=0.0, camera_dropout=0.0)
        return replace(before, recipe=name, condition=given, refine=RefineConfig())
    full = PUBLISHED[STAGES[stage]]()
    model = ModelConfig(
        latent_channels=96,
        latent_stride=2,
        latent_downscale=4,
        width=384,
        depth=8,
        heads=6,
        mixer=full.model.mixer,
        softmax_every=full.model.softmax_every,
        camera_attention=full.model.camera_attention,
        camera_map=full.model.camera_map,
        text=TextConfig(channels=32, tokens=16),
    )
    data = replace(full.data, frames=FRAMES, height=64, width=64, batch_size=16, vae="pixel-unshuffle")
    return replace(
        full,
        recipe=name,
        model=model,
        data=data,
        condition=replace(full.condition, encoder="hashed"),
        parallel=ParallelConfig(),
        steps=1000,
    )
