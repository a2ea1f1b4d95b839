"""The verb that makes videos: one from a picture and a path, one again from its sidecar, or a benchmark's."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmkit.cli.corpus import ExecutorName, RayAddressFlag
from wmkit.cli.shared import JsonFlag, stdout_for, tell
from wmkit.errors import InputError

if TYPE_CHECKING:
    from wmkit.sample import SampleOptions

__all__ = ["ActionMapName", "ConventionName", "SamplerName", "verbs"]

ConventionName = Literal["as-format", "opencv-c2w", "opencv-w2c", "opengl-c2w", "opengl-w2c"]
ActionMapName = Literal["sana-v2", "sana-v1", "sglang"]
SamplerName = Literal["euler", "chunk", "stream"]
DeviceName = Literal["auto", "cpu", "cuda"]
OffloadName = Literal["none", "model", "blocks"]
PrecisionName = Literal["float32", "bfloat16", "fp8"]

ConventionFlag = Annotated[ConventionName, typer.Option(help="Of a file that holds poses alone.")]
IntrinsicsFlag = Annotated[Path | None, typer.Option(help="fx fy cx cy of the image, px: .npy .npz .json .txt.")]
RefinerFlag = Annotated[
    str, typer.Option(metavar="PATH|none", help="Second stage: a folder of diffusers' SanaWMLTX2Refiner.")
]
VaeFlag = Annotated[
    str | None, typer.Option(metavar="NAME=FOLDER", help="ltx2, wan, dc-ae: of a checkpoint of its latents.")
]
TextFlag = Annotated[
    str | None, typer.Option(metavar="NAME=FOLDER", help="gemma-2: of a checkpoint of its states of captions.")
]
DeviceFlag = Annotated[DeviceName, typer.Option(help="auto: a GPU where there is one.")]
OffloadFlag = Annotated[OffloadName, typer.Option(help="What is on the GPU only while it works.")]
PrecisionFlag = Annotated[PrecisionName, typer.Option(help="Of the backbone's products; fp8: Transformer Engine.")]
MemoryFlag = Annotated[float | None, typer.Option(metavar="GIB", help="Refuse to need more. [default: what is free]")]
KeysFlag = Annotated[bool, typer.Option("--keys-overlay", help="Also a copy, X.keys.mp4, with the pressed keys drawn.")]
RepeatFlag = Annotated[
    Path | None, typer.Option(metavar="SIDECAR", help="Make a sample again as its .json says, into --out.")
]
BenchmarkFlag = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Every scene of a folder shaped as SANA-WM-Bench, into --out.")
]
OF_ONE_SCENE = ("image", "trajectory", "intrinsics", "fov_deg", "prompt", "repeat")

verbs = typer.Typer()


@verbs.command()
def sample(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Option(help="Run folder, or one of its checkpoints.")] = Path("run"),
    image: Annotated[Path | None, typer.Option(help="The first frame. [default: a bundled picture]")] = None,
    trajectory: Annotated[
        str, typer.Option(help="Camera file, template such as simple/orbit, or actions.")
    ] = "w-10,dw-6",
    convention: ConventionFlag = "as-format",
    action_map: Annotated[ActionMapName, typer.Option(help="What the keys of actions mean.")] = "sana-v2",
    seconds: Annotated[float | None, typer.Option(help="Length: cuts the path, or holds its last pose.")] = None,
    exact_length: Annotated[bool, typer.Option("--exact-length", help="Refuse to hold a pose.")] = False,
    intrinsics: IntrinsicsFlag = None,
    fov_deg: Annotated[float | None, typer.Option(help="Horizontal. [default: by EXIF, else 60]")] = None,
    prompt: Annotated[str | None, typer.Option(help="What is to be seen, for a model with text.")] = None,
    guidance: Annotated[float, typer.Option(help="By the prompt: 1 is none.")] = 1.0,
    sampler: Annotated[SamplerName | None, typer.Option(help="[default: as the model was trained]")] = None,
    out: Annotated[Path, typer.Option(help="Video; its cameras and recipe are put beside it.")] = Path("sample.mp4"),
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    refiner: RefinerFlag = "none",
    vae: VaeFlag = None,
    text: TextFlag = None,
    device: DeviceFlag = "auto",
    offload: OffloadFlag = "none",
    precision: PrecisionFlag = "float32",
    memory: MemoryFlag = None,
    keys_overlay: KeysFlag = False,
    repeat: RepeatFlag = None,
    benchmark: BenchmarkFlag = None,
    executor: Annotated[ExecutorName, typer.Option(help="Of --benchmark: Ray actors, or plain processes.")] = "ray",
    ray_address: RayAddressFlag = None,
    workers: Annotated[int | None, typer.Option(help="Of --benchmark. [default: one a GPU, or a core]")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Make a video that begins with a picture and follows a camera path; or all videos of a benchmark."""
    if benchmark is not None:
        return _benchmark(context, benchmark, json_output)
    if repeat is not None:
        return _repeat(repeat, out, offload, json_output)
    from wmkit.sample import run_sample
    from wmkit.train.progress import progress_for

    progress = progress_for(sys.stderr)
    with stdout_for(json_output):
        summary = run_sample(_options(context.params, out), progress.note, progress)
    tell(summary.to_json(), summary.lines(), json_output)
    return 0


def _options(given: dict[str, Any], out: Path) -> "SampleOptions":
    """What the flags ask for; `out` is the video's name."""
    import dataclasses

    import torch

    from wmkit.sample import SampleOptions

    names = {field.name for field in dataclasses.fields(SampleOptions)}
    values = {name: value for name, value in given.items() if name in names}
    if given["device"] == "auto":
        values["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    values["refiner"] = None if given["refiner"] == "none" else Path(given["refiner"])
    return SampleOptions(**{**values, "out": out, "memory_gib": given["memory"]})


def _repeat(sidecar: Path, out: Path, offload: OffloadName, json_output: bool) -> int:
    from wmkit.sample import repeat_sample
    from wmkit.train.progress import progress_for

    progress = progress_for(sys.stderr)
    with stdout_for(json_output):
        summary, same = repeat_sample(sidecar, out, progress.note, progress, offload)
    verdict = "the same bytes" if same else "other bytes: other packages or another machine"
    tell(summary.to_json(), [*summary.lines(), verdict], json_output)
    return 0 if same else 1


def _benchmark(context: typer.Context, folder: Path, json_output: bool) -> int:
    from wmkit.dataset.progress import counter_for
    from wmkit.executor import ExecutorOptions
    from wmkit.sample import sample_benchmark

    given = context.params
    defaults = {parameter.name: parameter.default for parameter in context.command.params}
    odd = [name for name in OF_ONE_SCENE if given[name] != defaults[name]]
    if odd:
        flag = odd[0].replace("_", "-")
        raise InputError(f"--benchmark: expected no --{flag}, every scene has its own; leave it out")
    out = Path("samples") if given["out"] == defaults["out"] else given["out"]
    if out.suffix.lower() == ".mp4":
        raise InputError(f"--benchmark: expected --out to be a folder, got {out}")
    with stdout_for(json_output):
        options = _options(given, out / "scene.mp4")
        workers = ExecutorOptions(
            kind=given["executor"],
            ray_address=given["ray_address"],
            workers=given["workers"],
            gpu_workers=given["workers"] if options.device == "cuda" else 0,
        )
        summary = sample_benchmark(folder, out, options, workers, counter_for(sys.stderr, "scenes"))
    tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code
