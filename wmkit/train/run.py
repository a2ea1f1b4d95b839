"""`wmkit train`: a recipe and a shards folder, to a run folder."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from wmkit.camera import ScaleKind
from wmkit.dataset.latents import latents_told, precomputed, texts_told
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.schema import ShardsFolder, head_sha256, open_shards
from wmkit.dataset.workers import BatchWorkers
from wmkit.errors import ConfigError, InputError
from wmkit.train.checkpoint import DataFacts, start_weights
from wmkit.train.config import TrainConfig
from wmkit.train.loop import Start, TrainResult, train
from wmkit.train.motion import motion_facts
from wmkit.train.parallel import Team, joined
from wmkit.train.progress import SilentProgress, TrainProgress
from wmkit.train.recipes import recipe
from wmkit.train.sample_videos import sample_videos
from wmkit.train.step_logs import EventFiles, WandbRun
from wmkit.train.watch import LoggedProgress, Watch

__all__ = ["TrainOptions", "TrainSummary", "run_train", "train_on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train, on what (a shards folder or its URL), into where; `settings` are `key=value` texts applied to it.

    start         run or checkpoint of an earlier stage whose weights this one begins with; None: fresh ones.
    teacher       likewise of the one that a self-forced student is held against.
    workers       processes that make batches; 0: a thread of this one does. Changes no byte.
    tensorboard   write event files into OUT/events.
    wandb         project of Weights & Biases to log into; None: none.
    sample_every  steps from one OUT/samples/step-000100.mp4 to the next; 0: none. See `wmkit.train.sample_videos`.
    """

    recipe: str = "tiny-cpu"
    data: Path | str = Path("shards")
    out: Path = Path("run")
    settings: Sequence[str] = ()
    start: Path | None = None
    teacher: Path | None = None
    resume: bool = False
    workers: int = 0
    tensorboard: bool = False
    wandb: str | None = None
    sample_every: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainSummary:
    """What a run did and on what; see `TrainResult` and `DataFacts`.

    skipped  samples that give no clip of the wanted length, by reason.
    leads    whether this process is the one that speaks for the run's.
    """

    config: TrainConfig
    result: TrainResult
    data: DataFacts
    skipped: Mapping[str, int] = field(default_factory=dict)
    leads: bool = True

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        result = self.result
        return {
            "recipe": self.config.recipe,
            "parameters": self.result.parameters,
            "samples": {"metric": self.data.metric, "up_to_scale": self.data.up_to_scale},
            "skipped": dict(self.skipped),
            "steps": result.steps,
            "resumed": result.resumed,
            "first_loss": result.first_loss,
            "last_loss": result.last_loss,
            "seconds": result.seconds,
            "checkpoint": str(result.checkpoint),
        }

    def lines(self) -> list[str]:
        """For people; the last line names the checkpoint."""
        result = self.result
        fresh = result.steps - result.resumed
        if result.first_loss is None or result.last_loss is None:
            told = f"{result.steps} steps were done already"
        else:
            told = f"{fresh} steps in {result.seconds:.0f} s, loss {result.first_loss:.3f} -> {result.last_loss:.3f}"
            told += f" (after {result.resumed} steps of earlier runs)" if result.resumed else ""
        return [told, f"checkpoint: {result.checkpoint}"]


def run_train(options: TrainOptions, progress: TrainProgress | None = None) -> TrainSummary:
    """Train or resume the recipe; see `train_on`. ConfigError for a setting that is none."""
    return train_on(recipe(options.recipe).with_settings(options.settings), options, progress)


def train_on(config: TrainConfig, options: TrainOptions, progress: TrainProgress | None = None) -> TrainSummary:
    """Train or resume `config` whatever the options' recipe; says on `progress` what the data's units are.

    Raises InputError for a missing folder, data that is not what the config wants, or a run where none or one was
    expected; ConfigError for a run of another config, or weights to start with of another model; CorruptShardError
    when a sample's bytes are damaged.
    """
    with joined(config.parallel) as team:
        return _train(options, config, progress if progress and team.leads else SilentProgress(), team)


def _train(options: TrainOptions, config: TrainConfig, progress: TrainProgress, team: Team) -> TrainSummary:
    start = None
    if options.teacher is not None and (options.start is None or config.dmd is None):
        raise InputError("--teacher: expected --start and a recipe that takes one, such as tiny-cpu-dmd; leave it out")
    if options.start is not None:
        weights, digest = start_weights(options.start)
        config = dataclasses.replace(config, start=digest)
        teacher = None
        if options.teacher is not None:
            teacher, digest = start_weights(options.teacher)
            config = dataclasses.replace(config, teacher=digest)
        start = Start(weights=weights, teacher=teacher)
    data, (group, groups) = config.data, team.group
    team.slots(data.batch_size)  # says it when there are too few
    folder = open_shards(options.data)
    stored = _stored(folder, config)
    loader = StreamingShards(
        folder,
        LoaderConfig(
            frames=data.frames,
            height=data.height,
            width=data.width,
            batch_size=data.batch_size,
            seed=config.seed,
            captions=config.model.text is not None and not stored.texts,
            picture="latent" if stored.latents else "video",
            texts=stored.texts,
        ),
        rank=group,
        world_size=groups,
    )
    facts = _facts(folder, data.metric)
    skipped = {reason: count for reason, count in loader.skipped.items() if count}
    progress.note(_units(facts, skipped, data.frames))
    if stored.told:
        progress.note(stored.told)
    result = train(
        config,
        BatchWorkers(loader, options.workers) if options.workers else loader.share,
        facts,
        options.out,
        start=start,
        resume=options.resume,
        watch=_watch(options, config, loader, progress, team),
        team=team,
    )
    return TrainSummary(config=config, result=result, data=facts, skipped=skipped, leads=team.leads)


class _Stored(NamedTuple):
    """What of the shards' precomputed parts a run reads, and the line that says so."""

    latents: bool
    texts: bool
    told: str


def _stored(folder: ShardsFolder, config: TrainConfig) -> _Stored:
    """Latents and text states where there are any; InputError when they are not what the model is made for."""
    shards, data, model = folder.path, config.data, config.model
    decodes = not data.latents or config.refine is not None  # a refiner is also shown the frames made coarse
    made = None if decodes else precomputed(folder.head)
    wanted = latents_told(data.vae, model.latent_channels, model.latent_stride, model.latent_downscale)
    if made is None:
        if data.vae != "pixel-unshuffle":
            raise InputError(f"{shards}: expected latents of {wanted}, got none; run wmkit precompute with that VAE")
        return _Stored(latents=False, texts=False, told="")
    if made.latents.spec != wanted:
        raise InputError(
            f"{shards}: expected latents of {wanted}, got {made.latents.spec}; precompute with that VAE, or decode "
            "with --set data.latents=false"
        )
    told = f"latents of {made.latents.spec} from the shards: no frame is decoded"
    if model.text is None or made.texts is None:
        return _Stored(latents=True, texts=False, told=told)
    asked = texts_told(config.condition.encoder, model.text.channels, model.text.tokens)
    if made.texts.spec != asked:
        raise InputError(
            f"{shards}: expected text states of {asked}, got {made.texts.spec}; precompute with that --text, or decode "
            "with --set data.latents=false"
        )
    return _Stored(latents=True, texts=True, told=f"{told}; captions by {made.texts.encoder} from there too")


def _watch(
    options: TrainOptions, config: TrainConfig, loader: StreamingShards, progress: TrainProgress, team: Team
) -> Watch:
    if options.tensorboard and team.leads:
        progress = LoggedProgress(EventFiles(options.out / "events"), progress)
    if options.wandb is not None and team.leads:
        progress = LoggedProgress(WandbRun(options.wandb, options.out, config.to_json()), progress)
    if not options.sample_every:
        return Watch(progress=progress)
    if team.size > 1:
        raise ConfigError(f"--sample-every: expected one process, got {team.size}; sample from checkpoints instead")
    look = sample_videos(options.out / "samples", config, loader.replay(0))
    return Watch(progress=progress, look=look, look_every=options.sample_every)


def _facts(folder: ShardsFolder, metric_only: bool) -> DataFacts:
    kinds = [sample.scale for sample in folder.samples]
    metric = sum(kind is ScaleKind.METRIC for kind in kinds)
    if metric_only and metric < len(kinds):
        raise InputError(
            f"{folder.path}: expected samples in metres, got {len(kinds) - metric} of {len(kinds)} up to scale; build "
            "shards with --scale metric, or train with --set data.metric=false"
        )
    return DataFacts(
        digest=head_sha256(folder.path),
        metric=metric,
        up_to_scale=len(kinds) - metric,
        motion=motion_facts(folder.path, folder.samples),
    )


def _units(facts: DataFacts, skipped: Mapping[str, int], frames: int) -> str:
    """As `4 samples: 1 in metres, 3 up to scale, normalised by their median depth; 1 not used: 1 too_short ...`."""
    text = (
        f"{facts.metric + facts.up_to_scale} samples: {facts.metric} metric, "
        f"{facts.up_to_scale} up to scale, normalised by their median depth"
    )
    if skipped:
        told = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        text += f"; without {frames} posed frames in a row, so not used: {told}"
    return text
