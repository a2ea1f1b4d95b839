"""A rendered world seen through a lens that pycolmap bends, and a pose backend that knows the truth about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray

from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import Intrinsics, Lens, ScaleKind, Trajectory
from wmkit.clip import Points
from wmkit.video import FrameSource
from wmkit.worlds.clips import SMALL_CLIPS
from wmkit.worlds.render import render

__all__ = [
    "FRAMES",
    "LENSES",
    "SIZE",
    "TruePoseConfig",
    "bent_pictures",
    "pinhole_pictures",
    "true_depth",
    "true_poses",
    "write_png",
]

SIZE = (160, 96)
FRAMES = 6
OVER = 4  # supersampling of the renderings, so that their own pixels cost the comparison little
LENSES = {
    "barrel": Lens(model="OPENCV", params=(88.0, 89.0, 81.0, 47.5, -0.2, 0.04, 0.001, -0.002), width=160, height=96),
    "fisheye": Lens(model="OPENCV_FISHEYE", params=(80, 80, 79.0, 48.5, 0.03, -0.01, 0.0, 0.0), width=160, height=96),
}


def true_poses() -> NDArray[np.float64]:
    """(FRAMES, 4, 4) world_from_cam in metres, the first frames of a small orbit."""
    return SMALL_CLIPS[0].sampled.world_from_cam[:FRAMES]


def pinhole_pictures(camera: Intrinsics) -> list[NDArray[np.uint8]]:
    """The world as a pinhole takes it: (h, w, 3) RGB, each pixel the mean of OVER x OVER."""
    size = (camera.width, camera.height)
    large = camera.resized(camera.width * OVER, camera.height * OVER)
    frames = render(SMALL_CLIPS[0].scene.build(), large, true_poses(), "numpy")
    return [cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA) for frame in frames]  # type: ignore[misc]


def true_depth(camera: Intrinsics) -> NDArray[np.float32]:
    """(FRAMES, h, w) z in metres at the centres of a pinhole's pixels."""
    return np.stack([frame.z for frame in render(SMALL_CLIPS[0].scene.build(), camera, true_poses(), "numpy")])


def bent_pictures(lens: Lens) -> list[NDArray[np.uint8]]:
    """The world as the lens takes it: rays by pycolmap through a wide, fine rendering, then the mean of OVER x OVER."""
    peer = pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=list(lens.params))
    y, x = (np.mgrid[0 : lens.height * OVER, 0 : lens.width * OVER] + 0.5) / OVER
    ray = np.array(peer.cam_from_img(np.column_stack([x.ravel(), y.ravel()])))
    reach = 1.02 * np.abs(ray).max(axis=0)
    width, height = (int(2 * side) for side in np.ceil(reach * lens.params[0] * OVER))
    wide = Intrinsics(
        fx=width / 2 / reach[0], fy=height / 2 / reach[1], cx=width / 2, cy=height / 2, width=width, height=height
    )
    at = (ray * wide.row[:2] + wide.row[2:] - 0.5).reshape(*x.shape, 2).astype(np.float32)
    pictures = []
    for frame in render(SMALL_CLIPS[0].scene.build(), wide, true_poses(), "numpy"):
        bent = cv2.remap(frame.rgb, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        pictures.append(cv2.resize(bent, (lens.width, lens.height), interpolation=cv2.INTER_AREA))
    return pictures


def write_png(pictures: list[NDArray[np.uint8]], folder: Path) -> Path:
    """An image folder of RGB pictures, exactly."""
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index:03d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePoseConfig:
    """Returns the true cameras and this lens, whatever the frames show."""

    lens: Lens
    name: ClassVar[str] = "truth"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> "TruePoseConfig":
        return self

    def estimate(self, frames: FrameSource, seed: int) -> PoseEstimate:
        poses = np.linalg.inv(true_poses()[0]) @ true_poses()
        poses[:, 3] = [0, 0, 0, 1]
        u, _, vt = np.linalg.svd(poses[:, :3, :3])
        poses[:, :3, :3] = u @ vt
        xyz = np.stack(np.meshgrid([-0.4, 0.0, 0.4], [-0.2, 0.0, 0.2], [1.5, 2.5]), axis=-1).reshape(-1, 3)
        return PoseEstimate(
            trajectory=Trajectory(
                world_from_cam=poses,
                time_s=frames.view.time_s,
                posed=np.ones(len(poses), dtype=bool),
                scale=ScaleKind.UP_TO_SCALE,
            ),
            intrinsics=(self.lens.default_pinhole(),) * len(poses),
            points=Points(
                xyz=xyz,
                rgb=np.zeros(xyz.shape, dtype=np.uint8),
                error_px=np.zeros(len(xyz), dtype=np.float32),
                track_length=np.full(len(xyz), len(poses), dtype=np.int32),
            ),
            lens=self.lens,
        )
