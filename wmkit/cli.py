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
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wmkit import __version__
from wmkit.errors import InputError, WmkitError

if TYPE_CHECKING:
    from wmkit.annotate.run import RunSummary

__all__ = ["app", "main"]

DecoderName = Literal["pyav", "opencv", "decord", "torchcodec"]
DepthName = Literal["keyframes", "none"]
ExecutorName = Literal["ray", "local"]
ExportFormat = Literal["tum", "kitti", "colmap", "nerfstudio", "re10k", "vipe", "rerun"]
PeerName = Literal["pycolmap"]
RecipeName = Literal["tiny-cpu"]
WorldSize = Literal["standard", "small"]
ScaleChoice = Literal["any", "metric"]
VideoChoice = Literal["encode", "copy"]

# What the command that reruns one dead letter repeats: whatever changes an annotation or its time limit.
RERUN_FLAGS = frozenset(
    {"decoder", "fps", "max_side", "image_fps", "depth", "executor", "clip_timeout_s", "clip_memory_gib", "seed"}
    | {"sidecars", "camera_height", "baseline", "object_length", "metric_depth", "scale"}
    | {"intrinsics", "fov_deg", "priors", "poses", "pose_command", "pose_weights"}
)

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
IntrinsicsFlag = Annotated[
    str | None, typer.Option(metavar="FILE|fx,fy,cx,cy@WxH", help="Camera, px of the upright source picture.")
]
FovFlag = Annotated[float | None, typer.Option(help="Horizontal field of view of the upright source picture.")]
CorpusArgument = Annotated[Path, typer.Argument(metavar="CORPUS", help="Corpus folder that annotate wrote.")]

app = typer.Typer(
    help="Raw clips to a training corpus with metric 6-DoF cameras.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # what gets that far is a bug: its whole traceback, as Python prints it
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(
    help="Model weights: listed, and fetched when you accept their licence.", rich_markup_mode=None
)
app.add_typer(weights_app, name="weights")
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
        print(f"interrupted: {_how_to_go_on(arguments)}", file=sys.stderr)
    return int(code or 0)


def _how_to_go_on(arguments: Sequence[str]) -> str:
    if arguments[:1] == ["train"]:
        return "the same command with --resume goes on from the last checkpoint"
    return "the same command resumes where it stopped"


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


def _tell(value: object, lines: Sequence[str], json_output: bool) -> None:
    """The verb's product on stdout: one JSON object, or lines for people."""
    print(json.dumps(value, indent=2, allow_nan=False) if json_output else "\n".join(lines))


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
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Video files, image folders, folders of them.")],
    out: Annotated[Path, typer.Option(help="Corpus folder; one of the same config is resumed.")] = Path("corpus"),
    decoder: Annotated[DecoderName, typer.Option(help="Decoding library.")] = "pyav",
    fps: Annotated[str, typer.Option(help="Frames a second, never above the native rate; or 'native'.")] = "16",
    max_side: Annotated[int, typer.Option(help="Long side in px; larger frames are shrunk.")] = 960,
    image_fps: Annotated[float, typer.Option(help="Frames a second of an image folder.")] = 16.0,
    depth: Annotated[DepthName, typer.Option(help="Which frames get depth.")] = "keyframes",
    sidecars: Annotated[str, typer.Option(metavar="auto|none|FILE", help="Telemetry: own or .gpx .csv.")] = "none",
    camera_height: Annotated[str | None, typer.Option(metavar="M[±S]", help="Camera above ground, m.")] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(metavar="A:B=M[±S]", help="Frames A and B, metres apart.")
    ] = None,
    object_length: Annotated[
        list[str] | None,
        typer.Option("--object", metavar="F:X,Y-X,Y=M[±S]", help="Length between two pixels of frame F."),
    ] = None,
    metric_depth: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Weights of a metric depth network.")
    ] = None,
    scale: Annotated[float | None, typer.Option(metavar="FACTOR", help="Metres in one trajectory unit.")] = None,
    intrinsics: IntrinsicsFlag = None,
    fov_deg: FovFlag = None,
    priors: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Cameras of clips by name.")] = None,
    poses: Annotated[str | None, typer.Option(metavar="FILE|auto", help="Take the trajectory from a file.")] = None,
    pose_command: Annotated[str | None, typer.Option(metavar="CMD", help="Experimental: a program's poses.")] = None,
    pose_weights: Annotated[str | None, typer.Option(metavar="NAME", help="Fetched weights it is told of.")] = None,
    executor: Annotated[ExecutorName, typer.Option(help="Ray actors, or plain processes.")] = "ray",
    workers: Annotated[int | None, typer.Option(help="Worker processes. [default: one a core]")] = None,
    clip_timeout_s: Annotated[float, typer.Option(help="Seconds a clip may take before it is given up.")] = 900.0,
    clip_memory_gib: Annotated[
        float, typer.Option(help="GiB a worker may hold for a clip before it is given up.")
    ] = 6.0,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when any clip failed.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Let another config annotate this corpus again.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Cameras, depth, scale and measured verdicts of every clip; run again to resume."""
    from wmkit.annotate.defaults import default_config, pose_backend
    from wmkit.annotate.priors import prior_config
    from wmkit.annotate.progress import progress_for
    from wmkit.annotate.run import RunOptions, run_annotate
    from wmkit.annotate.scale_flags import ScaleFlags, cues_of_flags
    from wmkit.executor import ExecutorOptions
    from wmkit.video import VideoConfig

    video = VideoConfig(decoder=decoder, fps=_parsed_fps(fps), max_side=max_side, image_fps=image_fps)
    flags = ScaleFlags(
        sidecars=sidecars,
        camera_height=camera_height,
        baselines=tuple(baseline or ()),
        objects=tuple(object_length or ()),
        metric_depth=metric_depth,
        factor=scale,
        given_poses=poses is not None or pose_command is not None,
    )
    config = default_config(
        video=video,
        depth=depth == "keyframes",
        scale=cues_of_flags(flags, video),
        seed=seed,
        pose=pose_backend(poses=poses, command=pose_command, weights=pose_weights, timeout_s=clip_timeout_s),
        prior=prior_config(intrinsics=intrinsics, fov_deg=fov_deg, priors=priors),
    )
    options = RunOptions(
        executor=ExecutorOptions(kind=executor, workers=workers, timeout_s=clip_timeout_s, memory_gib=clip_memory_gib),
        update=update,
        rerun=_given_flags(context),
    )
    with _stdout_for(json_output):
        summary = run_annotate(paths, out, config, options, progress_for(sys.stderr))
    _tell(summary.to_json(), _summary_lines(summary), json_output)
    return summary.exit_code(strict=strict)


def _summary_lines(summary: "RunSummary") -> list[str]:
    """What became of every source, in a few lines."""
    lines = [
        f"{summary.clips} clips: {summary.ok} with a trajectory, {summary.no_trajectory} without, "
        f"{summary.failed} failed"
        + (f", {summary.unfinished} unfinished" if summary.unfinished else "")
        + (f"; {summary.resumed} of them done by an earlier run" if summary.resumed else ""),
        f"{summary.posed_frames} of {summary.frames} frames posed; {summary.seconds:.1f} s",
    ]
    if summary.ok:
        lines += _scale_lines(summary)
    if summary.duplicates:
        lines.append(f"duplicates of another source's content: {summary.duplicates}")
    if summary.failed:
        lines.append(f"why each failed, and the command that reruns it alone: {summary.corpus}/dead-letter")
    told = (("no trajectory", summary.reasons), ("failed", summary.codes), ("skipped", summary.skipped))
    lines += [f"{title}: " + ", ".join(f"{n} {word}" for word, n in count.items()) for title, count in told if count]
    return [*lines, f"corpus: {summary.corpus}"]


def _scale_lines(summary: "RunSummary") -> list[str]:
    """How many trajectories are in metres, which cues said so, and why the others did not."""
    found = ", ".join(f"{cue} on {count}" for cue, count in summary.cues.items()) or "no cue voted"
    lines = [f"scale: {summary.metric} metric, {summary.ok - summary.metric} up to scale; {found}"]
    if summary.cues_absent:
        lines.append("cues that did not count: " + ", ".join(f"{n} {word}" for word, n in summary.cues_absent.items()))
    return lines


def _given_flags(context: typer.Context) -> tuple[str, ...]:
    """The flags of this call that decide an annotation, as they would be typed again for one clip alone."""
    words: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name not in RERUN_FLAGS or value == parameter.default:
            continue
        for item in value if isinstance(value, list | tuple) else (value,):
            words += [parameter.opts[0], str(item)]
    return tuple(words)


@app.command()
def report(corpus: CorpusArgument = Path("corpus"), json_output: JsonFlag = False) -> None:
    """Write one self-contained report.html into the corpus."""
    from wmkit.annotate.report import write_report

    with _stdout_for(json_output):
        path = write_report(corpus)
    _tell({"report": str(path)}, [f"report: {path}"], json_output)


@app.command()
def export(
    file_format: Annotated[ExportFormat, typer.Option("--format", help="What the files are to be read as.")],
    out: Annotated[Path, typer.Option(help="Folder for the files and export.json.")],
    corpus: CorpusArgument = Path("corpus"),
    json_output: JsonFlag = False,
) -> int:
    """Write cameras and trajectories of a corpus in another tool's format."""
    from wmkit.annotate.export import export_corpus

    with _stdout_for(json_output):
        summary = export_corpus(corpus, file_format, out)
    lines = [f"{summary.exported} of {summary.sources} sources written as {summary.format}: {summary.out}/export.json"]
    lines += [f"left out: {count} {reason}" for reason, count in summary.left_out.items()]
    _tell(summary.to_json(), lines, json_output)
    return 0 if summary.exported else 1


@app.command("build-shards")
def build_shards(
    corpus: CorpusArgument = Path("corpus"),
    out: Annotated[Path, typer.Option(help="Shards folder; written again only for the same corpus.")] = Path("shards"),
    thresholds: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="What passes. [default: ours]")] = None,
    scale: Annotated[ScaleChoice, typer.Option(help="metric drops clips whose scale is unknown.")] = "any",
    video: Annotated[VideoChoice, typer.Option(help="copy takes the source file, if used as it is.")] = "encode",
    json_output: JsonFlag = False,
) -> int:
    """Turn the clips of a corpus that pass the thresholds into WebDataset shards; what is dropped is counted."""
    from wmkit.dataset.progress import counter_for
    from wmkit.dataset.writer import BuildOptions
    from wmkit.dataset.writer import build_shards as build

    options = BuildOptions(thresholds=thresholds, scale=scale, video=video)
    with _stdout_for(json_output):
        summary = build(corpus, out, options, counter_for(sys.stderr, "clips"))
    _tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code


@app.command()
def verify(
    shards: Annotated[Path, typer.Argument(metavar="SHARDS", help="Shards folder to read whole.")] = Path("shards"),
    json_output: JsonFlag = False,
) -> int:
    """Check every byte and frame of a shards folder against its index; damage makes exit 1."""
    from wmkit.dataset.progress import counter_for
    from wmkit.dataset.verify import verify_shards

    with _stdout_for(json_output):
        result = verify_shards(shards, counter_for(sys.stderr, "samples"))
    _tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@app.command()
def doctor(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video file or a folder of images.")],
    poses: Annotated[str, typer.Option(metavar="FILE|auto", help="The poses to test; auto: beside the clip.")],
    intrinsics: IntrinsicsFlag = None,
    fov_deg: FovFlag = None,
    fps: Annotated[str, typer.Option(help="Frames a second, never above the native rate; or 'native'.")] = "16",
    json_output: JsonFlag = False,
) -> int:
    """Test a file of poses against the images in every direction and axis convention; exit 1 when it is refuted."""
    from wmkit.annotate.doctor import examine
    from wmkit.annotate.priors import prior_config
    from wmkit.video import VideoConfig

    prior = prior_config(intrinsics=intrinsics, fov_deg=fov_deg, priors=None)
    with _stdout_for(json_output):
        result = examine(clip, poses, prior, VideoConfig(fps=_parsed_fps(fps)))
    _tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@weights_app.command("list")
def list_weights(json_output: JsonFlag = False) -> None:
    """Names, licences and what each is for."""
    from wmkit.annotate.weights import known_weights, weights_lines

    table = known_weights()
    _tell({name: row.to_json() for name, row in table.items()}, weights_lines(table), json_output)


@weights_app.command("fetch")
def fetch_weights(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `wmkit weights list` calls it.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You have read it and agree.")] = False,
    table: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Your own table. [default: ours]")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Download weights into the cache; labels made with them inherit their licence."""
    from wmkit.annotate.weights import accepted, fetch

    weights = accepted(name, table, accept_licence=accept_licence)
    with _stdout_for(json_output):
        found = fetch(weights, lambda line: print(line, file=sys.stderr))
    _tell(found.to_json(), [f"{found.name} ({found.licence}): {found.path}, sha256 {found.sha256}"], json_output)


@bench_app.command()
def pose(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Clips with a reference beside them.")],
    peer: Annotated[PeerName | None, typer.Option(help="Run this engine on the same frames too.")] = None,
    limits: Annotated[Path | None, typer.Option(help="TOML of limits; a missed one makes exit 1.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Score the annotator's cameras against references it is not shown."""
    from wmkit.bench.pose import BenchOptions, bench_pose

    options = BenchOptions(peer=peer, limits=limits, out=out)
    with _stdout_for(json_output):
        result = bench_pose(folders, options, lambda line: print(line, file=sys.stderr))
    _tell(result.to_json(), [result.table()], json_output)
    return result.exit_code


@bench_app.command("scale")
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
    with _stdout_for(json_output):
        result = bench_scale(options, lambda line: print(line, file=sys.stderr))
    _tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@bench_app.command()
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
    with _stdout_for(json_output):
        rows = bench_worlds(options, lambda line: print(line, file=sys.stderr))
    report = WorldsReport(rows=tuple(rows))
    _tell(report.to_json(), report.lines(), json_output)
    return report.exit_code


@app.command()
def train(
    recipe: Annotated[RecipeName, typer.Argument(metavar="RECIPE", help="What to train: tiny-cpu.")] = "tiny-cpu",
    data: Annotated[Path, typer.Option(help="Shards folder that build-shards wrote.")] = Path("shards"),
    out: Annotated[Path, typer.Option(help="Run folder for checkpoints and metrics.")] = Path("run"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as steps=400 or optimizer.lr=0.001."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's latest checkpoint.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Train the world model on shards; atomic checkpoints, exact resume."""
    from wmkit.train.progress import progress_for
    from wmkit.train.run import TrainOptions, run_train

    options = TrainOptions(recipe=recipe, data=data, out=out, settings=tuple(settings or ()), resume=resume)
    with _stdout_for(json_output):
        summary = run_train(options, progress_for(sys.stderr))
    _tell(summary.to_json(), summary.lines(), json_output)


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Option(help="Run folder, or one of its checkpoints.")] = Path("run"),
    image: Annotated[Path | None, typer.Option(help="The first frame. [default: a bundled picture]")] = None,
    trajectory: Annotated[str, typer.Option(help="Camera file, or actions.")] = "w-10,dw-6",
    intrinsics: Annotated[Path | None, typer.Option(help="fx fy cx cy of the image, px: .npy .npz .json .txt.")] = None,
    fov_deg: Annotated[float | None, typer.Option(help="Horizontal. [default: by EXIF, else 60]")] = None,
    out: Annotated[Path, typer.Option(help="Video; its cameras and recipe are put beside it.")] = Path("sample.mp4"),
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Make a video that begins with a picture and follows a camera path."""
    from wmkit.sample import SampleOptions, run_sample
    from wmkit.train.progress import progress_for

    options = SampleOptions(
        checkpoint=checkpoint,
        image=image,
        trajectory=trajectory,
        intrinsics=intrinsics,
        fov_deg=fov_deg,
        out=out,
        steps=steps,
        seed=seed,
    )
    with _stdout_for(json_output):
        progress = progress_for(sys.stderr)
        summary = run_sample(options, progress.note, progress)
    _tell(summary.to_json(), summary.lines(), json_output)


@app.command("eval")
def evaluate(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to judge.")],
    trajectory: Annotated[Path, typer.Option(help="The cameras asked for: .npz, .json, .txt or a COLMAP folder.")],
    json_output: JsonFlag = False,
) -> int:
    """Find a video's cameras again and hold them against those asked for: RotErr, TransErr, CamMC."""
    from wmkit.evaluate.video import eval_video

    print(f"annotating {video}", file=sys.stderr)
    with _stdout_for(json_output):
        result = eval_video(video, trajectory)
    _tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for clips, corpus, shards, run and sample.")] = Path("demo"),
    json_output: JsonFlag = False,
) -> int:
    """Four synthetic clips rendered, annotated, trained on for a minute; a video made; all held against the truth."""
    from wmkit.annotate.progress import progress_for
    from wmkit.demo import run_demo
    from wmkit.train.progress import progress_for as training_progress_for

    with _stdout_for(json_output):
        summary = run_demo(out, progress_for(sys.stderr), training=training_progress_for(sys.stderr))
    _tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code
