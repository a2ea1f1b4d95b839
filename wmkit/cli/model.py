"""Verbs of the world model: train, eval, convert, components; and the demo of the whole line."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmkit.cli.shared import JsonFlag, stdout_for, tell

__all__ = ["GpuName", "LauncherName", "LayoutName", "PresetName", "VaeName", "verbs"]

RecipeName = Literal[
    "tiny-cpu",
    "tiny-cpu-linear",
    "tiny-cpu-gdn",
    "tiny-cpu-hybrid",
    "tiny-cpu-camera",
    "tiny-cpu-chunk",
    "tiny-cpu-ode",
    "tiny-cpu-dmd",
    "tiny-cpu-refiner",
    "tiny-cpu-video",
    "tiny-cpu-vae",
    "small-gpu",
    "small-gpu-vae",
    "small-gpu-gdn",
    "small-gpu-hybrid",
    "small-gpu-camera",
    "small-gpu-sft",
    "small-gpu-chunk",
    "small-gpu-ode",
    "small-gpu-dmd",
    "small-gpu-refiner",
    "sana-wm-2b6-vae-5s-64xh100",
    "sana-wm-2b6-gdn-5s-64xh100",
    "sana-wm-2b6-hybrid-5s-64xh100",
    "sana-wm-2b6-minute-camera-64xh100",
    "sana-wm-2b6-minute-sft-64xh100",
    "sana-wm-2b6-minute-chunk-64xh100",
    "sana-wm-2b6-21s-ode-64xh100",
    "sana-wm-2b6-21s-dmd-64xh100",
    "sana-wm-2b6-minute-dmd-64xh100",
]
GpuName = Literal["h100", "h200", "a100"]
LayoutName = Literal["nvlabs", "diffusers", "wmkit"]
VaeName = Literal["ltx2", "wan", "dc-ae"]
LauncherName = Literal["local", "torchrun", "ray"]
PresetName = Literal["sana-wm-2.6b", "sana-wm-650m", "sana-wm-66m", "tiny"]

verbs = typer.Typer()


LauncherFlag = Annotated[
    LauncherName | None, typer.Option(help="What starts them. [default: torchrun, with --ray-address ray]")
]
RayFlag = Annotated[str | None, typer.Option(metavar="auto|local|HOST:PORT", help="Ray cluster to train on.")]
SampleEveryFlag = Annotated[
    int, typer.Option(metavar="STEPS", help="Videos of some training clips, into OUT/samples. [default: never]")
]


@verbs.command()
def train(
    recipe: Annotated[RecipeName, typer.Argument(metavar="RECIPE", help="What to train; see the README.")] = "tiny-cpu",
    data: Annotated[str, typer.Option(help="Shards folder that build-shards wrote, or its URL.")] = "shards",
    out: Annotated[Path, typer.Option(help="Run folder for checkpoints and metrics.")] = Path("run"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as steps=400 or optimizer.lr=0.001."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin with the weights of this run: an earlier stage's. [default: fresh]")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Of a self-forced student: the run that it is held against.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Insist that there is a run to go on with.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that make batches. [default: a thread]")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write event files into OUT/events.")] = False,
    wandb: Annotated[str | None, typer.Option(metavar="PROJECT", help="Log into Weights & Biases, too.")] = None,
    sample_every: SampleEveryFlag = 0,
    processes: Annotated[int, typer.Option(help="In all; under torchrun it says how many.")] = 1,
    launcher: LauncherFlag = None,
    ray_address: RayFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count memory and time on --gpus alone.")] = False,
    gpus: Annotated[int, typer.Option(help="Of --dry-run.")] = 1,
    gpu: Annotated[GpuName, typer.Option(help="Of --dry-run.")] = "h100",
    preset: Annotated[PresetName | None, typer.Option(help="Of --dry-run: on minute-long clips.")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Train the world model on shards; atomic checkpoints; the same command again goes on exactly."""
    from wmkit.train.launch import is_launched, launch, launch_ray, launcher_of
    from wmkit.train.progress import progress_for
    from wmkit.train.run import TrainOptions, run_train

    if dry_run:
        return _dry_run((recipe, settings or []), preset, gpus, gpu, json_output)
    by = "local" if is_launched() else launcher_of(launcher, processes, ray_address)
    options = TrainOptions(
        recipe=recipe,
        data=data,
        out=out,
        settings=tuple(settings or ()),
        start=start,
        teacher=teacher,
        resume=resume,
        workers=workers,
        tensorboard=tensorboard,
        wandb=wandb,
        sample_every=sample_every,
    )
    if by == "torchrun":
        return launch(options, processes, json_output)
    with stdout_for(json_output):
        told = (
            launch_ray(options, processes, ray_address) if by == "ray" else run_train(options, progress_for(sys.stderr))
        )
    if told.leads:
        tell(told.to_json(), told.lines(), json_output)
    return 0


def _dry_run(run: tuple[str, list[str]], preset: PresetName | None, gpus: int, gpu: GpuName, json_output: bool) -> int:
    """Tell of a step of a recipe with its settings, or of a preset trained so; exit 1 when it does not fit."""
    from wmkit.train.estimate import estimate_preset, estimate_recipe
    from wmkit.train.recipes import recipe as recipe_named

    with stdout_for(json_output):
        config = recipe_named(run[0]).with_settings(run[1])
        estimate = estimate_recipe(config, gpus, gpu) if preset is None else estimate_preset(preset, config, gpus, gpu)
    tell(estimate.to_json(), estimate.lines(), json_output)
    return 0 if estimate.fits else 1


@verbs.command("eval")
def evaluate(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to judge; with --benchmark a folder.")],
    trajectory: Annotated[
        Path | None, typer.Option(help="The cameras asked for: .npy, .npz, .json, .txt or a COLMAP folder.")
    ] = None,
    benchmark: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judge every scene of a folder shaped as SANA-WM-Bench.")
    ] = None,
    floor: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="A video of known cameras: the estimator's own error beside.")
    ] = None,
    floor_trajectory: Annotated[Path | None, typer.Option(metavar="FILE", help="The cameras of --floor.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw both paths and the errors.")] = None,
    json_output: JsonFlag = False,
) -> int:
    """Find a video's cameras again and hold them against those asked for: RotErr, TransErr, CamMC."""
    from wmkit.evaluate.verb import EvalOptions, run_eval

    options = EvalOptions(
        video=video,
        trajectory=trajectory,
        benchmark=benchmark,
        floor=floor,
        floor_trajectory=floor_trajectory,
        plot=plot,
    )
    with stdout_for(json_output):
        result = run_eval(options, lambda line: print(line, file=sys.stderr))
    tell(result.to_json(), result.lines(), json_output)
    return result.exit_code


@verbs.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .safetensors file, or a folder of one model's.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    to: Annotated[LayoutName, typer.Option(help="Whose names and files.")] = "wmkit",
    preset: Annotated[PresetName | None, typer.Option(help="[default: by the config.json beside SOURCE]")] = None,
    shard_gb: Annotated[float, typer.Option(help="Largest file, 10^9 bytes.")] = 5.0,
    json_output: JsonFlag = False,
) -> int:
    """Rewrite released weights from one layout to another, bit for bit; weights that do not fit make exit 1."""
    from wmkit.model.convert import convert as convert_weights
    from wmkit.model.presets import preset as preset_named

    with stdout_for(json_output):
        config = None if preset is None else preset_named(preset)
        done = convert_weights(source, out, to, config, shard_gb * 1e9)
    tell(done.to_json(), done.lines(), json_output)
    return done.exit_code


@verbs.command()
def components(
    vae: Annotated[str | None, typer.Option(metavar="SOURCE", help="A VAE's folder; see --download.")] = None,
    vae_kind: Annotated[VaeName, typer.Option(help="What it is.")] = "ltx2",
    text: Annotated[str | None, typer.Option(metavar="SOURCE", help="Gemma-2's folder; see --download.")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="SOURCE may also be a repository's name: fetch it. Never otherwise.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where the licences are stored.")] = Path("components.json"),
    json_output: JsonFlag = False,
) -> None:
    """Load other makers' models that released weights need, say what they are, and store their licences."""
    from wmkit.model.components import load_components

    with stdout_for(json_output):
        found = load_components(vae, vae_kind, text, out, download=download)
    tell([row.to_json() for row in found], [row.line() for row in found], json_output)


@verbs.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for clips, corpus, shards, run and sample.")] = Path("demo"),
    json_output: JsonFlag = False,
) -> int:
    """Four synthetic clips rendered, annotated, trained on for a minute; a video made; all held against the truth."""
    from wmkit.annotate.progress import progress_for
    from wmkit.demo import run_demo
    from wmkit.train.progress import progress_for as training_progress_for

    with stdout_for(json_output):
        summary = run_demo(out, progress_for(sys.stderr), training=training_progress_for(sys.stderr))
    tell(summary.to_json(), summary.lines(), json_output)
    return summary.exit_code
