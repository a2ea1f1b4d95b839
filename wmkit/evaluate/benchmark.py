"""A folder shaped as SANA-WM-Bench, every scene judged: `wmkit eval VIDEOS --benchmark DIR`.

    DIR                      see `wmkit.evaluate.scenes`
    VIDEOS/<id>.mp4          or <id>_generated.mp4, <id>_streaming.mp4: the names that the public programs write

The refiner drops the first frame: a video one frame shorter than its path is judged against the path without its first
camera, and the row says so. Means are over measured scenes; those that are not are counted, never averaged in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.errors import InputError
from wmkit.evaluate.report import FIGURES, EvalReport
from wmkit.evaluate.scenes import read_scenes
from wmkit.evaluate.video import eval_video

__all__ = ["BenchReport", "eval_benchmark"]

ENDINGS = (".mp4", "_generated.mp4", "_streaming.mp4")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenchReport:
    """Every scene's report by id, and those without a video."""

    benchmark: str
    reports: Mapping[str, EvalReport]
    absent: tuple[str, ...]

    @property
    def measured(self) -> list[EvalReport]:
        """Reports that have figures."""
        return [report for report in self.reports.values() if not report.problem]

    @property
    def exit_code(self) -> int:
        """0 when every scene was measured, else 1."""
        return 0 if len(self.measured) == len(self.reports) + len(self.absent) else 1

    def means(self) -> dict[str, dict[str, float | int]]:
        """By figure, its mean over the scenes that have it, and how many those are."""
        found: dict[str, dict[str, float | int]] = {}
        for name in FIGURES:
            values = [m.value for report in self.measured if (m := report.metrics.get(name)) is not None]
            if values:
                found[name] = {"mean": float(np.mean(values)), "scenes": len(values)}
        return found

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "benchmark": self.benchmark,
            "scenes": len(self.reports) + len(self.absent),
            "measured": len(self.measured),
            "absent": list(self.absent),
            "means": self.means(),
            "reports": {name: report.to_json() for name, report in self.reports.items()},
            "exit_code": self.exit_code,
        }

    def lines(self) -> list[str]:
        """A line a mean, then what is missing."""
        scenes = len(self.reports) + len(self.absent)
        lines = [
            f"{self.benchmark}: {len(self.measured)} of {scenes} scenes measured, {len(self.absent)} without a video"
        ]
        lines += [f"{name}: {row['mean']:.4g} (mean of {row['scenes']} scenes)" for name, row in self.means().items()]
        lines += [f"{name}: UNMEASURED: {report.problem}" for name, report in self.reports.items() if report.problem]
        return lines


def eval_benchmark(
    videos: Path, folder: Path, config: AnnotateConfig | None = None, note: Callable[[str], None] | None = None
) -> BenchReport:
    """Judge the video of every scene; `note` is told each. A scene whose video or
    path cannot be read is a report with a problem. InputError for a folder of another shape, no video, or none read.
    """
    scenes = read_scenes(folder)
    found = {scene.id: _video_of(videos, scene.id) for scene in scenes}
    if not any(found.values()):
        raise InputError(f"{videos}: expected videos named as the {len(scenes)} scenes, such as {scenes[0].id}.mp4")
    reports: dict[str, EvalReport] = {}
    refused: list[InputError] = []
    for scene in scenes:
        video = found[scene.id]
        if video is not None:
            if note is not None:
                note(f"annotating {video}")
            try:
                reports[scene.id] = eval_video(video, scene.cameras, config, of_benchmark=True)
            except InputError as error:  # one scene's damage is not worth the hours that the others took
                refused.append(error)
                reports[scene.id] = _refused(video, scene.cameras, str(error))
    if len(refused) == len(reports):
        raise refused[0]
    absent = tuple(scene.id for scene in scenes if found[scene.id] is None)
    return BenchReport(benchmark=str(folder), reports=reports, absent=absent)


def _refused(video: Path, cameras: Path, problem: str) -> EvalReport:
    """Of a scene whose video or path cannot be read, or that do not fit each other."""
    return EvalReport(
        video=str(video),
        trajectory=str(cameras),
        annotator="",
        frames=0,
        judged=0,
        posed=0,
        scale=None,
        metrics={},
        unmeasured=dict.fromkeys(FIGURES, problem),
        problem=problem,
    )


def _video_of(videos: Path, scene: str) -> Path | None:
    return next((path for end in ENDINGS if (path := videos / f"{scene}{end}").is_file()), None)
