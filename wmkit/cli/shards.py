"""Verbs that make and check shards."""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmkit.cli.corpus import ExecutorName, RayAddressFlag
from wmkit.cli.shared import CorpusArgument, JsonFlag, stdout_for, tell
from wmkit.errors import InputError

__all__ = ["verbs"]

ScaleChoice = Literal["any", "metric"]
PrecisionChoice = Literal["float16", "float32"]
VideoChoice = Literal["encode", "copy"]
SplitChoice = Literal["source", "folder"]
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

verbs = typer.Typer()


@verbs.command("build-shards")
def build_shards(
    corpus: CorpusArgument = Path("corpus"),
    out: Annotated[Path, typer.Option(help="Shards folder; written again only for the same corpus.")] = Path("shards"),
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE.toml|PRESET", help="What passes; sana-wm/miradata, ... [default: ours]")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="What other tools measured, by clip.")
    ] = None,
    scale: Annotated[ScaleChoice, typer.Option(help="metric drops clips whose scale is unknown.")] = "any",
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Frames made to cover it, and cropped.")] = None,
    depth: Annotated[bool, typer.Option("--depth", help="Put the depth maps of clips in.")] = False,
    max_shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Of a tar: bytes, or 512MiB, 1GiB.")] = "1GiB",
    val: Annotated[float, typer.Option(metavar="SHARE", help="Share of the sources that go into a split val.")] = 0.0,
    split_by: Annotated[SplitChoice, typer.Option(help="What is never on both sides of a split.")] = "source",
    video: Annotated[VideoChoice, typer.Option(help="copy takes the source file, if used as it is.")] = "encode",
    workers: Annotated[int | None, typer.Option(help="Samples made at once. [default: one a core]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what passes; write nothing.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Turn the clips of a corpus that pass the thresholds into WebDataset shards; what is dropped is counted."""
    from wmkit.dataset.progress import counter_for
    from wmkit.dataset.writer import BuildOptions, try_thresholds
    from wmkit.dataset.writer import build_shards as build

    options = BuildOptions(
        thresholds=thresholds,
        scores=scores,
        scale=scale,
        video=video,
        size=_parsed_size(size),
        depth=depth,
        val_share=val,
        split_by=split_by,
        shard_bytes=_parsed_bytes(max_shard_size),
        workers=workers,
    )
    if dry_run:
        tried = try_thresholds(corpus, options)
        tell(tried.to_json(), tried.lines(), json_output)
        return tried.exit_code
    with stdout_for(json_output):
        summary = build(corpus, out, options, counter_for(sys.stderr, "clips"))
    tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code


def _parsed_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) px of `704x1280`."""
    found = re.fullmatch(r"(\d+)x(\d+)", text or "")
    if text is not None and found is None:
        raise InputError(f"--size: expected HEIGHTxWIDTH in px as in 704x1280, got {text!r}")
    return None if found is None else (int(found[1]), int(found[2]))


def _parsed_bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", text.lower())
    if found is None or found[2] not in UNITS:
        raise InputError(f"--max-shard-size: expected bytes, or a number of KiB, MiB or GiB, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


@verbs.command()
def verify(
    shards: Annotated[Path, typer.Argument(metavar="SHARDS", help="Shards folder to read whole.")] = Path("shards"),
    full: Annotated[bool, typer.Option("--full", help="Decode every frame too.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Check every byte of a shards folder against its index; damage makes exit 1."""
    from wmkit.dataset.progress import counter_for
    from wmkit.dataset.verify import verify_shards

    with stdout_for(json_output):
        result = verify_shards(shards, counter_for(sys.stderr, "samples"), full=full)
    tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@verbs.command()
def repair(
    shards: Annotated[Path, typer.Argument(metavar="SHARDS", help="Shards folder to mend.")] = Path("shards"),
    corpus: Annotated[Path, typer.Option(help="The corpus it was built from.")] = Path("corpus"),
    json_output: JsonFlag = False,
) -> int:
    """Make damaged shards again from the corpus, or the index from the shards: the same bytes, or exit 1."""
    from wmkit.dataset.progress import counter_for
    from wmkit.dataset.repair import repair_shards

    with stdout_for(json_output):
        result = repair_shards(shards, corpus, counter_for(sys.stderr, "shards"))
    tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@verbs.command()
def precompute(
    shards: Annotated[str, typer.Argument(metavar="SHARDS", help="Shards folder or URL to read.")] = "shards",
    vae: Annotated[
        str, typer.Option(metavar="NAME", help="pixel-unshuffle[=4x8], ltx2=FOLDER, wan=FOLDER, dc-ae=FOLDER.")
    ] = "pixel-unshuffle",
    text: Annotated[
        str | None, typer.Option(metavar="NAME", help="hashed[=64x32], gemma-2=FOLDER. [default: no captions]")
    ] = None,
    out: Annotated[Path, typer.Option(help="New shards folder; run again, it goes on.")] = Path("latents"),
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Frames made to cover it, and cropped.")] = None,
    frames: Annotated[int | None, typer.Option(help="Of a window. [default: one a sample, the longest]")] = None,
    stride: Annotated[int, typer.Option(help="Frames from one of a window to the next.")] = 1,
    hop: Annotated[int | None, typer.Option(help="Frames between windows. [default: they do not overlap]")] = None,
    precision: Annotated[PrecisionChoice, typer.Option(help="Of stored values.")] = "float16",
    device: Annotated[str, typer.Option(help="Of torch: cpu, cuda.")] = "cpu",
    executor: Annotated[ExecutorName, typer.Option(help="Ray actors, or plain processes.")] = "ray",
    ray_address: RayAddressFlag = None,
    workers: Annotated[int | None, typer.Option(help="Shards made at once. [default: one a core]")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Add latents of windows of frames, and text states, to shards: training then decodes and encodes nothing."""
    from wmkit.dataset.progress import counter_for
    from wmkit.executor import ExecutorOptions
    from wmkit.train.encoders import CodecChoice, TextChoice
    from wmkit.train.precompute import PrecomputeOptions
    from wmkit.train.precompute import precompute as add

    options = PrecomputeOptions(
        vae=CodecChoice.parse(vae),
        text=None if text is None else TextChoice.parse(text),
        size=_parsed_size(size),
        frames=frames,
        frame_stride=stride,
        hop=hop,
        precision=precision,
        device=device,
        executor=ExecutorOptions(kind=executor, ray_address=ray_address, workers=workers),
    )
    with stdout_for(json_output):
        summary = add(shards, out, options, counter_for(sys.stderr, "samples"))
    tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code
