"""Verbs that look into corpora: query, diff and inspect."""

from pathlib import Path
from typing import Annotated

import typer

from wmkit.cli.shared import CorpusArgument, JsonFlag, stdout_for, tell

__all__ = ["verbs"]

verbs = typer.Typer()


@verbs.command()
def query(
    corpus: CorpusArgument,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="Of tables clips, verdicts, ledger, sources.")],
    json_output: JsonFlag = False,
) -> None:
    """Ask the ledger of a corpus in SQL (DuckDB, extra `query`)."""
    from wmkit.corpus.query import query_corpus

    with stdout_for(json_output):
        result = query_corpus(corpus, sql)
    tell({"columns": list(result.columns), "rows": result.to_json()}, result.lines(), json_output)


@verbs.command()
def diff(
    corpus_a: Annotated[Path, typer.Argument(metavar="CORPUS_A", help="The one before.")],
    corpus_b: Annotated[Path, typer.Argument(metavar="CORPUS_B", help="The one after.")],
    json_output: JsonFlag = False,
) -> None:
    """Which clips of two corpora flipped, by reason, and how far their cameras are apart."""
    from wmkit.corpus.diff import diff_corpora

    with stdout_for(json_output):
        result = diff_corpora(corpus_a, corpus_b)
    tell(result.to_json(), result.lines(), json_output)


@verbs.command()
def inspect(
    corpus: CorpusArgument,
    clip_id: Annotated[str, typer.Argument(metavar="CLIP_ID", help="Its id, or as much of it as no other has.")],
    rrd: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a recording; no viewer is opened.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Show one clip in rerun: video, cameras, points, depth and evidence (extra `rerun`)."""
    from wmkit.annotate.inspect import inspect_clip

    with stdout_for(json_output):
        result = inspect_clip(corpus, clip_id, rrd)
    tell(result.to_json(), result.lines(), json_output)
