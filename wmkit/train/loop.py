"""The training loop: plain torch, readable top to bottom.

A run is a pure function of its config and its data: model, batches, noise levels and noise are addressed by (seed,
step), so a run that was killed and resumed has the same weights, bit for bit, as one that was not (on one machine
with one number of threads). Needs torch, numpy, safetensors and jaxtyping alone.
"""

import contextlib
import fcntl
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from wmkit.errors import ConfigError, InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.rays import CameraBatch
from wmkit.train.checkpoint import (
    DataFacts,
    RunState,
    build_model,
    find_checkpoint,
    read_config,
    read_state,
    restore,
    save_checkpoint,
)
from wmkit.train.config import OptimizerConfig, TrainConfig
from wmkit.train.metrics_log import MetricsLog, StepMetrics
from wmkit.train.objective import flow_loss, noised
from wmkit.train.progress import SilentProgress, TrainProgress
from wmkit.train.threads import cpu_threads

__all__ = ["ClipBatch", "TrainResult", "train"]


class ClipBatch(Protocol):
    """What the loop reads of a batch; `wmkit.dataset.batch.Batch` is one."""

    @property
    def video(self) -> Tensor:
        """(B, T, 3, H, W) float32 in [-1, 1]."""
        ...

    @property
    def world_from_cam(self) -> Tensor:
        """(B, T, 4, 4) float32, relative to the clip's first frame."""
        ...

    @property
    def intrinsics(self) -> Tensor:
        """(B, T, 4) float32 fx fy cx cy, px of the H x W frames."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """(B,) names of the samples."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run did.

    steps        in all, `resumed` of them by earlier runs.
    first_loss   mean over the first tenth of this run's steps (single losses jump with their noise level).
    last_loss    likewise over the last tenth; both None when there was nothing left to do.
    parameters   of the model.
    checkpoint   folder of the last one.
    """

    steps: int
    resumed: int
    first_loss: float | None
    last_loss: float | None
    seconds: float
    parameters: int
    checkpoint: Path


def train(
    config: TrainConfig,
    batches: Callable[[int], ClipBatch],
    data: DataFacts,
    out: Path,
    *,
    resume: bool = False,
    progress: TrainProgress | None = None,
) -> TrainResult:
    """Train to `config.steps` in the run folder `out`; `batches(step)` gives the batch of a step counted from 0.

    With `resume` it goes on from the run's latest checkpoint. Raises InputError when `out` holds a run and `resume`
    is off, holds none and it is on, or cannot be written; ConfigError when the run on disk has another config or
    data, or the loss is not finite.
    """
    progress = progress or SilentProgress()
    start_s = time.monotonic()
    _make_folder(out)
    with _alone(out), cpu_threads(config.threads):
        model = build_model(config.model, config.seed)
        optimizer = _optimizer(model, config.optimizer)
        done = _begin(out, config, data, model, optimizer) if resume else _begin_fresh(out)
        log = MetricsLog(out / "metrics.jsonl", done)
        losses: list[float] = []
        checkpoint = find_checkpoint(out) if done else out
        model.train()
        progress.start(config.steps, done)
        try:
            for step, batch in _ahead(batches, range(done, config.steps)):
                row = _step(step, batch, model, optimizer, config)
                log.add(row)
                losses.append(row.loss)
                if row.step % config.save_every == 0 or row.step == config.steps:
                    state = RunState(step=row.step, data=data)
                    checkpoint = save_checkpoint(out, model, optimizer, config, state)
                progress.advance(row.step, row.loss)
        finally:
            log.close()
            progress.stop()
    tenth = math.ceil(len(losses) / 10)
    return TrainResult(
        steps=max(config.steps, done),
        resumed=done,
        first_loss=sum(losses[:tenth]) / tenth if losses else None,
        last_loss=sum(losses[-tenth:]) / tenth if losses else None,
        seconds=time.monotonic() - start_s,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        checkpoint=checkpoint,
    )


def _ahead(batches: Callable[[int], ClipBatch], steps: range) -> Iterator[tuple[int, ClipBatch]]:
    """Each step with its batch, the next one being made on another thread; nothing depends on which is done first."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="wmkit-batch") as worker:
        following = worker.submit(batches, steps[0]) if steps else None
        for step in steps:
            assert following is not None
            batch = following.result()
            if step + 1 in steps:
                following = worker.submit(batches, step + 1)
            yield step, batch


def _step(
    step: int, batch: ClipBatch, model: CameraDiT, optimizer: torch.optim.Optimizer, config: TrainConfig
) -> StepMetrics:
    """Loss, gradients, clip, update."""
    start_s = time.monotonic()
    lr = config.optimizer.lr_at(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    target = noised(config.codec.encode(batch.video), config.objective, config.seed, step)
    loss = flow_loss(model(target.latent, target.sigma, _cameras(batch)), target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise ConfigError(
            f"step {step + 1}: expected a finite loss and gradient, got {loss.item():.3g} and {norm.item():.3g} on "
            f"{', '.join(batch.keys)}; lower optimizer.lr, or drop these samples"
        )
    optimizer.step()
    return StepMetrics(
        step=step + 1, loss=loss.item(), grad_norm=norm.item(), lr=lr, seconds=time.monotonic() - start_s
    )


def _cameras(batch: ClipBatch) -> CameraBatch:
    height, width = batch.video.shape[-2:]
    return CameraBatch(
        world_from_cam=batch.world_from_cam, intrinsics=batch.intrinsics, width=int(width), height=int(height)
    )


def _optimizer(model: CameraDiT, config: OptimizerConfig) -> torch.optim.AdamW:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters,
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        foreach=True,
    )


def _begin_fresh(out: Path) -> int:
    if (out / "latest").exists():
        raise InputError(f"{out}: holds a run already; go on with --resume, or name another folder with --out")
    return 0


def _begin(out: Path, config: TrainConfig, data: DataFacts, model: CameraDiT, optimizer: torch.optim.Optimizer) -> int:
    """Load the latest checkpoint after checking that it is this run's; how many steps it has done."""
    folder = find_checkpoint(out)
    difference = config.differs_from(read_config(folder).to_json())
    if difference is not None:
        key, stored, asked = difference
        raise ConfigError(
            f"{folder}: has {key} = {stored!r}, this run asks for {asked!r}; "
            f"resume with --set {key}={stored}, or train into another folder with --out"
        )
    state = read_state(folder)
    if state.data.digest != data.digest:
        raise ConfigError(
            f"{folder}: was trained on shards {state.data.digest[:12]}, got {data.digest[:12]}; "
            "name those shards with --data, or train into another folder with --out"
        )
    restore(folder, model, optimizer)
    return state.step


def _make_folder(out: Path) -> None:
    try:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: expected a folder that can be written, got: {error.strerror}") from error


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the run's lock; InputError when another process trains in this folder."""
    try:
        file = (out / ".lock").open("a")
    except OSError as error:
        raise InputError(f"{out}: expected a folder that can be written, got: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another run is training here; wait for it, or name another folder") from None
        yield
