"""What verbs share: flags of more than one, and where their output goes."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from wmkit.errors import InputError

__all__ = [
    "CorpusArgument",
    "FovFlag",
    "FpsFlag",
    "IntrinsicsFlag",
    "JsonFlag",
    "parsed_fps",
    "stdout_for",
    "tell",
]

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
FpsFlag = Annotated[str, typer.Option(help="Frames a second, never above the native rate; or 'native'.")]
IntrinsicsFlag = Annotated[
    str | None, typer.Option(metavar="FILE|fx,fy,cx,cy@WxH", help="Camera, px of the upright source picture.")
]
FovFlag = Annotated[float | None, typer.Option(help="Horizontal field of view of the upright source picture.")]
CorpusArgument = Annotated[Path, typer.Argument(metavar="CORPUS", help="Corpus folder that annotate wrote.")]


@contextlib.contextmanager
def stdout_for(json_output: bool) -> Iterator[None]:
    """Keep stdout for the one JSON object: whatever the body prints goes to stderr when `json_output` is set."""
    if not json_output:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def tell(value: object, lines: Sequence[str], json_output: bool) -> None:
    """The verb's product on stdout: one JSON object, or lines for people."""
    print(json.dumps(value, indent=2, allow_nan=False) if json_output else "\n".join(lines))


def parsed_fps(text: str) -> float | None:
    """`native` is None (every frame); anything else is frames a second."""
    if text == "native":
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--fps: expected a number or 'native', got {text!r}") from None
