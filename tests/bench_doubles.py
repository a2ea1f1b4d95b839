"""Tiny sequences with references, and engines that answer at once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import CameraPrior, Intrinsics, ScaleKind, Trajectory
from wmkit.clip import NoTrajectory, Points, PoseQuality
from wmkit.errors import ClipError
from wmkit.video import FrameSource, VideoConfig
from wmkit.worlds.families import WorldCase, film

FRAMES, WIDTH, HEIGHT = 12, 48, 32
FOCAL_PX = 40.0


def arc(count: int = FRAMES) -> NDArray[np.float64]:
    """world_from_cam (N, 4, 4): a walk along a rising arc, turning right by 2 degrees a frame."""
    step = np.arange(count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    angle = np.radians(2.0 * step)
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    poses[:, :3, 3] = np.stack([0.05 * step**2, -0.1 * step, 0.5 * step], axis=1)
    return poses


def write_images(folder: Path, count: int = FRAMES) -> list[str]:
    """`count` PNGs whose brightness is 10 times their number; their names."""
    folder.mkdir(parents=True)
    names = [f"{index:04d}.png" for index in range(count)]
    for index, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8))
    return names


def write_poses(folder: Path, poses: NDArray[np.float64], metric: bool = True, prefix: str = "images/") -> Path:
    """poses.json of cameras whose images are called 0000.png, ...; K of a 48x32 picture with focal 40 px."""
    frames = [
        {
            "file": f"{prefix}{index:04d}.png",
            "t": index / 16,
            "K": [FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2],
            "T_c2w": pose.tolist(),
        }
        for index, pose in enumerate(poses)
    ]
    path = folder / "poses.json"
    path.write_text(json.dumps({"units": "m" if metric else "arbitrary", "metric": metric, "frames": frames}))
    return path


def sequence(root: Path, name: str = "arc", metric: bool = True) -> Path:
    """A folder with twelve images and their poses."""
    write_images(root / name / "images")
    write_poses(root / name, arc(), metric)
    return root / name


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightnessPoseConfig:
    """An engine that reads each frame's number from its brightness and looks the camera up in `arc`.

    unit       length of one unit of its trajectory, metres.
    focal      share of the true focal length it claims.
    unposed    frame numbers it has no camera for.
    drift_m    error along x that grows by this much a frame.
    outcome    "poses", "no_trajectory" or "clip_error".
    """

    unit: float = 4.0
    focal: float = 1.1
    unposed: tuple[int, ...] = ()
    drift_m: float = 0.0
    outcome: str = "poses"
    name: ClassVar[str] = "brightness"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> "BrightnessPose":
        """The engine."""
        return BrightnessPose(self)


class BrightnessPose:
    """PoseEstimator of `BrightnessPoseConfig`."""

    def __init__(self, config: BrightnessPoseConfig) -> None:
        self.config = config

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        """As the config says."""
        if self.config.outcome == "clip_error":
            raise ClipError("pose", "boom", "made to fail")
        if self.config.outcome == "no_trajectory":
            return NoTrajectory(reason="static", detail="made to see nothing")
        numbers = [round(rgb.mean() / 10) for window in frames.windows() for rgb in window.rgb]
        poses = arc()[numbers]
        poses[:, 0, 3] += self.config.drift_m * np.array(numbers)
        poses[:, :3, 3] /= self.config.unit
        posed = ~np.isin(numbers, self.config.unposed)
        poses[~posed] = np.nan
        view = frames.view
        focal_px = FOCAL_PX * self.config.focal * view.width / WIDTH
        camera = Intrinsics(
            fx=focal_px, fy=focal_px, cx=view.width / 2, cy=view.height / 2, width=view.width, height=view.height
        )
        trajectory = Trajectory(world_from_cam=poses, time_s=view.time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE)
        nothing = Points(
            xyz=np.zeros((0, 3)),
            rgb=np.zeros((0, 3), np.uint8),
            error_px=np.zeros(0, np.float32),
            track_length=np.zeros(0, np.int32),
        )
        return PoseEstimate(trajectory=trajectory, intrinsics=(camera,) * len(view), points=nothing)


def config_of(pose: BrightnessPoseConfig | None = None, max_side: int = 960) -> AnnotateConfig:
    """The engine alone, at the native rate."""
    return AnnotateConfig(
        video=VideoConfig(fps=None, max_side=max_side),
        pose=pose or BrightnessPoseConfig(),
        depth=None,
        scale=(),
        footage_filters=(),
        trajectory_filters=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OraclePoseConfig:
    """An engine that films a tiny case of `family` again by its seed and answers with the truth, off in odd seeds.

    It finds no trajectory in seeds that divide by five, and fails in seed 11.
    """

    family: str
    name: ClassVar[str] = "oracle"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> "OraclePose":
        """The engine."""
        return OraclePose(self)


@dataclass(frozen=True, slots=True)
class OraclePose:
    """PoseEstimator of `OraclePoseConfig`."""

    config: OraclePoseConfig

    def estimate(self, frames: FrameSource, seed: int) -> PoseEstimate | NoTrajectory:
        """The truth, with evidence that says whether it is bent."""
        if seed == 11:
            raise ClipError("pose", "boom", "made to fail")
        if seed % 5 == 0:
            return NoTrajectory(reason="static", detail="made to see nothing")
        shot = film(WorldCase(family=self.config.family, seed=seed, size="tiny"), "numpy")
        poses = shot.trajectory.world_from_cam.copy()
        poses[:, :3, 3] /= 3
        if seed % 2:
            poses[:, 1, 3] += 0.3 * np.sin(np.arange(len(poses)))
        count = len(poses)
        nothing = Points(
            xyz=np.zeros((0, 3)),
            rgb=np.zeros((0, 3), np.uint8),
            error_px=np.zeros(0, np.float32),
            track_length=np.zeros(0, np.int32),
        )
        rows = np.full(count, 0.5)
        quality = PoseQuality(
            reprojection_px=rows,
            inlier_ratio=rows,
            parallax_deg=rows,
            rotation_disagreement_deg=np.full(count, np.nan),
            position_disagreement=rows,
            features=(("reprojection_px", 2.0 if seed % 2 else 0.2), ("disagreement_focal", float("nan"))),
        )
        trajectory = Trajectory(
            world_from_cam=poses,
            time_s=frames.view.time_s,
            posed=np.ones(count, dtype=bool),
            scale=ScaleKind.UP_TO_SCALE,
        )
        return PoseEstimate(trajectory=trajectory, intrinsics=shot.intrinsics, points=nothing, quality=quality)
