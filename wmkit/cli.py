"""The command line: verbs that parse and call, nothing else.

Exit codes: 0 done, 1 the work ran and the answer is no, 2 usage or input, 130 interrupted. With `--json` stdout
carries one object and everything else goes to stderr. Every verb imports what it calls inside its own body, so
that `wmkit --help` costs no numpy, torch, ray, cv2, pycolmap, av or scipy.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmkit import __version__
from wmkit.errors import InputError, WmkitError

__all__ = ["app", "main"]

DecoderName = Literal["pyav", "opencv", "decord", "torchcodec"]
DepthName = Literal["keyframes", "none"]
ExecutorName = Literal["ray", "local"]
ExportFormat = Literal["tum", "kitti", "colmap", "nerfstudio", "re10k", "vipe", "rerun"]
PeerName = Literal["pycolmap"]

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
CorpusArgument = Annotated[Path, typer.Argument(metavar="CORPUS", help="Corpus folder that annotate wrote.")]

app = typer.Typer(
    help="Raw clips to a training corpus with metric 6-DoF cameras.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bench_app = typer.Typer(help="Measure a part against references, peers and limits.", rich_markup_mode=None)
app.add_typer(bench_app, name="bench")


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
        print("interrupted: the same command resumes where it stopped", file=sys.stderr)
    return int(code or 0)


def _complain(message: str, exit_code: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return exit_code


@contextlib.contextmanager
def _stdout_for(json_output: bool) -> Iterator[None]:
    """Keep stdout for the one JSON object: whatever the body prints goes to stderr when `json_output` is set."""
    if not json_output:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _parsed_fps(text: str) -> float | None:
    """`native` is None (every frame); anything else is frames a second."""
    if text == "native":
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--fps: expected a number or 'native', got {text!r}") from None


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


@app.command()
def annotate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Video files, image folders, folders of them.")],
    out: Annotated[Path, typer.Option(help="Corpus folder; an existing one of the same config is resumed.")] = Path(
        "corpus"
    ),
    decoder: Annotated[DecoderName, typer.Option(help="Decoding library.")] = "pyav",
    fps: Annotated[str, typer.Option(help="Frames a second, never above the native rate; or 'native'.")] = "16",
    max_side: Annotated[int, typer.Option(help="Long side in px; larger frames are shrunk.")] = 960,
    image_fps: Annotated[float, typer.Option(help="Frames a second of an image folder.")] = 16.0,
    depth: Annotated[DepthName, typer.Option(help="Which frames get depth.")] = "keyframes",
    camera_height: Annotated[float | None, typer.Option(metavar="M", help="Camera above the ground, metres.")] = None,
    scale: Annotated[float | None, typer.Option(metavar="FACTOR", help="Metres in one trajectory unit.")] = None,
    executor: Annotated[ExecutorName, typer.Option(help="Ray actors, or this process's own workers.")] = "ray",
    workers: Annotated[int | None, typer.Option(help="Workers; one CPU each. [default: one a core]")] = None,
    clip_timeout_s: Annotated[float, typer.Option(help="Seconds a clip may take before it is given up.")] = 900.0,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when any clip failed.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Let another config annotate this corpus again.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Cameras, depth, scale and measured verdicts of every clip; run again to resume."""


@app.command()
def report(corpus: CorpusArgument = Path("corpus"), json_output: JsonFlag = False) -> None:
    """Write one self-contained report.html into the corpus."""


@app.command()
def export(
    file_format: Annotated[ExportFormat, typer.Option("--format", help="What the files are to be read as.")],
    out: Annotated[Path, typer.Option(help="Folder for the files and export.json.")],
    corpus: CorpusArgument = Path("corpus"),
    json_output: JsonFlag = False,
) -> None:
    """Write cameras and trajectories of a corpus in another tool's format."""


@bench_app.command()
def pose(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Clips with a reference beside them.")],
    peer: Annotated[PeerName | None, typer.Option(help="Run this engine on the same frames too.")] = None,
    limits: Annotated[Path | None, typer.Option(help="TOML of limits; a missed one makes exit 1.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Score the annotator's cameras against references it is not shown."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for clips, corpus and report.")] = Path("demo"),
    json_output: JsonFlag = False,
) -> None:
    """Render four synthetic clips, annotate them, print the error against the truth, write the report."""
