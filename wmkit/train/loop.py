"""The training loop: plain torch, readable top to bottom.

A run is a pure function of its config and its data: model, batches, noise levels and noise are addressed by (seed,
step), so a run that was killed and resumed has the same weights, bit for bit, as one that was not (on one machine
with one number of threads). Needs torch, numpy, safetensors and jaxtyping alone.
"""

import contextlib
import dataclasses
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
    earlier_checkpoints,
    find_checkpoint,
    read_config,
    read_state,
    restore,
)
from wmkit.train.condition import ClipBatch, Conditions, clean_latents, conditions
from wmkit.train.config import OptimizerConfig, TrainConfig
from wmkit.train.distill import ode_loss
from wmkit.train.dmd import critic_loss, dmd_loss, roll_out, student_turn, turns_before
from wmkit.train.ema import RunningMean
from wmkit.train.metrics_log import MetricsLog, StepMetrics
from wmkit.train.objective import flow_loss, noised
from wmkit.train.pace import peak_memory_gib, step_work
from wmkit.train.parallel import ALONE, Team, spread, whole
from wmkit.train.refine import refine_loss
from wmkit.train.saving import Saving
from wmkit.train.threads import cpu_threads
from wmkit.train.watch import Watch

__all__ = ["Start", "TrainResult", "train"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """Weights of earlier stages: those to begin with, which `config.start` names, and those of `config.teacher`."""

    weights: Mapping[str, Tensor]
    teacher: Mapping[str, Tensor] | None = None


QUIET = Watch()


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
    start: Start | None = None,
    resume: bool = False,
    watch: Watch = QUIET,
    team: Team = ALONE,
) -> TrainResult:
    """Train to `config.steps` in the run folder `out`; `batches(step)` gives the batch of a step counted from 0.

    `start` are the weights of earlier stages; see `wmkit.model.progressive`. A run that is there goes on from its
    latest checkpoint; with `resume` there must be one. Of a team every process calls, `batches` gives the clips of
    `team.slots`, and the first process writes. Raises InputError when `out` holds no run and `resume` is on, or cannot
    be written; ConfigError when the run on disk has another config or data, `start` is another model's or lacks what
    the stage learns from, the loss is not finite, or the batch is too small for the team.
    """
    start_s = monotonic_s()
    _make_folder(out, resume)
    with _alone(out, team.leads), cpu_threads(config.threads), Saving(out, config, team) as saving:
        goes_on = resume or (out / LATEST).exists()
        teacher = _teacher(config, start, team)
        trained = _untrained(config, None if goes_on else start, teacher, team)
        model, mean = trained.model, trained.mean
        done, checkpoint = _begin(out, config, data, trained, watch.progress.note) if goes_on else (0, out)
        losses: list[float] = []
        watch.progress.start(config.steps, done, step_work(config, team.device, team.size))
        log = MetricsLog(out / "metrics.jsonl", done) if team.leads else None
        try:
            for step, batch, wait_s in _ahead(batches, range(done, config.steps)):
                saving.check()
                row = _step(step, batch, trained, config, team, teacher)
                row = dataclasses.replace(row, wait_s=wait_s, peak_gib=peak_memory_gib(team.device))
                if mean is not None:
                    _add(mean, model, config, step)
                saves = row.step % config.save_every == 0 or row.step == config.steps
                if log is not None:
                    log.add(row, durable=saves)
                losses.append(row.loss)
                if saves:
                    checkpoint = saving.begin(trained, RunState(step=row.step, data=data))
                watch.progress.advance(row.step, row)
                watch.show(row.step, trained)
        finally:
            if log is not None:
                log.close()
            watch.progress.stop()
    first, last = _ends(losses)
    return TrainResult(
        steps=max(config.steps, done),
        resumed=done,
        first_loss=first,
        last_loss=last,
        seconds=monotonic_s() - start_s,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        checkpoint=checkpoint,
    )


def _add(mean: RunningMean, model: CameraDiT, config: TrainConfig, step: int) -> None:
    """The weights after step `step`, where they changed: a student's mean counts its own steps, not its critic's."""
    if config.dmd is None:
        mean.add(model, config.optimizer.ema_decay_at(step))
    elif student_turn(config, step):
        mean.add(model, config.optimizer.ema_decay_at(turns_before(config, step)))


def _ends(losses: list[float]) -> tuple[float | None, float | None]:
    """Means over the first and the last tenth, None without any."""
    tenth = math.ceil(len(losses) / 10)
    return (sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth) if losses else (None, None)


def _untrained(config: TrainConfig, start: Start | None, teacher: CameraDiT | None, team: Team) -> Trained:
    """The model of a fresh run, spread over the team, and what goes with it; a critic begins as the teacher is."""
    model = build_model(config.model, config.seed)
    if start is not None:
        adopt(model, start.weights, new_latents=config.new_latents, gates=config.start_gates)
    spread(model, team, config.parallel)
    mean = RunningMean(model) if config.optimizer.ema_decay else None
    critic = None
    if config.dmd is not None and teacher is not None:
        fake = build_model(config.model, config.seed).to(team.device)
        fake.load_state_dict(teacher.state_dict())
        settings = dataclasses.replace(config.optimizer, lr=config.dmd.critic_lr)
        critic = Trained(model=fake, optimizer=_optimizer(fake, settings))
    return Trained(model=model, optimizer=_optimizer(model, config.optimizer), mean=mean, critic=critic)


def _teacher(config: TrainConfig, start: Start | None, team: Team) -> CameraDiT | None:
    """The frozen model that is learnt from besides the data, None where there is none."""
    if not config.learns_from_models:
        return None
    if start is None:
        raise ConfigError(f"{config.recipe}: expected a run to begin with, got none; name it with --start")
    weights = start.weights if config.dmd is None else start.teacher
    if weights is None:
        raise ConfigError(f"{config.recipe}: expected a run to learn from, got none; name it with --teacher")
    if team.size > 1:
        raise ConfigError(f"{config.recipe}: expected one process, got {team.size}; leave --processes out")
    teacher = build_model(config.model, config.seed)
    adopt(teacher, weights)
    return teacher.to(team.device).eval().requires_grad_(False)


def _ahead(batches: Callable[[int], ClipBatch], steps: range) -> Iterator[tuple[int, ClipBatch, float]]:
    """Each step with its batch and the seconds it had to be waited for, the next one being made on another thread;
    nothing depends on which is done first.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="wmkit-batch") as worker:
        following = worker.submit(batches, steps[0]) if steps else None
        for step in steps:
            assert following is not None
            begun_s = monotonic_s()
            batch = following.result()
            wait_s = monotonic_s() - begun_s
            if step + 1 in steps:
                following = worker.submit(batches, step + 1)
            yield step, batch, wait_s


def _step(
    step: int, batch: ClipBatch, trained: Trained, config: TrainConfig, team: Team, teacher: CameraDiT | None
) -> StepMetrics:
    """Loss, gradients, clip, update; of a student with a critic those of both, and the critic's are told."""
    start_s = monotonic_s()
    model, updated, slots = trained.model, trained, team.slots(config.data.batch_size)
    x0 = clean_latents(batch, config, team.device)
    seen = conditions(batch, config, step, slots).to(team.device)
    if teacher is None:
        part = _flow_part(step, x0, seen, model, config, team)
    elif config.refine is not None:
        part = refine_loss(model, teacher, batch.video.to(team.device), x0, seen, config, step)
    elif trained.critic is not None:
        turn, updated = student_turn(config, step), trained.critic
        with torch.set_grad_enabled(turn):
            made = roll_out(model, x0, seen, config, step)
        if turn:
            _update(step, dmd_loss(made, teacher, updated.model, seen, config, step), trained, batch, config, team)
        part = critic_loss(made, updated.model, seen, config, step)
    else:
        part = ode_loss(model, teacher, x0, seen, config, step)
    loss, norm, lr = _update(step, part, updated, batch, config, team)
    return StepMetrics(step=step + 1, loss=loss, grad_norm=norm, lr=lr, seconds=monotonic_s() - start_s)


def _update(
    step: int, part: Tensor, updated: Trained, batch: ClipBatch, config: TrainConfig, team: Team
) -> tuple[float, float, float]:
    """One step of an optimizer along this process's part of the team's loss: loss, gradient norm, learning rate."""
    model, optimizer = updated.model, updated.optimizer
    lr = dataclasses.replace(config.optimizer, lr=optimizer.defaults["lr"]).lr_at(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
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
    return loss.item(), norm.item(), lr


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


def _begin(
    out: Path, config: TrainConfig, data: DataFacts, trained: Trained, note: Callable[[str], None]
) -> tuple[int, Path]:
    """Load the latest whole checkpoint; how many steps it has done, and its folder. InputError where none is."""
    try:
        latest = find_checkpoint(out)
        return _load(latest, config, data, trained), latest
    except InputError as error:
        for folder in earlier_checkpoints(out):
            with contextlib.suppress(InputError):
                done = _load(find_checkpoint(folder), config, data, trained)
                note(f"{error}; going on from {folder.name}")
                return done, folder
        raise


def _load(folder: Path, config: TrainConfig, data: DataFacts, trained: Trained) -> int:
    """Put a checkpoint into place after checking that it is this run's; how many steps it has done."""
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


def _make_folder(out: Path, resume: bool) -> None:
    if resume and not out.exists():
        find_checkpoint(out)  # says that there is none
    try:
        make_folder(out / "checkpoints")
    except OSError as error:
        raise InputError(
            f"{out}: expected a folder that can be written, got: {error.strerror}; name another with --out"
        ) from error


@contextlib.contextmanager
def _alone(out: Path, leads: bool) -> Iterator[None]:
    """Hold the run's lock, which the process that leads does for all; InputError when another run has it."""
    if not leads:
        yield
        return
    try:
        file = (out / ".lock").open("a")
    except OSError as error:
        raise InputError(
            f"{out}: expected a folder that can be written, got: {error.strerror}; name another with --out"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another run is training here; wait for it, or name another folder") from None
        yield
