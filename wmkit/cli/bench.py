"""`wmkit bench`: figures beside references, peers and limits."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmkit.cli.model import PresetName
from wmkit.cli.shared import JsonFlag, stdout_for, tell

__all__ = ["PeerName", "verbs"]

PeerName = Literal["pycolmap"]
SeedUse = Literal["evaluation", "tuning"]
WorldSize = Literal["standard", "small"]

verbs = typer.Typer(help="Measure a part against references, peers and limits.", rich_markup_mode=None)


@verbs.command()
def pose(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Clips with a reference beside them.")],
    peer: Annotated[PeerName | None, typer.Option(help="Run this engine on the same frames too.")] = None,
    limits: Annotated[Path | None, typer.Option(help="TOML of limits; a missed one makes exit 1.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Score the annotator's cameras against references it is not shown."""
    _as_in_a_worker()
    from wmkit.bench.pose import BenchOptions, bench_pose

    options = BenchOptions(peer=peer, limits=limits, out=out)
    with stdout_for(json_output):
        result = bench_pose(folders, options, lambda line: print(line, file=sys.stderr))
    tell(result.to_json(), [result.table()], json_output)
    return result.exit_code


@verbs.command("depth")
def bench_depth_maps(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR", help="Clips with depth images beside them.")
    ] = None,
    worlds: Annotated[bool, typer.Option("--worlds", help="The demo's synthetic clips too.")] = False,
    max_side: Annotated[int, typer.Option(help="Long side of the maps, px.")] = 320,
    limits: Annotated[Path | None, typer.Option(help="TOML of limits; a missed one makes exit 1.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Score depth maps, by the annotator's own cameras, against measured or exact depth."""
    _as_in_a_worker()
    from wmkit.bench.depth import DepthBenchOptions, bench_depth

    options = DepthBenchOptions(max_side=max_side, worlds=worlds, limits=limits, out=out)
    with stdout_for(json_output):
        result = bench_depth(folders or [], options, lambda line: print(line, file=sys.stderr))
    tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@verbs.command()
def loader(
    shards: Annotated[Path, typer.Argument(metavar="SHARDS", help="Shards folder to read.")] = Path("shards"),
    frames: Annotated[int, typer.Option(help="Frames of a crop.")] = 17,
    height: Annotated[int, typer.Option(help="px of a crop.")] = 256,
    width: Annotated[int, typer.Option(help="px of a crop.")] = 256,
    batch_size: Annotated[int, typer.Option(help="Crops of a step.")] = 4,
    steps: Annotated[int, typer.Option(help="Batches to wait for.")] = 32,
    workers: Annotated[int, typer.Option(help="DataLoader's; 0 is this process.")] = 1,
    json_output: JsonFlag = False,
) -> None:
    """Samples and frames a core-second beside webdataset, bare pread and PyAV; how long a batch waits."""
    from wmkit.bench.loader import LoaderBenchOptions, bench_loader

    options = LoaderBenchOptions(
        frames=frames, height=height, width=width, batch_size=batch_size, steps=steps, workers=workers
    )
    with stdout_for(json_output):
        result = bench_loader(shards, options)
    tell(result.to_json(), result.lines(), json_output)


@verbs.command("scale")
def bench_scale_intervals(
    draws: Annotated[int, typer.Option(help="Random situations of each cue.")] = 1000,
    cue: Annotated[list[str] | None, typer.Option(help="Only this cue; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Whether the scale cues' 95 % intervals hold the truth, on simulated situations; if not, exit 1."""
    from wmkit.bench.scale import ScaleBenchOptions, bench_scale

    options = ScaleBenchOptions(draws=draws, seed=seed, cues=tuple(cue or ()), out=out)
    with stdout_for(json_output):
        result = bench_scale(options, lambda line: print(line, file=sys.stderr))
    tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@verbs.command("model")
def bench_model_cost(
    preset: Annotated[PresetName, typer.Option(help="Whose parameters and PFLOP are counted.")] = "sana-wm-2.6b",
    grid: Annotated[str, typer.Option(metavar="TxHxW", help="Latent frames, rows, columns.")] = "121x22x40",
    block_preset: Annotated[PresetName, typer.Option(help="Whose block is timed.")] = "sana-wm-66m",
    block_grid: Annotated[str, typer.Option(metavar="TxHxW", help="Of the timed block.")] = "8x11x20",
    rounds: Annotated[int, typer.Option(help="Timed passes.")] = 3,
    count_only: Annotated[bool, typer.Option("--count-only", help="Time nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Parameters and PFLOP of a preset by part; a block's CPU time and memory beside diffusers' block."""
    from wmkit.bench.model import ModelBenchOptions, bench_model
    from wmkit.model.work import Grid

    options = ModelBenchOptions(
        preset=preset,
        grid=Grid.parse(grid),
        block_preset=None if count_only else block_preset,
        block_grid=Grid.parse(block_grid, text_tokens=100),
        rounds=rounds,
        out=out,
    )
    with stdout_for(json_output):
        result = bench_model(options, lambda line: print(line, file=sys.stderr))
    tell(result.to_json(), result.lines(), json_output)


@verbs.command()
def worlds(
    families: Annotated[str | None, typer.Option(metavar="A,B,...", help="Motion families. [default: all]")] = None,
    per_family: Annotated[int, typer.Option(help="Cases of each family.")] = 10,
    size: Annotated[WorldSize, typer.Option(help="standard: 640x360, 40-80 frames; small: half, 24-36.")] = "standard",
    seed0: Annotated[int, typer.Option(help="Seed of each family's first case; the others follow.")] = 0,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    out: Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="Write a row a case, as each ends.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rows that are in --out.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Pose random synthetic clips of every motion family and hold cameras and p_good against the exact truth."""
    from wmkit.bench.worlds import WorldsOptions, bench_worlds
    from wmkit.bench.worlds_report import WorldsReport
    from wmkit.worlds.families import FAMILIES

    options = WorldsOptions(
        families=tuple(FAMILIES) if families is None else tuple(families.split(",")),
        per_family=per_family,
        size=size,
        seed0=seed0,
        workers=workers,
        out=out,
        resume=resume,
    )
    with stdout_for(json_output):
        rows = bench_worlds(options, lambda line: print(line, file=sys.stderr))
    report = WorldsReport(rows=tuple(rows))
    tell(report.to_json(), report.lines(), json_output)
    return report.exit_code


@verbs.command("filters")
def bench_filters_verb(
    per_defect: Annotated[int, typer.Option(help="Cases of each defect.")] = 50,
    sound: Annotated[int, typer.Option(help="Sound clips for the footage filters.")] = 200,
    only: Annotated[str | None, typer.Option(metavar="A,B,...", help="Defects, and 'sound'. [default: all]")] = None,
    first: Annotated[int, typer.Option(help="Number of the first case.")] = 0,
    seeds: Annotated[
        SeedUse, typer.Option(help="Filters are tuned on the one and judged on the other.")
    ] = "evaluation",
    real: Annotated[Path | None, typer.Option(metavar="DIR", help="Also plant into the real clips below it.")] = None,
    thresholds: Annotated[str | None, typer.Option(metavar="FILE|PRESET", help="As build-shards takes it.")] = None,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    out: Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="Write a row a case, as each ends.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rows that are in --out.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Plant defects into sound footage: how many the thresholds catch, and how many sound clips they reject."""
    from wmkit.bench.filters import FiltersOptions, bench_filters
    from wmkit.bench.filters_report import FiltersReport
    from wmkit.thresholds import read_thresholds

    limits = read_thresholds(thresholds)
    options = FiltersOptions(
        per_defect=per_defect,
        sound=sound,
        only=() if only is None else tuple(only.split(",")),
        first=first,
        use=seeds,
        real=real,
        workers=workers,
        out=out,
        resume=resume,
    )
    with stdout_for(json_output):
        rows = bench_filters(options, lambda line: print(line, file=sys.stderr))
    report = FiltersReport(rows=tuple(rows), thresholds=limits)
    tell(report.to_json(), report.lines(), json_output)
    return report.exit_code


def _as_in_a_worker() -> None:
    """Before any library starts threads: what is measured is an annotator's cost."""
    from wmkit.executor.heap import keep_freed_memory
    from wmkit.executor.task import THREAD_ENV

    os.environ.update(THREAD_ENV)
    keep_freed_memory()
