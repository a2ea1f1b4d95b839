"""The command line: verbs that parse and call, nothing else; one file a group of them.

Exit codes: 0 done, 1 the work ran and the answer is no, 2 usage or input, 130 interrupted. With `--json` stdout
carries one object and everything else goes to stderr. Every verb imports what it calls inside its own body, so
that `wmkit --help` costs no numpy, torch, ray, cv2, pycolmap, av or scipy.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from wmkit import __version__
from wmkit.cli import bench, corpus, inspect, model, sample, shards, trajectory, weights
from wmkit.errors import WmkitError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Raw clips to a training corpus with metric 6-DoF cameras.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # what gets that far is a bug: its whole traceback, as Python prints it
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (corpus, inspect, shards, model, sample):
    app.add_typer(group.verbs)
app.add_typer(weights.verbs, name="weights")
app.add_typer(trajectory.verbs, name="trajectory")
app.add_typer(bench.verbs, name="bench")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; errors raised on purpose become one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(args=arguments or ["--help"], prog_name="wmkit", standalone_mode=False)
    except WmkitError as error:
        return _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    if code == 130:
        print(f"interrupted: {_how_to_go_on(arguments)}", file=sys.stderr)
    return int(code or 0)


def _how_to_go_on(arguments: Sequence[str]) -> str:
    if arguments[:1] == ["train"]:
        return "the same command goes on from the last checkpoint"
    return "the same command resumes where it stopped"


def _complain(message: str, exit_code: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return exit_code


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"wmkit {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the verb."""
