"""`wmkit weights`: what can be fetched, and the one verb that downloads."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from wmkit.cli.shared import JsonFlag, stdout_for, tell

__all__ = ["verbs"]

verbs = typer.Typer(help="Model weights: listed, and fetched when you accept their licence.", rich_markup_mode=None)


@verbs.command("list")
def list_weights(json_output: JsonFlag = False) -> None:
    """Names, licences and what each is for."""
    from wmkit.annotate.weights import known_weights, weights_lines

    table = known_weights()
    tell({name: row.to_json() for name, row in table.items()}, weights_lines(table), json_output)


@verbs.command("fetch")
def fetch_weights(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `wmkit weights list` calls it.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You have read it and agree.")] = False,
    table: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Your own table. [default: ours]")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Download weights into the cache; labels made with them inherit their licence."""
    from wmkit.annotate.weights import accepted, fetch

    weights = accepted(name, table, accept_licence=accept_licence)
    with stdout_for(json_output):
        found = fetch(weights, lambda line: print(line, file=sys.stderr))
    pinned = "as the table names it" if weights.sha256 else "on record: later fetches must have it"
    lines = [f"{found.name} ({found.licence}): {found.path}, sha256 {found.sha256}, {pinned}"]
    tell(found.to_json(), lines, json_output)
