"""`wmkit bench depth`: depth maps against measured or exact depth, with the engine's own cameras.

Each clip goes through the annotator as a user's does, its pixels alone: default pose engine, then depth of up to twelve
of the frames that have a reference. One scale a clip is taken from the reference, the ratio of median depths, since
depth is as metric as the trajectory is. Worlds are those of the demo, and also judged together.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from wmkit.annotate.depth import PlaneSweepConfig
from wmkit.annotate.isolated import annotate_pixels, camera_config
from wmkit.bench.depth_limits import DepthLimits, judge_depth, read_depth_limits
from wmkit.bench.depth_reference import DepthImages, WorldDepth, read_depth_images
from wmkit.bench.limits import Check
from wmkit.bench.out import write_figures
from wmkit.bench.pose import find_clip
from wmkit.bench.table import aligned
from wmkit.clip import DepthMap
from wmkit.errors import ClipError, InputError
from wmkit.metrics import Metric, confidence_ranking, depth_errors
from wmkit.video import FoundClip, discover
from wmkit.worlds import DEMO_CLIPS, write_world

__all__ = ["DepthBench", "DepthBenchOptions", "DepthScore", "bench_depth", "score_depth"]

MAPS = 12
GROUPS = 5  # of confidence
WORLDS = "worlds"
HEAD = (
    "clip",
    "maps",
    "AbsRel %",
    "d<1.25 %",
    "cover %",
    "core-s/map",
    "Spearman",
    "AbsRel % by confidence, low to high",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthBenchOptions:
    """max_side of the maps in px; worlds: the demo's clips too; limits TOML as in `wmkit.bench.depth_limits`; out:
    where the JSON is also written.
    """

    max_side: int = 320
    worlds: bool = False
    limits: Path | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthScore:
    """One clip. `groups` are mean AbsRel of equal fifths by confidence, the least confident first, of valid pixels.

    core_s   CPU seconds a map, without pose; None for the row of all worlds.
    problem  why there are no figures; "" when there are.
    """

    name: str
    maps: int = 0
    metrics: tuple[Metric, ...] = ()
    groups: tuple[float, ...] = ()
    core_s: float | None = None
    problem: str = ""

    def value(self, name: str) -> float | None:
        """The figure of that name; None when it was not measured."""
        return next((metric.value for metric in self.metrics if metric.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values, every figure with its definition."""
        return {
            "name": self.name,
            "maps": self.maps,
            "metrics": {m.name: {"value": m.value, "definition": m.definition} for m in self.metrics},
            "abs_rel_by_confidence": list(self.groups),
            "core_s_per_map": self.core_s,
            "problem": self.problem or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthBench:
    """Every row of one run and the limits held against them."""

    rows: tuple[DepthScore, ...]
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """1 when a limit is missed or a clip has no depth."""
        return 1 if any(not check.held for check in self.checks) or any(row.problem for row in self.rows) else 0

    def to_json(self) -> dict[str, Any]:
        """{"clips": [...], "checks": [...]}"""
        return {
            "clips": [row.to_json() for row in self.rows],
            "checks": [dataclasses.asdict(check) for check in self.checks],
        }

    def lines(self) -> list[str]:
        """The table for people, then the limits."""
        lines = aligned([HEAD, *[_cells(row) for row in self.rows]], left=1)
        lines += [f"{row.name}: {row.problem}" for row in self.rows if row.problem]
        return lines + [f"{'held  ' if check.held else 'MISSED'}  {check.line}" for check in self.checks]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """One clip and its reference; a world's clip is rendered when its turn comes."""

    name: str
    reference: DepthImages | WorldDepth
    clip: FoundClip | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """The maps of one clip and the reference (K, h, w) at them, 0 where unknown."""

    depth: DepthMap
    reference: np.ndarray
    core_s: float


def bench_depth(
    folders: Sequence[Path], options: DepthBenchOptions, progress: Callable[[str], None] | None = None
) -> DepthBench:
    """Run and score every folder, then the worlds; InputError for a folder without depth or nothing to do."""
    limits = {} if options.limits is None else read_depth_limits(options.limits)
    cases = [_folder_case(folder, limits) for folder in folders]
    if options.worlds:
        cases += [_Case(name=clip.name, reference=WorldDepth(clip=clip)) for clip in DEMO_CLIPS]
    if not cases:
        raise InputError("DIR: expected folders with a clip and its depth, or --worlds, got neither")
    rows, worlds = [], []
    for number, case in enumerate(cases, start=1):
        if progress is not None:
            progress(f"[{number}/{len(cases)}] {case.name}")
        found = _run(case, options.max_side)
        if isinstance(found, str):
            rows.append(DepthScore(name=case.name, problem=found))
            continue
        rows.append(score_depth(case.name, found.depth, found.reference, found.core_s))
        if case.clip is None:
            worlds.append(found)
    if worlds:
        rows.append(_together(worlds))
    checks = [check for row in rows if row.name in limits for check in judge_depth(row, limits[row.name])]
    bench = DepthBench(rows=tuple(rows), checks=tuple(checks))
    write_figures(options.out, bench.to_json())
    return bench


def score_depth(name: str, depth: DepthMap, reference: np.ndarray, core_s: float | None) -> DepthScore:
    """Figures of maps against a reference (K, h, w), 0 where it is unknown, one scale taken from it for all."""
    try:
        metrics = depth_errors(depth.z, reference, depth.valid, reference > 0, median_scale=True)
    except InputError as error:
        return DepthScore(name=name, maps=len(depth.frame), problem=str(error))
    return _ranked(name, depth, reference, metrics, core_s)


def _ranked(
    name: str, depth: DepthMap, reference: np.ndarray, metrics: tuple[Metric, ...], core_s: float | None
) -> DepthScore:
    both = depth.valid & (reference > 0)
    groups: tuple[float, ...] = ()
    if depth.confidence is not None:
        z, truth = depth.z[both], reference[both]
        error = np.abs(z * (np.median(truth) / np.median(z)) / truth - 1)
        ranking, means = confidence_ranking(error, depth.confidence[both], GROUPS)
        metrics, groups = (*metrics, ranking), tuple(means.tolist())
    return DepthScore(name=name, maps=len(depth.frame), metrics=metrics, groups=groups, core_s=core_s)


def _folder_case(folder: Path, limits: dict[str, DepthLimits]) -> _Case:
    name = folder.resolve().name
    clip = find_clip(folder, "images")
    given = limits[name].colour_from_depth_m if name in limits else None
    return _Case(name=name, reference=read_depth_images(folder, clip.images, given), clip=clip)


def _run(case: _Case, max_side: int) -> _Run | str:
    """The annotator's depth of a clip, or why there is none."""
    frames = case.reference.frames
    picks = min(MAPS, len(frames))
    only = tuple(frames[(2 * k + 1) * len(frames) // (2 * picks)] for k in range(picks))
    config = dataclasses.replace(camera_config(), depth=PlaneSweepConfig(max_side=max_side, only=only))
    with TemporaryDirectory(prefix="wmkit-bench-") as folder:
        clip = case.clip
        if clip is None:
            assert isinstance(case.reference, WorldDepth)
            clip = discover([write_world(case.reference.clip, Path(folder) / "world").video]).clips[0]
        copy = Path(folder) / "pixels"
        copy.mkdir()
        try:
            _, result = annotate_pixels(clip, config, copy)
        except ClipError as error:
            return str(error)
    annotation = result.annotation
    if annotation.no_trajectory is not None:
        return f"no trajectory: {annotation.no_trajectory.reason}"
    depth = annotation.depth
    if depth is None:
        return "no depth: " + ", ".join(a.reason for a in annotation.absences if a.part == "depth")
    if annotation.view.lens is not None:
        return "the engine found a lens: its maps are not of the reference's pixels"
    height, width = depth.z.shape[1:]
    reference = np.stack([case.reference.read(int(frame), width, height) for frame in depth.frame])
    return _Run(depth=depth, reference=reference, core_s=result.timings["depth"] / len(depth.frame))


def _together(worlds: list[_Run]) -> DepthScore:
    """All worlds' pixels as one, each clip by its own scale: maps in metres."""
    parts = []
    for run in worlds:
        both = run.depth.valid & (run.reference > 0)
        metres = np.median(run.reference[both]) / np.median(run.depth.z[both])
        parts.append((run.depth.z * metres, run.depth.valid, run.depth.confidence, run.reference))
    z, valid, sure, reference = (np.concatenate([p[i].reshape(1, 1, -1) for p in parts], axis=2) for i in range(4))
    depth = DepthMap(frame=np.array([0]), z=z, valid=valid, scale=worlds[0].depth.scale, confidence=sure)
    metrics = depth_errors(z, reference, valid, reference > 0, median_scale=False)
    row = _ranked(WORLDS, depth, reference, metrics, None)
    return dataclasses.replace(row, maps=sum(len(run.depth.frame) for run in worlds))


def _cells(row: DepthScore) -> tuple[str, ...]:
    def percent(name: str) -> str:
        value = row.value(name)
        return "-" if value is None else f"{100 * value:.2f}"

    spearman = row.value("confidence_spearman")
    return (
        row.name,
        str(row.maps),
        percent("depth_abs_rel"),
        percent("depth_delta_1_25"),
        percent("depth_coverage"),
        "-" if row.core_s is None else f"{row.core_s:.2f}",
        "-" if spearman is None else f"{spearman:.2f}",
        " ".join(f"{100 * value:.2f}" for value in row.groups) or "-",
    )
