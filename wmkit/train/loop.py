"""The training loop: plain torch, readable top to bottom.

A run is a pure function of its config and its data: model, batches, noise levels and noise are addressed by (seed,
step), so a run that was killed and resumed has the same weights, bit for bit, as one that was not (on one machine
with one number of threads). Needs torch, numpy, safetensors and jaxtyping alone.
"""

import contextlib
import fcntl
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wmkit.atomic import make_folder
from wmkit.clock import monotonic_s
from wmkit.errors import ConfigError, InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.progressive import adopt
from wmkit.train.checkpoint import (
    LATEST,
    DataFacts,
    RunState,
    Trained,
    build_model,
    find_checkpoint,
    read_config,
    read_state,
    restore,
    save_checkpoint,
)
from wmkit.train.condition import ClipBatch, Conditions, conditions
from wmkit.train.config import OptimizerConfig, TrainConfig
from wmkit.train.distill import ode_loss
from wmkit.train.ema import RunningMean
from wmkit.train.metrics_log import MetricsLog, StepMetrics
from wmkit.train.objective import flow_loss, noised
from wmkit.train.parallel import ALONE, Team, spread, whole
from wmkit.train.progress import SilentProgress, TrainProgress
from wmkit.train.threads import cpu_threads

__all__ = ["TrainResult", "train"]


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
    start: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    progress: TrainProgress | None = None,
    team: Team = ALONE,
) -> TrainResult:
    """Train to `config.steps` in the run folder `out`; `batches(step)` gives the batch of a step counted from 0.

    `start` are the weights of an earlier stage to begin with, those that `config.start` names; see
    `wmkit.model.progressive`. A run that is there goes on from its latest checkpoint; with `resume` there must be one.
    Of a team every process calls, `batches` gives the clips of `team.slots`, and the first process writes. Raises
    InputError when `out` holds no run and `resume` is on, or cannot be written; ConfigError when the run on disk has
    another config or data, `start` is another model's, the loss is not finite, or the batch is too small for the team.
    """
    progress = progress or SilentProgress()
    start_s = monotonic_s()
    _make_folder(out)
    with _alone(out) if team.leads else contextlib.nullcontext(), cpu_threads(config.threads):
        goes_on = resume or (out / LATEST).exists()
        trained = _untrained(config, None if goes_on else start, team)
        model, mean = trained.model, trained.mean
        teacher = _teacher(config, start, team)
        done = _begin(out, config, data, trained) if goes_on else 0
        log = MetricsLog(out / "metrics.jsonl", done) if team.leads else None
        losses: list[float] = []
        checkpoint = find_checkpoint(out) if done else out
        model.train()
        progress.start(config.steps, done)
        try:
            for step, batch in _ahead(batches, range(done, config.steps)):
                row = _step(step, batch, trained, config, team, teacher)
                if mean is not None:
                    mean.add(model, config.optimizer.ema_decay_at(step))
                saves = row.step % config.save_every == 0 or row.step == config.steps
                if log is not None:
                    log.add(row, durable=saves)
                losses.append(row.loss)
                if saves:
                    checkpoint = save_checkpoint(out, trained, config, RunState(step=row.step, data=data), team)
                progress.advance(row.step, row.loss)
        finally:
            if log is not None:
                log.close()
            progress.stop()
    tenth = math.ceil(len(losses) / 10)
    return TrainResult(
        steps=max(config.steps, done),
        resumed=done,
        first_loss=sum(losses[:tenth]) / tenth if losses else None,
        last_loss=sum(losses[-tenth:]) / tenth if losses else None,
        seconds=monotonic_s() - start_s,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        checkpoint=checkpoint,
    )


def _untrained(config: TrainConfig, start: Mapping[str, Tensor] | None, team: Team) -> Trained:
    """The model of a fresh run, spread over the team, and what goes with it."""
    model = build_model(config.model, config.seed)
    if start is not None:
        adopt(model, start)
    spread(model, team, config.parallel)
    mean = RunningMean(model) if config.optimizer.ema_decay else None
    return Trained(model=model, optimizer=_optimizer(model, config.optimizer), mean=mean)


def _teacher(config: TrainConfig, start: Mapping[str, Tensor] | None, team: Team) -> CameraDiT | None:
    """The frozen model that is distilled from, None where nothing is."""
    if config.distill is None:
        return None
    if start is None:
        raise ConfigError(f"{config.recipe}: expected a run to distil, got none; name it with --start, on --resume too")
    if team.size > 1:
        raise ConfigError(f"{config.recipe}: expected one process to distil, got {team.size}; leave --processes out")
    teacher = build_model(config.model, config.seed)
    adopt(teacher, start)
    return teacher.to(team.device).eval().requires_grad_(False)


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
    step: int, batch: ClipBatch, trained: Trained, config: TrainConfig, team: Team, teacher: CameraDiT | None
) -> StepMetrics:
    """Loss, gradients, clip, update."""
    start_s = monotonic_s()
    model, optimizer, slots = trained.model, trained.optimizer, team.slots(config.data.batch_size)
    lr = config.optimizer.lr_at(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    x0 = config.codec.normalise(config.codec.encode(batch.video.to(team.device)))
    seen = conditions(batch, config, step, slots).to(team.device)
    if teacher is None:
        part = _flow_part(step, x0, seen, model, config, team)
    else:
        part = ode_loss(model, teacher, x0, seen, config, step)
    optimizer.zero_grad(set_to_none=True)
    (part * team.size).backward()  # the team's gradients are averaged
    norm = whole(torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip_norm))
    loss = team.summed(part)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise ConfigError(
            f"step {step + 1}: expected a finite loss and gradient, got {loss.item():.3g} and {norm.item():.3g} on "
            f"{', '.join(batch.keys)}; lower optimizer.lr, or drop these samples"
        )
    optimizer.step()
    return StepMetrics(step=step + 1, loss=loss.item(), grad_norm=norm.item(), lr=lr, seconds=monotonic_s() - start_s)


def _flow_part(step: int, x0: Tensor, seen: Conditions, model: CameraDiT, config: TrainConfig, team: Team) -> Tensor:
    """This process's part of the team's flow-matching loss."""
    chunks, shards = config.chunks(x0.shape[1]), team.frames(x0.shape[1])
    target = noised(x0, config.objective, config.seed, step, chunks, team.slots(config.data.batch_size))
    if shards is not None:
        target = target.of(slice(shards.start, shards.start + shards.frames[shards.rank]))
    latent = target.latent.to(config.parallel.dtype)
    velocity = model(latent, target.sigma, seen.cameras, seen.text, None, chunks, shards)
    return flow_loss(velocity.to(target.velocity), target, team.summed(target.asked))


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


def _begin(out: Path, config: TrainConfig, data: DataFacts, trained: Trained) -> int:
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
    restore(folder, trained)
    return state.step


def _make_folder(out: Path) -> None:
    try:
        make_folder(out / "checkpoints")
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
