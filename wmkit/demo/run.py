"""`run_demo`: worlds, annotate, report, build-shards, train, sample, eval; one after another in one folder."""

from dataclasses import dataclass
from pathlib import Path

from wmkit.annotate.defaults import default_config
from wmkit.annotate.progress import Progress, SilentProgress
from wmkit.annotate.report import write_report
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.clock import monotonic_s
from wmkit.corpus import Corpus
from wmkit.demo.clips import DemoClip, compare, render_missing, table
from wmkit.demo.model import DemoModel, ModelOptions, run_model
from wmkit.executor import ExecutorOptions
from wmkit.train.progress import SilentProgress as SilentTraining
from wmkit.train.progress import TrainProgress
from wmkit.worlds import DEMO_CLIPS, WorldClip

__all__ = ["DemoOptions", "DemoSummary", "run_demo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Which clips, how they are worked on, and what is trained on them."""

    clips: tuple[WorldClip, ...] = DEMO_CLIPS
    executor: ExecutorOptions = ExecutorOptions()
    model: ModelOptions = ModelOptions()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoSummary:
    """All clips, where the corpus and its report are, and the model's half; None when the run was interrupted."""

    clips: tuple[DemoClip, ...]
    corpus: str
    report: str | None
    rendered: int
    seconds: float
    model: DemoModel | None = None

    @property
    def exit_code(self) -> int:
        """0 when all is well, 130 when interrupted; 1 when a clip has no trajectory or the world was not measured.

        A sample that cannot be measured is no failure: a model of a minute's training owes nobody a camera.
        """
        if self.report is None or self.model is None:
            return 130
        return 1 if self.model.world.problem or any(clip.problem for clip in self.clips) else 0

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "clips": [clip.to_json() for clip in self.clips],
            "rendered": self.rendered,
            "corpus": self.corpus,
            "report": self.report,
            "model": None if self.model is None else self.model.to_json(),
            "seconds": self.seconds,
            "exit_code": self.exit_code,
        }

    def lines(self) -> list[str]:
        """The table of errors against the truth and a line a stage; the last ones name the report and the video."""
        if self.report is None or self.model is None:
            return ["interrupted"]
        lines = [
            *table(self.clips),
            f"{self.rendered} clips rendered; corpus: {self.corpus}",
            *self.model.lines(),
            f"{self.seconds:.0f} s",
            f"report: {self.report}",
        ]
        return lines if self.model.made is None else [*lines, f"video: {self.model.made.video}"]


def run_demo(
    out: Path,
    progress: Progress | None = None,
    options: DemoOptions | None = None,
    training: TrainProgress | None = None,
) -> DemoSummary:
    """Render, annotate, score, report, build, train, sample and evaluate into `out`.

    Raises InputError when `out` cannot be written, another run is using it, or it holds shards or a run of others.
    """
    start_s = monotonic_s()
    progress, options = progress or SilentProgress(), options or DemoOptions()
    rendered = sum(render_missing(clip, out, progress) for clip in options.clips)
    videos = [out / "clips" / f"{clip.name}.mp4" for clip in options.clips]
    # update: a demo made by an older version is annotated again instead of refused
    run_options = RunOptions(executor=options.executor, update=True)
    summary = run_annotate(videos, out / "corpus", default_config(), run_options, progress)
    clips: list[DemoClip] = []
    report, model = None, None
    if not summary.interrupted:
        corpus = Corpus.open(out / "corpus")
        progress.note("comparing with the truth")
        clips = [compare(clip, out, corpus) for clip in options.clips]
        progress.note("writing the report")
        report = str(write_report(out / "corpus"))
        model = run_model(options.clips, out, options.model, progress.note, training or SilentTraining())
    return DemoSummary(
        clips=tuple(clips),
        corpus=summary.corpus,
        report=report,
        rendered=rendered,
        seconds=monotonic_s() - start_s,
        model=model,
    )
