"""Does a model that one GPU trains in minutes go where its cameras say? In two halves, since a GPU machine has no PyAV:

    PYTHONPATH=. python benchmarks/gpu_figures.py --part learn        there: render, train, sample into gpu-learn/
    python benchmarks/gpu_learn.py judge gpu-learn                    here: find the cameras of the samples again

One room is rendered along random paths and learnt by the recipe `small-gpu`. On held-out paths through it, clips are
sampled from their first frame with their own cameras and with another clip's; `judge` writes them as videos, finds
their cameras again as `wmkit eval --benchmark` does, and holds both against the cameras that were asked for, beside the
rendered clips themselves, which show what the estimator gets wrong. RotErr and CamMC have to be at most half of those
with the other clip's cameras; exit 1 where they are not.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wmkit.camera import Intrinsics, invert_rigid
from wmkit.camera_paths import SampledPath, rotation_from_angles
from wmkit.clip import rng_for
from wmkit.errors import WmkitError
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import SamplerConfig, sample_latents
from wmkit.train.checkpoint import DataFacts, load_model
from wmkit.train.config import TrainConfig
from wmkit.train.loop import train
from wmkit.train.metrics_log import read_metrics
from wmkit.train.pace import step_work
from wmkit.train.parallel import Team
from wmkit.train.recipes import small_gpu
from wmkit.worlds.block_room import BlockRoom
from wmkit.worlds.render import render

FPS, FOV_DEG, CLIP_FRAMES = 8.0, 80.0, 33
REACH_M, SPEED_M_S, SWING_DEG, TILT_DEG = np.array([0.8, 0.2, 0.7]), 0.8, 50.0, 12.0  # at most, from the room's middle
HELD = 1000  # first number of the clips that are sampled
MOST = 0.5  # of the errors with another clip's cameras that those with the right ones may be
JUDGED = ("rot_err_cami2v_relative", "cam_mc_cami2v_relative")  # by no fit of one path to the other, which may fail
WAYS = ("true", "shuffled", "rendered")
TINY = ("model.latent_channels=96", "model.width=16", "model.depth=2", "model.heads=2", "model.softmax_every=2",
        "data.height=16", "data.width=16", "data.frames=5", "data.batch_size=2", "save_every=2")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnSetup:
    """Clips to learn and to sample, Euler steps, settings over `small-gpu`.

    train_s     seconds of training; None: `config.steps`, however long they take.
    first_steps  a leg of its own, whose pace says how many steps `train_s` has room for.
    """

    device: str = "cuda"
    clips: int = 256
    held_out: int = 8
    sample_steps: int = 20
    settings: tuple[str, ...] = ()
    train_s: float | None = 420.0
    first_steps: int = 100

    @property
    def config(self) -> TrainConfig:
        """The run's."""
        return small_gpu().with_settings(self.settings)


DRY = LearnSetup(
    device="cpu", clips=3, held_out=2, sample_steps=2, settings=(*TINY, "steps=3"), train_s=None, first_steps=2
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A camera that drifts about the middle of the room and swings to and fro: a pure function of `seed`."""

    seed: int

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `wmkit.camera_paths.CameraPath.sample`."""
        rng = rng_for(self.seed, "gpu_learn", "drift")
        time_s = np.arange(frames) / fps

        def wave(rate: Any) -> Any:
            return np.sin(rate * time_s[:, None] + rng.uniform(0, 2 * np.pi, np.shape(rate)))

        poses = np.tile(np.eye(4), (frames, 1, 1))
        poses[:, :3, 3] = REACH_M * wave(rng.uniform(0.4, 1.0, 3) * SPEED_M_S / (REACH_M * math.sqrt(3)))
        heading, pitch = (wave(rng.uniform(0.5, 1.0, 2)) * (SWING_DEG, TILT_DEG)).T
        poses[:, :3, :3] = rotation_from_angles(heading, pitch, np.zeros(frames))
        return SampledPath(world_from_cam=poses, time_s=time_s).placed((0.0, -1.3, 0.75), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clips:
    """Rendered clips: rgb (n, N, H, W, 3) uint8 where the model is, world_from_cam (n, N, 4, 4) float64."""

    rgb: Tensor
    world_from_cam: NDArray[np.float64]

    @property
    def camera(self) -> Intrinsics:
        """Of every frame."""
        return _camera(self.rgb.shape[2])

    def crops(self, which: Sequence[int], first: Sequence[int], frames: int) -> "Crops":
        """Clips of so many frames, cameras relative to the first of them."""
        rows = [slice(begin, begin + frames) for begin in first]
        poses = [self.world_from_cam[clip][row] for clip, row in zip(which, rows, strict=True)]
        relative = np.stack([invert_rigid(path[:1]) @ path for path in poses])
        relative[:, 0] = np.eye(4)  # what rounding leaves of it is not worth having
        rgb = torch.stack([self.rgb[clip][row] for clip, row in zip(which, rows, strict=True)])
        row = torch.tensor(self.camera.row, dtype=torch.float32)
        return Crops(
            video=rgb.permute(0, 1, 4, 2, 3).float() / 127.5 - 1,
            world_from_cam=torch.from_numpy(relative).float(),
            intrinsics=row.expand(len(poses), frames, 4).contiguous(),
            keys=tuple(f"{clip}/{begin}" for clip, begin in zip(which, first, strict=True)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crops:
    """A batch as the loop takes it; see `wmkit.train.condition.ClipBatch`."""

    video: Tensor
    world_from_cam: Tensor
    intrinsics: Tensor
    keys: tuple[str, ...]
    captions: tuple[str, ...] = ()
    latent: None = None
    text: None = None


def rendered(numbers: Sequence[int], side_px: int, device: str) -> Clips:
    """The clips of these numbers, by as many processes as there are cores."""
    jobs = [(number, side_px) for number in numbers]
    if device == "cpu":
        frames = [_frames(job) for job in jobs]
    else:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
            frames = list(pool.map(_frames, jobs, chunksize=4))
    poses = [Drift(seed=number).sample(CLIP_FRAMES, FPS).world_from_cam for number in numbers]
    return Clips(rgb=torch.from_numpy(np.stack(frames)).to(device), world_from_cam=np.stack(poses))


def _frames(job: tuple[int, int]) -> NDArray[np.uint8]:
    number, side_px = job
    path = Drift(seed=number).sample(CLIP_FRAMES, FPS)
    frames = render(BlockRoom().build(), _camera(side_px), path.world_from_cam, "numpy")
    return np.stack([frame.rgb for frame in frames])


def _camera(side_px: int) -> Intrinsics:
    return Intrinsics.from_fov(FOV_DEG, side_px, side_px)


def learn_rows(setup: LearnSetup, out: Path) -> Iterator[dict[str, Any]]:
    """Train and sample into the folder `out`; rows for `gpu_figures.py`. A folder with a run in it goes on."""
    config, begun_s = setup.config, time.monotonic()
    clips = rendered(range(setup.clips), config.data.height, setup.device)
    held = rendered(range(HELD, HELD + setup.held_out), config.data.height, setup.device)
    render_s = time.monotonic() - begun_s
    on_gpu = setup.device != "cpu"
    if on_gpu:
        torch.set_float32_matmul_precision("high")
    yield {
        "figure": "learn train",
        "recipe": config.recipe,
        "size": [config.data.frames, config.data.height, config.data.width],
        "clips": setup.clips,
        **({"render_s": round(render_s, 1)} if on_gpu else {}),
        **_trained(setup, config, clips, out / "run"),
    }
    model, config = load_model(out / "run")
    yield {"figure": "learn samples", "folder": str(out), "psnr_db": _sampled(setup, config, model, held, out)}


def _trained(setup: LearnSetup, config: TrainConfig, clips: Clips, run: Path) -> dict[str, Any]:
    """Both legs; what a step took and how the loss fell."""
    device = torch.device(setup.device)
    facts = DataFacts(digest="block_room", metric=setup.clips, up_to_scale=0)
    go = lambda steps: train(
        dataclasses.replace(config, steps=steps), _batches(config, clips), facts, run, team=Team(device=device)
    )
    go(min(setup.first_steps, config.steps))
    rows = read_metrics(run / "metrics.jsonl")
    # Half of the first leg warms kernels up. Other work of a step, checkpoints and batches, is a tenth at most.
    step_s = statistics.median(row.seconds + (row.wait_s or 0.0) for row in rows[len(rows) // 2 :])
    room = config.steps if setup.train_s is None else int(0.9 * setup.train_s / step_s)
    result = go(min(config.steps, max(room, len(rows))))
    rows = read_metrics(run / "metrics.jsonl")
    found: dict[str, Any] = {"steps": result.steps, "parameters": result.parameters}
    found |= {"first_loss": rows[0].loss, "last_loss": statistics.mean(row.loss for row in rows[-len(rows) // 10 :])}
    if device.type == "cpu":
        return {**found, "ran": True}
    work = step_work(config, device)
    seconds = statistics.median(row.seconds for row in rows[len(rows) // 2 :])
    found |= {
        "step_ms": round(1e3 * seconds, 2),
        "tokens_s": round(work.tokens / seconds),
        "peak_gib": rows[-1].peak_gib,
    }
    found["wait_percent"] = round(100 * statistics.mean((row.wait_s or 0) / (row.seconds or 1) for row in rows), 1)
    if work.flop is not None and work.peak_flop_s is not None:
        found["percent_of_tf32_peak"] = round(100 * work.flop / seconds / work.peak_flop_s, 1)
    return found


def _batches(config: TrainConfig, clips: Clips) -> Callable[[int], Crops]:
    data = config.data

    def batch(step: int) -> Crops:
        rng = rng_for(config.seed, f"step {step}", "gpu_learn crops")
        which = rng.integers(0, len(clips.rgb), data.batch_size).tolist()
        first = rng.integers(0, CLIP_FRAMES - data.frames + 1, data.batch_size).tolist()
        return clips.crops(which, first, data.frames)

    return batch


def _sampled(setup: LearnSetup, config: TrainConfig, model: Any, held: Clips, out: Path) -> dict[str, float]:
    """Sample every held-out clip with its own and with the next one's cameras; files for `judge`; mean PSNR over the
    frames after the first, with that of the first frame repeated.
    """
    frames, count = config.data.frames, len(held.rgb)
    crops = held.crops(range(count), [0] * count, frames)
    device = torch.device(setup.device)
    own = CameraBatch(
        world_from_cam=crops.world_from_cam,
        intrinsics=crops.intrinsics,
        width=config.data.width,
        height=config.data.height,
    )
    other = dataclasses.replace(own, world_from_cam=own.world_from_cam.roll(1, dims=0))
    video, codec = crops.video.to(device), config.codec
    sampler = SamplerConfig(steps=setup.sample_steps, shift=config.objective.shift, seed=config.seed)
    made = {"rendered": video}
    with torch.no_grad():
        first = codec.normalise(codec.encode(video))[:, :1]
        for way, cameras in (("true", own), ("shuffled", other)):
            latent = sample_latents(model.to(device), first, cameras.to(device), sampler)
            made[way] = codec.decode(codec.normalise(latent, inverse=True)).clamp(-1, 1)
    shown = {way: ((each + 1) * 127.5).round().to(torch.uint8).permute(0, 1, 3, 4, 2) for way, each in made.items()}
    write_samples(out, held, shown)
    found = {way: _psnr_db(made[way], video) for way in ("true", "shuffled")}
    return found | {"repeat": _psnr_db(video[:, :1].expand_as(video), video)}


def _psnr_db(made: Tensor, true: Tensor) -> float:
    error = (made - true)[:, 1:].square().mean(dim=(1, 2, 3, 4))
    return round((10 * torch.log10(4 / error)).mean().item(), 2)


def write_samples(out: Path, held: Clips, made: Mapping[str, Tensor]) -> None:
    """OUT/<way>/held_0.npy of videos (n, T, H, W, 3) uint8, and OUT/requested as `wmkit eval --benchmark` takes it: the
    cameras of the clips' first T frames.
    """
    asked, rows = out / "requested", []
    for folder in (asked, *(out / way for way in made)):
        folder.mkdir(parents=True, exist_ok=True)
    frames = made["true"].shape[1]
    for number, path in enumerate(held.world_from_cam):
        name = f"held_{number}"
        K = np.tile(held.camera.matrix, (frames, 1, 1))
        np.savez(asked / f"{name}.npz", c2w=path[:frames], intrinsics=K, fps=FPS)
        rows.append({"id": name, "image_path": f"../rendered/{name}.npy", "camera_path": f"{name}.npz", "prompt": ""})
        for way, videos in made.items():
            np.save(out / way / f"{name}.npy", videos[number].cpu().numpy(), allow_pickle=False)
    (asked / "run_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def judge(out: Path) -> int:
    """Videos of the arrays, their cameras found again, a line a figure, a verdict; needs PyAV and the pose engine."""
    from wmkit.evaluate.benchmark import eval_benchmark
    from wmkit.video.encode import write_mp4

    reports = {}
    for way in WAYS:
        for path in sorted((out / way).glob("held_*.npy")):
            rgb = np.load(path, allow_pickle=False)
            write_mp4(path.with_suffix(".mp4"), rgb, FPS, (rgb.shape[2], rgb.shape[1]))
        reports[way] = eval_benchmark(out / way, out / "requested", note=lambda line: print(line, file=sys.stderr))
    found = {way: {scene: each.metrics for scene, each in report.reports.items()} for way, report in reports.items()}
    judged = {way: {s for s, metrics in each.items() if set(JUDGED) <= metrics.keys()} for way, each in found.items()}
    both, scenes = judged["true"] & judged["shuffled"], len(found["true"])
    print(f"{len(both)} of {scenes} scenes have cameras in both; the others count in neither mean")
    kept, ratios = {"true": both, "shuffled": both, "rendered": judged["rendered"]}, {}
    for name in JUDGED:
        values = {way: [found[way][scene][name].value for scene in sorted(kept[way])] for way in WAYS}
        means = {way: statistics.mean(of) if of else math.nan for way, of in values.items()}
        ratios[name] = means["true"] / means["shuffled"]
        print(f"{name:24}" + "".join(f"{way:>10} {means[way]:8.3f}" for way in WAYS) + f"   ratio {ratios[name]:.2f}")
    problems = {way: {s: r.problem for s, r in report.reports.items() if r.problem} for way, report in reports.items()}
    # A model whose cameras cannot be found in half of its samples is not shown to follow them.
    good = 2 * len(both) >= scenes and all(ratio <= MOST for ratio in ratios.values())
    print(json.dumps({"figure": "learn judged", "scenes": scenes, "both": len(both), "ratios": ratios, "passes": good}))
    print(json.dumps({"means": {way: report.means() for way, report in reports.items()}, "problems": problems}))
    return 0 if good else 1


def main() -> int:
    """The half that needs no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("judge",))
    parser.add_argument("folder", type=Path)
    return judge(parser.parse_args().folder)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WmkitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
