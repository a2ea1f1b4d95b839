"""Verbs that make and read a corpus: annotate, retry, report, export; and doctor, which tests poses beforehand."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmkit.cli.shared import CorpusArgument, FovFlag, FpsFlag, IntrinsicsFlag, JsonFlag, parsed_fps, stdout_for, tell

if TYPE_CHECKING:
    from wmkit.annotate.pipeline import AnnotateConfig
    from wmkit.annotate.run import RunOptions, RunSummary
    from wmkit.annotate.scale_flags import ScaleFlags
    from wmkit.executor import ExecutorOptions

__all__ = ["RERUN_FLAGS", "DecoderName", "ExecutorName", "ExportFormat", "StopAfter", "verbs"]

DecoderName = Literal["pyav", "opencv", "decord", "torchcodec"]
DepthName = Literal["keyframes", "all", "none"]
StopAfter = Literal["footage"]
ExecutorName = Literal["ray", "local"]
ExportFormat = Literal["tum", "kitti", "colmap", "nerfstudio", "re10k", "vipe", "rerun"]

# What the command that reruns one dead letter repeats: whatever changes an annotation or its time limit.
RERUN_FLAGS = frozenset(
    {"decoder", "fps", "max_side", "image_fps", "depth", "executor", "clip_timeout_s", "clip_memory_gib", "seed"}
    | {"sidecars", "camera_height", "baseline", "object_length", "metric_depth", "scale"}
    | {"depth_max_side", "depth_model", "depth_anchor"}
    | {"captions", "caption_model", "stop_after"}
    | {"intrinsics", "fov_deg", "priors", "poses", "pose_command", "pose_weights"}
)

SourcesArgument = Annotated[
    list[str], typer.Argument(metavar="PATH", help="Videos, image folders, folders of them, URLs, .csv, .parquet.")
]
RayAddressFlag = Annotated[
    str | None, typer.Option(metavar="auto|local|HOST:PORT", help="Ray cluster. [default: RAY_ADDRESS, else local]")
]
Lengths = list[str] | None
BaselineFlag = Annotated[Lengths, typer.Option(metavar="A:B=M[±S]", help="Frames A and B, metres apart.")]
ObjectFlag = Annotated[
    Lengths, typer.Option("--object", metavar="F:X,Y-X,Y=M[±S]", help="Length between two pixels of frame F.")
]
MetricDepthFlag = Annotated[Path | None, typer.Option(metavar="PATH", help="Weights of a metric depth network.")]

verbs = typer.Typer()


@verbs.command()
def annotate(
    context: typer.Context,
    paths: SourcesArgument,
    out: Annotated[Path, typer.Option(help="Corpus folder; one of the same config is resumed.")] = Path("corpus"),
    decoder: Annotated[DecoderName, typer.Option(help="Decoding library.")] = "pyav",
    fps: FpsFlag = "16",
    max_side: Annotated[int, typer.Option(help="Long side in px; larger frames are shrunk.")] = 960,
    image_fps: Annotated[float, typer.Option(help="Frames a second of an image folder.")] = 16.0,
    depth: Annotated[DepthName, typer.Option(help="Which frames get depth.")] = "keyframes",
    depth_max_side: Annotated[int, typer.Option(help="Long side of depth maps in px.")] = 320,
    depth_model: Annotated[Path | None, typer.Option(metavar="PATH", help="Depth by this network instead.")] = None,
    depth_anchor: Annotated[Path | None, typer.Option(metavar="PATH", help="Metric network that anchors it.")] = None,
    sidecars: Annotated[str, typer.Option(metavar="auto|none|FILE", help="Telemetry: own or .gpx .csv.")] = "none",
    camera_height: Annotated[str | None, typer.Option(metavar="M[±S]", help="Camera above ground, m.")] = None,
    baseline: BaselineFlag = None,
    object_length: ObjectFlag = None,
    metric_depth: MetricDepthFlag = None,
    scale: Annotated[float | None, typer.Option(metavar="FACTOR", help="Metres in one trajectory unit.")] = None,
    intrinsics: IntrinsicsFlag = None,
    fov_deg: FovFlag = None,
    priors: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Cameras of clips by name.")] = None,
    captions: Annotated[str, typer.Option(metavar="none|auto|FILE|MODEL|URL", help="Captions of the clips.")] = "none",
    caption_model: Annotated[str | None, typer.Option(metavar="NAME", help="The model at --captions URL.")] = None,
    poses: Annotated[str | None, typer.Option(metavar="FILE|auto", help="Take the trajectory from a file.")] = None,
    pose_command: Annotated[str | None, typer.Option(metavar="CMD", help="Experimental: a program's poses.")] = None,
    pose_weights: Annotated[str | None, typer.Option(metavar="NAME", help="Fetched weights it is told of.")] = None,
    clip_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Videos cut, and parted at S at most.")
    ] = None,
    executor: Annotated[ExecutorName, typer.Option(help="Ray actors, or plain processes.")] = "ray",
    ray_address: RayAddressFlag = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes. [default: one a core]")] = None,
    gpu_workers: Annotated[
        int | None, typer.Option(help="Processes of one GPU each, for networks. [default: one a GPU]")
    ] = None,
    clip_timeout_s: Annotated[float, typer.Option(help="Seconds a clip may take before it is given up.")] = 900.0,
    clip_memory_gib: Annotated[float, typer.Option(help="GiB a worker may hold before its clip is given up.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when any clip failed.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Let another config annotate this corpus again.")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every source again, changed or not.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry", help="Attempt failed clips again.")] = False,
    stop_after: Annotated[StopAfter | None, typer.Option(help="Measure the footage alone; no pose.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do and cost; write nothing.")] = False,
    json_output: JsonFlag = False,
) -> int:
    """Cameras, depth, scale and measured verdicts of every clip; run again to resume."""
    from wmkit.annotate.run import RunOptions
    from wmkit.annotate.split import SplitConfig

    config = _config(context.params)
    split = None if clip_seconds is None else SplitConfig(clip_seconds=clip_seconds, decoder=config.video.decoder)
    if dry_run:
        return _dry_run(paths, out, config, update, json_output)
    workforce, rerun = _workforce(context.params), _given_flags(context)
    options = RunOptions(executor=workforce, update=update, retry=retry_failed, rehash=rehash, split=split, rerun=rerun)
    return _run(paths, out, config, options, json_output).exit_code(strict=strict)


def _config(given: dict[str, Any]) -> "AnnotateConfig":
    """What annotate's flags ask of every clip."""
    from wmkit.annotate.captions import captions_of_flags
    from wmkit.annotate.defaults import default_config, depth_backend, pose_backend
    from wmkit.annotate.priors import prior_config
    from wmkit.annotate.scale_flags import cues_of_flags
    from wmkit.video import VideoConfig

    video = VideoConfig(
        decoder=given["decoder"],
        fps=parsed_fps(given["fps"]),
        max_side=given["max_side"],
        image_fps=given["image_fps"],
    )
    return default_config(
        video=video,
        depth=depth_backend(given["depth"], given["depth_max_side"], given["depth_model"], given["depth_anchor"]),
        scale=cues_of_flags(_scale_flags(given), video),
        seed=given["seed"],
        pose=pose_backend(
            poses=given["poses"],
            command=given["pose_command"],
            weights=given["pose_weights"],
            timeout_s=given["clip_timeout_s"],
        ),
        prior=prior_config(intrinsics=given["intrinsics"], fov_deg=given["fov_deg"], priors=given["priors"]),
        caption=captions_of_flags(given["captions"], given["caption_model"]),
        stop_after=given["stop_after"],
    )


def _dry_run(paths: list[str], out: Path, config: "AnnotateConfig", update: bool, json_output: bool) -> int:
    """Tell of the work and do none."""
    from wmkit.annotate.dry_run import plan_annotate

    with stdout_for(json_output):
        plan = plan_annotate(paths, out, config, update=update, note=lambda line: print(line, file=sys.stderr))
    tell(plan.to_json(), plan.lines(), json_output)
    return 0


def _workforce(given: dict[str, Any]) -> "ExecutorOptions":
    """Those of annotate's flags that say who works, and within which limits."""
    from wmkit.executor import ExecutorOptions

    return ExecutorOptions(
        kind=given["executor"],
        workers=given["workers"],
        gpu_workers=given["gpu_workers"],
        ray_address=given["ray_address"],
        timeout_s=given["clip_timeout_s"],
        memory_gib=given["clip_memory_gib"],
    )


def _run(
    paths: list[str], out: Path, config: "AnnotateConfig", options: "RunOptions", json_output: bool
) -> "RunSummary":
    """Do the work and tell of it."""
    from wmkit.annotate.progress import progress_for
    from wmkit.annotate.run import run_annotate

    with stdout_for(json_output):
        summary = run_annotate(paths, out, config, options, progress_for(sys.stderr))
    tell(summary.to_json(), _summary_lines(summary), json_output)
    return summary


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
        lines += summary.failures
        lines.append(f"why each failed: {summary.corpus}/dead-letter; wmkit retry {summary.corpus} runs them again")
    told = (("no trajectory", summary.reasons), ("skipped", summary.skipped))
    lines += [f"{title}: " + ", ".join(f"{n} {word}" for word, n in count.items()) for title, count in told if count]
    return [*lines, f"corpus: {summary.corpus}"]


def _scale_lines(summary: "RunSummary") -> list[str]:
    """How many trajectories are in metres, which cues said so, and why the others did not."""
    found = ", ".join(f"{cue} on {count}" for cue, count in summary.cues.items()) or "no cue voted"
    lines = [f"scale: {summary.metric} metric, {summary.ok - summary.metric} up to scale; {found}"]
    if summary.cues_absent:
        lines.append("cues that did not count: " + ", ".join(f"{n} {word}" for word, n in summary.cues_absent.items()))
    return lines


def _scale_flags(given: dict[str, Any]) -> "ScaleFlags":
    """Those of annotate's flags that scale cues come from."""
    from wmkit.annotate.scale_flags import ScaleFlags

    return ScaleFlags(
        sidecars=given["sidecars"],
        camera_height=given["camera_height"],
        baselines=tuple(given["baseline"] or ()),
        objects=tuple(given["object_length"] or ()),
        metric_depth=given["metric_depth"],
        factor=given["scale"],
        given_poses=given["poses"] is not None or given["pose_command"] is not None,
    )


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


@verbs.command()
def retry(
    corpus: CorpusArgument = Path("corpus"),
    code: Annotated[list[str] | None, typer.Option(help="Only what ended with it; may be repeated.")] = None,
    executor: Annotated[ExecutorName | None, typer.Option(help="As of annotate. [default: as before]")] = None,
    workers: Annotated[int | None, typer.Option(help="As of annotate. [default: one a core]")] = None,
    clip_timeout_s: Annotated[float | None, typer.Option(help="As of annotate. [default: as before]")] = None,
    clip_memory_gib: Annotated[float | None, typer.Option(help="As of annotate. [default: as before]")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Run failed clips again, with the flags they had; its output is annotate's."""
    from wmkit.annotate.retry import retry_of

    found = retry_of(corpus, code or ())
    if found.gone:
        print(f"not run, their sources are gone: {', '.join(found.gone)}", file=sys.stderr)
    if not found.arguments:
        tell({"corpus": str(corpus), "clips": 0}, [f"{corpus}: no failed clip to run again"], json_output)
        return 0
    limits = {"executor": executor, "workers": workers}
    limits |= {"clip-timeout-s": clip_timeout_s, "clip-memory-gib": clip_memory_gib}
    given = [word for name, value in limits.items() if value is not None for word in (f"--{name}", str(value))]
    arguments = ["annotate", *found.arguments, *given, *(["--json"] if json_output else [])]
    return typer.main.get_command(verbs)(args=arguments, prog_name="wmkit", standalone_mode=False)


@verbs.command()
def report(
    corpus: CorpusArgument = Path("corpus"),
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE.toml|PRESET", help="What is drawn in and counted. [default: ours]")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Write one self-contained report.html into the corpus."""
    from wmkit.annotate.report import write_report

    with stdout_for(json_output):
        path = write_report(corpus, thresholds=thresholds)
    tell({"report": str(path)}, [f"report: {path}"], json_output)


@verbs.command()
def export(
    file_format: Annotated[ExportFormat, typer.Option("--format", help="What the files are to be read as.")],
    out: Annotated[Path, typer.Option(help="Folder for the files and export.json.")],
    corpus: CorpusArgument = Path("corpus"),
    json_output: JsonFlag = False,
) -> int:
    """Write cameras and trajectories of a corpus in another tool's format."""
    from wmkit.annotate.export import export_corpus

    with stdout_for(json_output):
        summary = export_corpus(corpus, file_format, out)
    lines = [f"{summary.exported} of {summary.sources} sources written as {summary.format}: {summary.out}/export.json"]
    lines += [f"left out: {count} {reason}" for reason, count in summary.left_out.items()]
    tell(summary.to_json(), lines, json_output)
    return 0 if summary.exported else 1


@verbs.command()
def doctor(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video file or a folder of images.")],
    poses: Annotated[str, typer.Option(metavar="FILE|auto", help="The poses to test; auto: beside the clip.")],
    intrinsics: IntrinsicsFlag = None,
    fov_deg: FovFlag = None,
    fps: FpsFlag = "16",
    json_output: JsonFlag = False,
) -> int:
    """Test a file of poses against the images in every direction and axis convention; exit 1 when it is refuted."""
    from wmkit.annotate.doctor import examine
    from wmkit.annotate.priors import prior_config
    from wmkit.video import VideoConfig

    prior = prior_config(intrinsics=intrinsics, fov_deg=fov_deg, priors=None)
    with stdout_for(json_output):
        result = examine(clip, poses, prior, VideoConfig(fps=parsed_fps(fps)))
    tell(result.to_json(), result.lines(), json_output)
    return result.exit_code
