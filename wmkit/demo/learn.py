"""Proof of learning: does a model that never saw these clips use the cameras it is given?

One room is rendered at 320 x 320 px along random paths, four pictures a second, and enters as any footage does:
annotate with its poses, build-shards at 32 px, train on crops of 16 px. The room is painted so coarsely that 16 px show
its places; the camera looks about one half of it, so that little has to be learnt of the place itself, and so quickly
that five frames leave the first one behind. On held-out paths through the same
room the loss with the true cameras is then held against that with another clip's and with a camera that stands still,
and sampled frames against the first frame repeated.
"""

import dataclasses
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wmkit.annotate.defaults import default_config
from wmkit.annotate.pose.given import given_config
from wmkit.annotate.progress import Progress, SilentProgress
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.annotate.scale import GivenPosesConfig
from wmkit.atomic import json_bytes, write_atomic
from wmkit.camera import Intrinsics
from wmkit.camera_paths import SampledPath, rotation_from_angles
from wmkit.clip import rng_for
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.schema import SHARDS_NAME
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.executor import ExecutorOptions
from wmkit.model.config import ModelConfig
from wmkit.model.dit import CameraDiT
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import SamplerConfig, sample_latents
from wmkit.train.checkpoint import load_model, read_state
from wmkit.train.condition import cameras_of
from wmkit.train.config import DataConfig, ObjectiveConfig, OptimizerConfig, TrainConfig
from wmkit.train.draws import normal
from wmkit.train.objective import Noised, flow_loss
from wmkit.train.progress import TrainProgress
from wmkit.train.run import TrainOptions, train_on
from wmkit.train.threads import cpu_threads
from wmkit.video import VideoConfig
from wmkit.worlds import WorldClip, write_world
from wmkit.worlds.clips import PaintedRoom

__all__ = ["Grade", "LearnOptions", "Wander", "grade", "learn_config", "run_learn"]

SIDE_PX, KEPT_PX, FOV_DEG, FPS, FRAMES = 320, 32, 80.0, 4.0, 33
REACH_M = np.array([0.55, 0.15, 0.5])  # to either side; the room is 4 x 2.6 x 4.5 m
SPEED_M_S, SWING_DEG = 1.0, 35.0  # at most; to either side
LEVELS = (0.8, 1.0)  # of noise that the validation loss is a mean of: where cameras matter and the answer is not given
MOST = 0.6  # of the loss without true cameras that the loss with them may be
GAIN_DB = 2.0  # over the first frame repeated
SHEET_ROWS, SHEET_TIMES = 8, 5  # clips; px a px
HELD = 1000  # first number of the clips that are judged by


@dataclass(frozen=True, slots=True, kw_only=True)
class Wander:
    """A camera that drifts about the middle of a room and looks to and fro, smoothly: a pure function of `seed`."""

    seed: int

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `wmkit.camera_paths.CameraPath.sample`."""
        rng = rng_for(self.seed, "learn", "wander")
        time_s = np.arange(frames) / fps
        rate = rng.uniform(0.4, 1.0, 3) * SPEED_M_S / (REACH_M * math.sqrt(3))
        position = REACH_M * np.sin(rate * time_s[:, None] + rng.uniform(0, 2 * np.pi, 3))
        heading_deg = SWING_DEG * np.sin(rng.uniform(1.2, 2.0) * time_s + rng.uniform(0, 2 * np.pi))
        pitch_deg = 14 * np.sin(rng.uniform(0.3, 0.9) * time_s + rng.uniform(0, 2 * np.pi))
        poses = np.tile(np.eye(4), (frames, 1, 1))
        poses[:, :3, :3] = rotation_from_angles(heading_deg, pitch_deg, np.zeros(frames))
        poses[:, :3, 3] = position
        return SampledPath(world_from_cam=poses, time_s=time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnOptions:
    """Clips to train on and to judge by, settings over `learn_config`, the run's folder name, and the crops and Euler
    steps of judging.
    """

    run: str = "run"
    clips: int = 24
    held_out: int = 8
    settings: tuple[str, ...] = ()
    judged: int = 32
    sample_steps: int = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grade:
    """What the cameras are worth to a model.

    loss     velocity MSE on held-out clips at noise levels 0.8 and 1, by the cameras it is given: true, shuffled (those
             of another clip), static (the first frame's in every frame).
    psnr_db  of sampled frames after the first, by the same cameras; and of the first frame repeated (`repeat`).
    curve    the losses at earlier checkpoints of the run, by their steps.
    """

    steps: int
    loss: dict[str, float]
    psnr_db: dict[str, float]
    curve: dict[int, dict[str, float]] = field(default_factory=dict)

    @property
    def misses(self) -> list[str]:
        """What was wanted and is not so; none when the cameras are used."""
        found = [
            f"loss with true cameras {self.loss['true']:.3f}, wanted below {MOST} x {name} {self.loss[name]:.3f}"
            for name in ("shuffled", "static")
            if not self.loss["true"] < MOST * self.loss[name]
        ]
        gain_db = self.psnr_db["true"] - self.psnr_db["repeat"]
        return found if gain_db > GAIN_DB else [*found, f"PSNR gain {gain_db:.2f} dB, wanted above {GAIN_DB:g}"]

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "misses": self.misses}

    def lines(self) -> list[str]:
        """The table, and what was missed."""
        cameras = ("true", "shuffled", "static", "repeat")
        before = [
            f"loss after{steps:5d} steps" + "".join(f"{loss[name]:10.3f}" for name in cameras[:3])
            for steps, loss in sorted(self.curve.items())
        ]
        return [
            *before,
            f"{self.steps:5d} steps" + "".join(f"{name:>10}" for name in cameras),
            "loss       " + "".join(f"{self.loss[name]:10.3f}" for name in cameras[:3]) + f"{'-':>10}",
            "PSNR (dB)  " + "".join(f"{self.psnr_db[name]:10.2f}" for name in cameras),
            *self.misses,
        ]


def learn_config() -> TrainConfig:
    """A model of 0.9 million parameters on five frames of 16 x 16 px.

    What made cameras be used sooner (LOG, 2026-11-23): noise levels near 1, where the picture must come from the first
    frame and the cameras; there the clean latent is as good a thing to predict as the velocity, and no token is spent
    on handing noise on. And more steps of fewer clips at twice the rate.
    """
    return TrainConfig(
        recipe="learn",
        model=ModelConfig(latent_channels=48, latent_stride=1, latent_downscale=4, width=96, softmax_every=2),
        data=DataConfig(frames=5, height=16, width=16, batch_size=8, metric=True),
        objective=ObjectiveConfig(shift=12.0),
        optimizer=OptimizerConfig(lr=4e-3, warmup_steps=10, ema_decay=0.99),
        steps=500,
        save_every=100,
        keep=100,
    )


def run_learn(
    out: Path,
    options: LearnOptions | None = None,
    progress: Progress | None = None,
    training: TrainProgress | None = None,
) -> Grade:
    """Render, annotate, build, train and judge in the folder `out`; the verdict is put into `out/<run>/learn.json` too,
    some of the sampled clips into learn.png.

    A folder that holds shards or a run of an earlier call with the same options goes on from there. Raises InputError
    or ConfigError when it holds others.
    """
    options, progress = options or LearnOptions(), progress or SilentProgress()
    shards = {
        split: _shards(out, split, numbers, progress)
        for split, numbers in (("train", range(options.clips)), ("held", range(HELD, HELD + options.held_out)))
    }
    config = learn_config().with_settings(options.settings)
    run = out / options.run
    train_on(config, TrainOptions(data=shards["train"], out=run), training)
    crops = _Held(config, shards["held"], options)
    kept = [
        run / "checkpoints" / f"step-{step:06d}" for step in range(config.save_every, config.steps, config.save_every)
    ]
    curve = {read_state(folder).step: crops.loss(load_model(folder)[0]) for folder in kept if folder.is_dir()}
    model, _ = load_model(run)
    made = crops.made(model)
    verdict = Grade(steps=config.steps, loss=crops.loss(model), psnr_db=crops.psnr_db(made), curve=curve)
    write_atomic(run / "learn.png", crops.sheet(made))
    write_atomic(run / "learn.json", json_bytes(verdict.to_json()))
    return verdict


def grade(model: CameraDiT, config: TrainConfig, held: Path, options: LearnOptions) -> Grade:
    """Judge a model on one batch of held-out crops; InputError or CorruptShardError when they cannot be read."""
    crops = _Held(config, held, options)
    return Grade(steps=config.steps, loss=crops.loss(model), psnr_db=crops.psnr_db(crops.made(model)))


class _Held:
    """One batch of held-out crops, and the cameras they are looked at with."""

    def __init__(self, config: TrainConfig, held: Path, options: LearnOptions) -> None:
        data, codec = config.data, config.codec
        loader = LoaderConfig(
            frames=data.frames, height=data.height, width=data.width, batch_size=options.judged, seed=config.seed
        )
        batch = StreamingShards(held, loader).replay(0)
        true = cameras_of(batch)
        self.cameras = {
            "true": true,
            "shuffled": dataclasses.replace(true, world_from_cam=true.world_from_cam.roll(1, dims=0)),
            "static": dataclasses.replace(true, world_from_cam=torch.eye(4).expand_as(true.world_from_cam)),
        }
        self.config, self.video, self.x0 = config, batch.video, codec.normalise(codec.encode(batch.video))
        self.sampler = SamplerConfig(steps=options.sample_steps, shift=config.objective.shift)

    def loss(self, model: CameraDiT) -> dict[str, float]:
        """See `Grade`."""
        with cpu_threads(self.config.threads), torch.no_grad():
            return {name: _loss(model, self.x0, seen, self.config.seed) for name, seen in self.cameras.items()}

    def made(self, model: CameraDiT) -> dict[str, Tensor]:
        """(B, T, 3, H, W) sampled by each of the cameras, and the first frame repeated."""
        codec, first = self.config.codec, self.x0[:, :1]
        found = {"repeat": self.video[:, :1].expand_as(self.video)}
        with cpu_threads(self.config.threads), torch.no_grad():
            for name, seen in self.cameras.items():
                latent = sample_latents(model, first, seen, self.sampler)
                found[name] = codec.decode(codec.normalise(latent, inverse=True))
        return found

    def psnr_db(self, made: dict[str, Tensor]) -> dict[str, float]:
        """See `Grade`."""
        return {name: _psnr_db(video, self.video) for name, video in made.items()}

    def sheet(self, made: dict[str, Tensor]) -> bytes:
        """PNG of the first clips, one a row: as they are, made by their cameras, by another clip's, by a still one."""
        import cv2

        columns = []
        for video in (self.video, made["true"], made["shuffled"], made["static"]):
            tall = video[:SHEET_ROWS].clamp(-1, 1).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
            large = ((tall + 1) * 127.5).round().byte().numpy().repeat(SHEET_TIMES, 0).repeat(SHEET_TIMES, 1)
            columns += [large, np.full((len(large), SHEET_TIMES, 3), 255, dtype=np.uint8)]
        return cv2.imencode(".png", cv2.cvtColor(np.concatenate(columns[:-1], axis=1), cv2.COLOR_RGB2BGR))[1].tobytes()


def _loss(model: CameraDiT, x0: Tensor, cameras: CameraBatch, seed: int) -> float:
    noise = normal(seed, 0, "grade", range(len(x0)), tuple(x0.shape[1:]))
    losses = []
    for level in LEVELS:
        sigma = torch.full(x0.shape[:2], level)
        sigma[:, 0] = 0
        here = sigma[:, :, None, None, None]
        target = Noised(latent=(1 - here) * x0 + here * noise, sigma=sigma, velocity=noise - x0)
        losses.append(flow_loss(model(target.latent, sigma, cameras), target).item())
    return sum(losses) / len(losses)


def _psnr_db(made: Tensor, true: Tensor) -> float:
    """Mean over clips of the PSNR over their frames after the first; values within [-1, 1]."""
    error = (made.clamp(-1, 1) - true)[:, 1:].square().mean(dim=(1, 2, 3, 4))
    return (10 * torch.log10(4 / error)).mean().item()


def _shards(out: Path, split: str, numbers: range, progress: Progress) -> Path:
    """Shards of the clips of these numbers: rendered, annotated with their poses beside them."""
    clips, shards = out / f"clips-{split}", out / f"shards-{split}"
    if (shards / SHARDS_NAME).exists():
        return shards
    for number in numbers:
        written = write_world(_clip(number), clips, out / "truth")
        shutil.copyfile(written.poses, clips / written.poses.name)
    config = default_config(
        video=VideoConfig(fps=None), depth=None, pose=given_config("auto"), scale=(GivenPosesConfig(),)
    )
    run = RunOptions(executor=ExecutorOptions(kind="local", workers=1))
    run_annotate([clips], out / f"corpus-{split}", config, run, progress)
    options = BuildOptions(split=split, scale="metric", size=(KEPT_PX, KEPT_PX), workers=1)
    build_shards(out / f"corpus-{split}", shards, options)
    return shards


def _clip(number: int) -> WorldClip:
    return WorldClip(
        name=f"wander_{number:04d}",
        scene=PaintedRoom(),
        path=Wander(seed=number),
        position=(0.0, -1.6, 0.8),
        intrinsics=Intrinsics.from_fov(FOV_DEG, SIDE_PX, SIDE_PX),
        frames=FRAMES,
        fps=FPS,
    )
