"""The demo's second half: shards, a model, a video of its, and the evaluation of that and of a rendered world.

A folder that an older demo made of other clips or another config is made anew; one that somebody else put there is
refused, as its verb refuses it. What the demo made is known by the sha256 of its shards.json.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmkit.atomic import npz_bytes, write_atomic
from wmkit.corpus import Corpus, Status
from wmkit.corpus.refind import video_config
from wmkit.dataset.schema import SHARDS_NAME
from wmkit.dataset.writer import BuildSummary, build_shards
from wmkit.demo.clips import clip_id_of_world
from wmkit.errors import ConfigError, InputError
from wmkit.evaluate.report import EvalReport
from wmkit.evaluate.video import eval_video
from wmkit.sample import SampleOptions, SampleSummary, run_sample
from wmkit.train.checkpoint import find_checkpoint, read_config, read_state
from wmkit.train.progress import TrainProgress
from wmkit.train.run import TrainOptions, TrainSummary, run_train
from wmkit.video import discover, identify, open_view
from wmkit.worlds import WorldClip

__all__ = ["DemoModel", "ModelOptions", "make_run", "make_shards", "run_model"]

STAMP = "shards.sha256"
SHOWN = "sana_wm_code"  # the convention of the one line; `wmkit eval` prints all


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What to train and how long to sample: `settings` are `key=value` texts for the recipe."""

    recipe: str = "tiny-cpu"
    settings: tuple[str, ...] = ()
    sample_steps: int = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoModel:
    """What became of the second half; all but `world` is None when no clip passed the thresholds.

    world   the first world's rendered video against its true cameras.
    sample  the model's video against the cameras it was asked for: it may be unmeasured.
    """

    shards: BuildSummary
    world: EvalReport
    training: TrainSummary | None = None
    made: SampleSummary | None = None
    sample: EvalReport | None = None

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "shards": self.shards.to_json(),
            "training": None if self.training is None else self.training.to_json(),
            "sample": None if self.made is None else self.made.to_json(),
            "eval_world": self.world.to_json(),
            "eval_sample": None if self.sample is None else self.sample.to_json(),
        }

    def lines(self) -> list[str]:
        """A line a stage."""
        built = self.shards
        lines = [f"shards: {built.samples} of {built.clips} clips, {built.posed_frames} posed frames: {built.out}"]
        lines += [f"not in the shards: {count} {reason}" for reason, count in built.dropped.items()]
        if self.training is not None:
            result = self.training.result
            fell = "" if result.last_loss is None else f", loss {result.first_loss:.3f} -> {result.last_loss:.3f}"
            lines.append(f"model: {result.steps} steps{fell}: {result.checkpoint}")
        lines.append(_told("the rendered world", self.world))
        if self.sample is not None:
            lines.append(_told("the model's video", self.sample))
        return lines


def run_model(
    clips: tuple[WorldClip, ...],
    out: Path,
    options: ModelOptions,
    note: Callable[[str], None],
    progress: TrainProgress,
) -> DemoModel:
    """Shards of OUT/corpus, a model, its video, both evaluations; what is done already is not done again.

    Raises InputError or ConfigError when OUT/shards or OUT/run holds something the demo did not make.
    """
    first = clips[0]
    shards, run = out / "shards", out / "run"
    note("building shards")
    built = make_shards(out)
    note(f"evaluating the rendered {first.name}")
    world = eval_video(out / "clips" / f"{first.name}.mp4", out / "truth" / f"{first.name}.poses.json")
    if not built.samples:
        return DemoModel(shards=built, world=world)
    note(f"training {options.recipe}")
    training = make_run(
        TrainOptions(recipe=options.recipe, data=shards, out=run, settings=options.settings), out, progress
    )
    note("sampling")
    made = run_sample(_request(clips, out, options), note)
    note("evaluating the sample")
    sample = eval_video(made.video, made.trajectory)
    return DemoModel(shards=built, world=world, training=training, made=made, sample=sample)


def make_shards(out: Path) -> BuildSummary:
    """Shards of the corpus; a demo's own shards of another corpus give way."""
    corpus, shards, stamp = out / "corpus", out / "shards", out / "truth" / STAMP
    try:
        built = build_shards(corpus, shards)
    except InputError:
        if _digest(shards) not in _ours(stamp):
            raise
        shutil.rmtree(shards)
        built = build_shards(corpus, shards)
    digest = _digest(shards)
    if digest is not None and digest not in _ours(stamp):
        with stamp.open("a", encoding="utf-8") as file:
            file.write(f"{digest}\n")
    return built


def make_run(options: TrainOptions, out: Path, progress: TrainProgress) -> TrainSummary:
    """The run resumed, or begun; a demo's own run on other shards or by another config gives way."""
    if (options.out / "latest").exists():
        resumed = TrainOptions(
            recipe=options.recipe, data=options.data, out=options.out, settings=options.settings, resume=True
        )
        try:
            return run_train(resumed, progress)
        except ConfigError:
            if read_state(find_checkpoint(options.out)).data.digest not in _ours(out / "truth" / STAMP):
                raise
            shutil.rmtree(options.out)
    return run_train(options, progress)


def _request(clips: tuple[WorldClip, ...], out: Path, options: ModelOptions) -> SampleOptions:
    """The first picture of the first world that has a camera for every frame, and its path as it was annotated.

    Of the path, as many frames as the model was trained on: a minute of training does not carry further. The
    annotated path is in the unit the model was trained in, the true one in metres. Without such a world: the picture
    and the path that the package brings.
    """
    folder, run = out / "sample", out / "run"
    folder.mkdir(exist_ok=True)
    video = folder / "sample.mp4"
    frames = read_config(find_checkpoint(run)).data.frames
    corpus = Corpus.open(out / "corpus")
    latest = corpus.latest()
    for clip in clips:
        clip_id = clip_id_of_world(clip, out, corpus)
        trajectory = corpus.read(clip_id).trajectory if latest[clip_id].status is Status.OK else None
        if trajectory is not None and trajectory.posed.all():
            image, cameras = folder / "first.png", folder / "asked.npz"
            _write_first_frame(out / "clips" / f"{clip.name}.mp4", corpus, clip_id, image)
            _write_first_cameras(corpus.folder(clip_id) / "trajectory.npz", cameras, frames)
            return SampleOptions(
                checkpoint=run,
                image=image,
                trajectory=str(cameras),
                intrinsics=cameras,
                out=video,
                steps=options.sample_steps,
            )
    return SampleOptions(checkpoint=run, out=video, steps=options.sample_steps)


def _write_first_cameras(trajectory: Path, cameras: Path, frames: int) -> None:
    """The first `frames` rows of a corpus' trajectory.npz under the same keys."""
    with np.load(trajectory, allow_pickle=False) as arrays:
        write_atomic(cameras, npz_bytes({name: arrays[name][:frames] for name in arrays.files}))


def _write_first_frame(video: Path, corpus: Corpus, clip_id: str, image: Path) -> None:
    """The picture that the first camera is of: undistorted, if annotate found a lens."""
    import cv2

    (found,) = discover([video]).clips
    frames = open_view(identify(found), video_config(corpus.config), corpus.read(clip_id).view)
    rgb = next(iter(frames.windows())).rgb[0]
    if not cv2.imwrite(str(image), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        raise InputError(f"--out: expected a writable folder, but {image} cannot be written")


def _digest(shards: Path) -> str | None:
    path = shards / SHARDS_NAME
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _ours(stamp: Path) -> frozenset[str]:
    return frozenset(stamp.read_text(encoding="utf-8").split()) if stamp.is_file() else frozenset()


def _told(what: str, report: EvalReport) -> str:
    """As `eval of the rendered world: RotErr 0.041 deg, ...`."""
    if report.problem:
        return f"eval of {what}: UNMEASURED: {report.problem}"
    figures = []
    for title, name in (("RotErr", "rot_err"), ("TransErr", "trans_err"), ("CamMC", "cam_mc")):
        metric = report.metrics.get(f"{name}_{SHOWN}")
        if metric is None:
            return f"eval of {what}: UNMEASURED by {SHOWN}: {report.unmeasured[f'{name}_{SHOWN}']}"
        figures.append(f"{title} {metric.value:.3g} {metric.unit}".rstrip())
    return f"eval of {what}: {', '.join(figures)} ({SHOWN}); {report.posed} of {report.judged} frames posed"
