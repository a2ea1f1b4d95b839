"""`wmkit eval`: which of one video, one video with the estimator's floor, and a benchmark is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wmkit.errors import InputError
from wmkit.evaluate.benchmark import BenchReport, eval_benchmark
from wmkit.evaluate.plot import check_plot, write_plot
from wmkit.evaluate.report import EvalReport
from wmkit.evaluate.video import eval_video

__all__ = ["EvalOptions", "FloorReport", "run_eval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What to judge by what; InputError where the flags do not go together."""

    video: Path
    trajectory: Path | None = None
    benchmark: Path | None = None
    floor: Path | None = None
    floor_trajectory: Path | None = None
    plot: Path | None = None

    def __post_init__(self) -> None:
        if (self.trajectory is None) == (self.benchmark is None):
            raise InputError("eval: expected either --trajectory FILE or --benchmark DIR")
        if (self.floor is None) != (self.floor_trajectory is None):
            raise InputError("eval: expected --floor VIDEO and --floor-trajectory FILE together")
        if self.benchmark is not None and (self.floor is not None or self.plot is not None):
            raise InputError("eval --benchmark: expected neither --floor nor --plot, they are of one video")
        if self.plot is not None:
            check_plot(self.plot)
        for flag, path in (("--floor", self.floor), ("--floor-trajectory", self.floor_trajectory)):
            if path is not None and not path.exists():
                raise InputError(f"{flag}: expected a file, found none at {path}; check the path")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloorReport:
    """A video's report, and that of a video whose cameras are known: what the estimator itself gets wrong."""

    report: EvalReport
    floor: EvalReport

    @property
    def exit_code(self) -> int:
        """0 when both were measured, 1 when not."""
        return max(self.report.exit_code, self.floor.exit_code)

    def to_json(self) -> dict[str, object]:
        """The video's report with the other's as `floor`; the keys are frozen by a test."""
        return {**self.report.to_json(), "floor": self.floor.to_json(), "exit_code": self.exit_code}

    def lines(self) -> list[str]:
        """The video's lines, then the floor's."""
        return [*self.report.lines(), "the estimator's floor:", *self.floor.lines()]


def run_eval(options: EvalOptions, note: Callable[[str], None]) -> EvalReport | FloorReport | BenchReport:
    """Judge; `note` is told which video is worked on. Raises what `eval_video` and `eval_benchmark` raise."""
    if options.benchmark is not None:
        return eval_benchmark(options.video, options.benchmark, note=note)
    assert options.trajectory is not None
    note(f"annotating {options.video}")
    report = eval_video(options.video, options.trajectory)
    if options.plot is not None and not report.problem:
        write_plot(report, options.plot)
    if options.floor is None or options.floor_trajectory is None:
        return report
    note(f"annotating {options.floor}")
    return FloorReport(report=report, floor=eval_video(options.floor, options.floor_trajectory))
