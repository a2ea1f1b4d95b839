"""Files of bare poses read in another convention than their format's: direction and camera axes as the user says."""

import dataclasses
from pathlib import Path

import numpy as np

from wmkit.camera import invert_rigid
from wmkit.errors import InputError
from wmkit.formats.nerfstudio import OPENCV_FROM_OPENGL
from wmkit.formats.track import CameraTrack

__all__ = ["CONVENTIONS", "in_convention", "is_bare"]

CONVENTIONS = ("as-format", "opencv-c2w", "opencv-w2c", "opengl-c2w", "opengl-w2c")


def is_bare(path: Path) -> bool:
    """Whether a file holds poses alone, so that only its writer knows their convention: .npy, .npz, TUM and KITTI."""
    if path.suffix.lower() == ".txt":
        with path.open(encoding="utf-8") as file:
            lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
        return len(lines[-1]) in (8, 12)
    return path.suffix.lower() in (".npy", ".npz")


def in_convention(track: CameraTrack, path: Path, convention: str) -> CameraTrack:
    """`track`, which `read_trajectory` read from `path`, had its poses been written in `convention`.

    as-format is what the format says: camera to world and OpenCV axes where it holds poses alone. The others are
    direction (c2w camera to world, w2c world to camera) and axes of the camera (opencv: x right, y down, z forward;
    opengl: x right, y up, z back). Raises InputError for an unknown one, and where the format fixes its own.
    """
    if convention not in CONVENTIONS:
        raise InputError(f"--convention: expected one of {', '.join(CONVENTIONS)}, got {convention!r}")
    if convention == "as-format":
        return track
    if not is_bare(path):
        raise InputError(
            f"--convention {convention}: expected a file of poses alone (.npy, .npz, TUM, KITTI), but the format of "
            f"{path} fixes its convention; leave the flag out"
        )
    axes, direction = convention.split("-")
    poses = np.array(track.world_from_cam)
    if direction == "w2c":
        poses = invert_rigid(poses)
    if axes == "opengl":
        poses = poses @ OPENCV_FROM_OPENGL
    return dataclasses.replace(track, world_from_cam=poses)
