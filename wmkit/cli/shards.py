"""Verbs that make and check shards."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmkit.cli.shared import CorpusArgument, JsonFlag, stdout_for, tell

__all__ = ["verbs"]

ScaleChoice = Literal["any", "metric"]
VideoChoice = Literal["encode", "copy"]

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
    video: Annotated[VideoChoice, typer.Option(help="copy takes the source file, if used as it is.")] = "encode",
    workers: Annotated[int | None, typer.Option(help="Samples made at once. [default: one a core]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what passes; write nothing.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Turn the clips of a corpus that pass the thresholds into WebDataset shards; what is dropped is counted."""
    from wmkit.dataset.progress import counter_for
    from wmkit.dataset.writer import BuildOptions, try_thresholds
    from wmkit.dataset.writer import build_shards as build

    options = BuildOptions(thresholds=thresholds, scores=scores, scale=scale, video=video, workers=workers)
    if dry_run:
        tried = try_thresholds(corpus, options)
        tell(tried.to_json(), tried.lines(), json_output)
        return tried.exit_code
    with stdout_for(json_output):
        summary = build(corpus, out, options, counter_for(sys.stderr, "clips"))
    tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code


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
