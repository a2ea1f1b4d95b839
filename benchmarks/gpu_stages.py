"""One training step of every stage of `wmkit.train.small_gpu`, for `gpu_figures.py --part`: does the stage run at all?

Batches are random and in memory. A stage begins with random weights of the model of the stage before, whatever became
of that one, and is held against such weights where it wants a teacher: what the step checks is that the stage takes
them over, that loss and gradient are finite, and what the step needs. It says nothing of what a stage learns.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_learn import Crops
from wmkit.camera import Intrinsics
from wmkit.train.checkpoint import DataFacts, build_model
from wmkit.train.config import TrainConfig
from wmkit.train.loop import Start, train
from wmkit.train.metrics_log import StepMetrics, read_metrics
from wmkit.train.parallel import Team
from wmkit.train.recipes import recipe
from wmkit.train.small_gpu import SMALL_GPU_STAGES

__all__ = ["BEFORE", "stage_config", "stage_row", "stage_start"]

BEFORE = {  # the stage that each begins with
    **dict(zip(SMALL_GPU_STAGES[1:-1], SMALL_GPU_STAGES[:-2], strict=True)),
    "small-gpu-refiner": "small-gpu-camera",
}
TEACHERS = {"small-gpu-dmd": "small-gpu-sft"}
# Depth keeps a softmax block in four; 13 frames are seven latent ones, the picture and two chunks of three.
TINY = ("model.width=16", "model.depth=4", "model.heads=2", "data.height=16", "data.width=16", "data.frames=13",
        "data.batch_size=2")  # fmt: skip


def stage_config(name: str, settings: Sequence[str]) -> TrainConfig:
    """One step of the recipe, which names the weights it begins with as a run of `wmkit train` would."""
    config = recipe(name).with_settings([*settings, "steps=1"])
    named = {"start": BEFORE.get(name), "teacher": TEACHERS.get(name)}
    return dataclasses.replace(config, **{key: value for key, value in named.items() if value is not None})


def stage_start(name: str, settings: Sequence[str]) -> Start | None:
    """Random weights of the stage before, and of the teacher; None for the first stage."""
    if name not in BEFORE:
        return None

    def weights(stage: str) -> dict[str, torch.Tensor]:
        return build_model(stage_config(stage, settings).model, seed=1).state_dict()

    teacher = TEACHERS.get(name)
    return Start(weights=weights(BEFORE[name]), teacher=None if teacher is None else weights(teacher))


def stage_row(name: str, device: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """What one step of the stage said and, on a GPU, took; raises what `wmkit.train.loop.train` raises.

    first_step_s  of a run of one step, which compiles kernels; step_s of another one after it, with all of them there.
    peak_gib      of the second.
    """
    config, start, batches = stage_config(name, settings), stage_start(name, settings), _batches(name, settings)
    first = _step(config, start, batches, device)
    if device == "cpu":
        return {"loss": first.loss, "grad_norm": first.grad_norm, "ran": True}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    second = _step(config, start, batches, device)
    seconds = {"first_step_s": round(first.seconds, 3), "step_s": round(second.seconds, 3)}
    return {"loss": second.loss, "grad_norm": second.grad_norm, **seconds, "peak_gib": second.peak_gib}


def _step(config: TrainConfig, start: Start | None, batches: Callable[[int], Crops], device: str) -> StepMetrics:
    """A run of one step in a folder of its own; `train` refuses a loss or gradient that is not finite."""
    facts = DataFacts(digest="random", metric=config.data.batch_size, up_to_scale=0)
    with tempfile.TemporaryDirectory(prefix="wmkit-gpu-stage-") as folder:
        train(config, batches, facts, Path(folder), start=start, team=Team(device=torch.device(device)))
        return read_metrics(Path(folder) / "metrics.jsonl")[-1]


def _batches(name: str, settings: Sequence[str]) -> Callable[[int], Crops]:
    """Noise to look at, straight paths of up to 1 m to follow."""
    data = stage_config(name, settings).data
    clips, frames = data.batch_size, data.frames

    def batch(step: int) -> Crops:
        generator = torch.Generator().manual_seed(step)
        poses = torch.eye(4).repeat(clips, frames, 1, 1)
        poses[:, :, 2, 3] = torch.linspace(0, 1, frames) * torch.rand(clips, 1, generator=generator)
        row = torch.tensor(Intrinsics.from_fov(80.0, data.width, data.height).row, dtype=torch.float32)
        return Crops(
            video=torch.rand(clips, frames, 3, data.height, data.width, generator=generator) * 2 - 1,
            world_from_cam=poses,
            intrinsics=row.expand(clips, frames, 4).contiguous(),
            keys=tuple(f"random {clip}" for clip in range(clips)),
            captions=("a room",) * clips,
        )

    return batch
