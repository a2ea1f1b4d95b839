"""What is asked of the model: a camera path and the picture's intrinsics, each with its source."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmkit.camera import Array, Intrinsics, ScaleKind, invert_rigid
from wmkit.camera_actions import action_path
from wmkit.errors import InputError
from wmkit.formats.any import read_trajectory
from wmkit.formats.intrinsics import FOV_DEG, checked_intrinsics, read_intrinsics
from wmkit.formats.track import CameraTrack
from wmkit.sample.picture import Picture

__all__ = ["AskedPath", "SourceIntrinsics", "asked_intrinsics", "asked_path"]

FPS = 16.0  # of a path that says no times: what annotate samples clips at
ASSUMED_FOV_DEG = 60.0
GAP = 1.5  # a step this many times the usual one is a hole in the path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedPath:
    """Cameras of every frame to make.

    world_from_cam  (N, 4, 4) float64; the world is the first camera.
    poses           how many the source has; the others hold the last one.
    fps             1/s.
    scale           METRIC when the source says that its unit is the metre.
    source          file name or action string, as given.
    sha256          of the file or string; None for a folder.
    """

    world_from_cam: Array
    poses: int
    fps: float
    scale: ScaleKind
    source: str
    sha256: str | None

    def held_to(self, frames: int) -> "AskedPath":
        """The same path, its last pose held until there are `frames`."""
        held = np.repeat(self.world_from_cam[-1:], frames - len(self.world_from_cam), axis=0)
        return AskedPath(
            world_from_cam=np.concatenate([self.world_from_cam, held]),
            poses=self.poses,
            fps=self.fps,
            scale=self.scale,
            source=self.source,
            sha256=self.sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceIntrinsics:
    """fx fy cx cy (1, 4) or (N, 4) in px of the picture as given, and where they come from, in words."""

    rows: Array
    source: str


def asked_path(text: str, size_px: tuple[int, int]) -> AskedPath:
    """The path that `--trajectory` means: a file or COLMAP folder if there is one of that name, else an action string.

    InputError for a missing or unreadable file, a pose that is not finite, fewer than two poses, a hole in time, a bad
    action. `size_px` is the picture's, for files whose intrinsics are fractions of it.
    """
    path = Path(text)
    if text and path.exists():  # "" would be the folder we are in
        track = read_trajectory(path, size_px)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        poses, fps = track.world_from_cam, _rate(track, text)
        scale = ScaleKind.METRIC if track.metric else ScaleKind.UP_TO_SCALE
    elif path.suffix in (".npz", ".json", ".txt") or "/" in text:
        raise InputError(f"--trajectory: expected a file or actions such as w-40,dw-20, found no file {text}")
    else:
        rolled = action_path(text)
        poses, fps, scale = rolled.world_from_cam, FPS, ScaleKind.METRIC
        sha256 = hashlib.sha256(text.encode()).hexdigest()
    relative = invert_rigid(poses[:1]) @ poses
    relative[0] = np.eye(4)
    return AskedPath(world_from_cam=relative, poses=len(poses), fps=fps, scale=scale, source=text, sha256=sha256)


def asked_intrinsics(picture: Picture, file: Path | None, fov_deg: float | None, poses: int) -> SourceIntrinsics:
    """Intrinsics by file, by `--fov-deg`, by EXIF, else 60 degrees; the result says which.

    InputError when both are given, and when they do not fit the picture: a field of view outside 25 to 120 degrees,
    a principal point that is not near the middle, another picture size, rows that are neither one nor one a pose.
    """
    width, height = picture.size
    if file is not None and fov_deg is not None:
        raise InputError("--intrinsics and --fov-deg: expected one of the two, got both")
    if file is not None:
        rows = checked_intrinsics(read_intrinsics(file, picture.size), picture.size, f"--intrinsics {file}")
        if len(rows) not in (1, poses):
            raise InputError(f"--intrinsics {file}: expected 1 row or one a pose ({poses}), got {len(rows)}")
        return SourceIntrinsics(rows=rows, source=f"file {file}")
    if fov_deg is not None:
        if not FOV_DEG[0] <= fov_deg <= FOV_DEG[1]:
            raise InputError(f"--fov-deg: expected {FOV_DEG[0]:g} to {FOV_DEG[1]:g} degrees, got {fov_deg:g}")
        rows = Intrinsics.from_fov(fov_deg, width, height).row[None]
        return SourceIntrinsics(rows=rows, source=f"fov {fov_deg:g} deg given")
    focal_px = picture.focal_px
    if focal_px is not None:
        rows = checked_intrinsics(
            np.array([[focal_px, focal_px, width / 2, height / 2]]), picture.size, "--image: EXIF"
        )
        return SourceIntrinsics(rows=rows, source=f"exif {picture.focal_35mm_mm:g} mm (35 mm equivalent)")
    rows = Intrinsics.from_fov(ASSUMED_FOV_DEG, width, height).row[None]
    return SourceIntrinsics(rows=rows, source=f"fov {ASSUMED_FOV_DEG:g} deg assumed")


def _rate(track: CameraTrack, name: str) -> float:
    if track.time_s is None:
        return FPS
    gaps_s = np.diff(track.time_s)
    usual_s = float(np.median(gaps_s))
    worst = int(gaps_s.argmax())
    if gaps_s[worst] > GAP * usual_s:
        raise InputError(
            f"--trajectory {name}: expected evenly spaced times, got {gaps_s[worst]:.3g} s between poses {worst} and "
            f"{worst + 1} where {usual_s:.3g} s is usual; cut the path at the hole"
        )
    return 1 / usual_s
