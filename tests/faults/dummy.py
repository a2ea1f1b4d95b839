"""A pose backend that costs nothing and, for clips of certain names, ends badly; and clips it can work on."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import CameraPrior, Intrinsics, ScaleKind, Trajectory
from wmkit.clip import NoTrajectory, Points, rng_for
from wmkit.errors import ClipError
from wmkit.video import FrameSource, VideoConfig

FRAMES = 4
QUICK = "WMKIT_FAULTS_QUICK"  # with it, slow clips are not
HEALED = "WMKIT_FAULTS_HEALED"  # with it in the environment, clips named flaky... are well


@dataclass(frozen=True, slots=True, kw_only=True)
class DummyPoseConfig:
    """`step` is how far the camera goes a frame; `slow_s` how long a clip named slow... takes."""

    name: ClassVar[str] = "dummy"
    licence: ClassVar[str] = "Apache-2.0"

    step: float = 1.0
    slow_s: float = 0.0

    def build(self, device: str) -> "DummyPose":
        return DummyPose(self)


class DummyPose:
    def __init__(self, config: DummyPoseConfig) -> None:
        self.config = config

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        word = frames.clip.source.rpartition("/")[2].partition("_")[0]
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "hang":
            time.sleep(600)
        elif word == "slow":
            time.sleep(self.config.slow_s * (QUICK not in os.environ))
        elif word == "bug":
            raise ZeroDivisionError("a mistake")
        elif word == "bad":
            raise ClipError("pose", "diverged", "expected a finite cost, got inf")
        elif word == "flaky" and HEALED not in os.environ:
            raise ClipError("pose", "diverged", "expected a finite cost, got nan")
        elif word == "static":
            return NoTrajectory(reason="static", detail="the camera does not move")
        return self._estimate(frames, seed)

    def _estimate(self, frames: FrameSource, seed: int) -> PoseEstimate:
        count, rng = len(frames.view), rng_for(seed, frames.clip.id, "dummy")
        mean = np.concatenate([window.rgb.mean(axis=(1, 2, 3)) for window in frames.windows()])
        poses = np.tile(np.eye(4), (count, 1, 1))
        poses[:, 0, 3] = np.arange(count) * self.config.step
        poses[:, 1, 3] = mean
        camera = Intrinsics.from_fov(60, frames.view.width, frames.view.height)
        trajectory = Trajectory(
            world_from_cam=poses,
            time_s=frames.view.time_s,
            posed=np.ones(count, dtype=bool),
            scale=ScaleKind.UP_TO_SCALE,
        )
        points = Points(
            xyz=rng.normal(size=(5, 3)),
            rgb=np.zeros((5, 3), dtype=np.uint8),
            error_px=np.ones(5, dtype=np.float32),
            track_length=np.full(5, 2, dtype=np.int32),
        )
        return PoseEstimate(trajectory=trajectory, intrinsics=(camera,) * count, points=points)


def dummy_config(step: float = 1.0, slow_s: float = 0.0) -> AnnotateConfig:
    """The real pipeline around the dummy backend."""
    return AnnotateConfig(
        video=VideoConfig(),
        pose=DummyPoseConfig(step=step, slow_s=slow_s),
        depth=None,
        scale=(),
        footage_filters=(),
        trajectory_filters=(),
    )


def footage_config() -> AnnotateConfig:
    """The real pipeline over real footage, as cheap as it gets: decoded small, one frame a second, no cameras."""
    return default_config(video=VideoConfig(max_side=96, fps=1.0), depth=None, stop_after="footage")


def write_clips(folder: Path, names: list[str]) -> Path:
    """One image folder a name; equal text after "=" in two names makes equal pictures (and it is cut off)."""
    for name in names:
        name, _, look = name.partition("=")
        rng = rng_for(0, look or name, "pixels")
        (folder / name).mkdir(parents=True)
        for index in range(FRAMES):
            cv2.imwrite(str(folder / name / f"{index:03d}.png"), rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return folder
