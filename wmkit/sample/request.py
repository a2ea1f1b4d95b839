"""What is asked of the model: a camera path and the picture's intrinsics, each with its source."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmkit.camera import Array, Intrinsics, ScaleKind, invert_rigid
from wmkit.camera_paths import action_path
from wmkit.errors import InputError
from wmkit.formats.any import read_trajectory
from wmkit.formats.track import CameraTrack
from wmkit.sample.picture import Picture

__all__ = ["AskedPath", "SourceIntrinsics", "asked_intrinsics", "asked_path"]

FPS = 16.0  # of a path that says no times: what annotate samples clips at
FOV_DEG = (25.0, 120.0)  # horizontal; outside of it no ordinary lens, and no training clip, is
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
        rows = _checked_rows(_read_rows(file, picture.size), picture.size, f"--intrinsics {file}")
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
        rows = _checked_rows(np.array([[focal_px, focal_px, width / 2, height / 2]]), picture.size, "--image: EXIF")
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


def _read_rows(path: Path, size_px: tuple[int, int]) -> Array:
    """fx fy cx cy (N, 4) of .npy (4,), (3, 3), (N, 4), (N, 3, 3); .npz `intrinsics`; .json; .txt of 4 or 9 numbers."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"--intrinsics: expected a file, found none at {path}")
    try:
        if suffix == ".json":
            return _json_rows(path, size_px)
        if suffix == ".txt":
            values = [float(word) for word in path.read_text(encoding="utf-8").replace(",", " ").split()]
            array = np.array(values if len(values) != 9 else np.reshape(values, (3, 3)))
        elif suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        elif suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                array = archive["intrinsics"]
        else:
            raise InputError(f"--intrinsics: expected .npy, .npz, .json or .txt, got {path}")
        array = np.asarray(array, dtype=np.float64)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"--intrinsics {path}: expected fx fy cx cy or K in px, got: {error}") from error
    if array.shape[-2:] == (3, 3) and array.ndim in (2, 3):
        matrices = array.reshape(-1, 3, 3)
        return np.stack([matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 0, 2], matrices[:, 1, 2]], axis=1)
    if array.ndim in (1, 2) and array.shape[-1] == 4 and array.size:
        return array.reshape(-1, 4)
    raise InputError(
        f"--intrinsics {path}: expected fx fy cx cy (4 numbers, or 4 a frame) or K (3x3), got shape {array.shape}"
    )


def _json_rows(path: Path, size_px: tuple[int, int]) -> Array:
    """`{"fx", "fy", "cx", "cy"}` with optional width and height, or a trajectory file that holds intrinsics."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(plain, dict) and "fx" in plain:
        width, height = plain.get("width", size_px[0]), plain.get("height", size_px[1])
        rows, size = np.array([[float(plain[name]) for name in ("fx", "fy", "cx", "cy")]]), (width, height)
    else:
        track = read_trajectory(path, size_px)
        if track.intrinsics_px is None:
            raise InputError(f"--intrinsics {path}: expected fx fy cx cy, found none in it")
        rows = track.intrinsics_px
        size = size_px if track.size_px is None else tuple(track.size_px[0].tolist())
    if size != size_px:
        raise InputError(
            f"--intrinsics {path}: expected those of the {size_px[0]}x{size_px[1]} picture, got {size[0]}x{size[1]}"
        )
    return rows


def _checked_rows(rows: Array, size_px: tuple[int, int], name: str) -> Array:
    """Finite, of a plausible field of view, centred within the middle half of the picture."""
    width, height = size_px
    if not np.isfinite(rows).all() or (rows[:, :2] <= 0).any():
        raise InputError(f"{name}: expected finite fx fy cx cy with positive focal lengths, got {rows[0].tolist()}")
    off = np.abs(rows[:, 2:] / np.array([width, height]) - 0.5).max(axis=1)
    if (off > 0.25).any():
        cx, cy = rows[int(off.argmax()), 2:]
        raise InputError(
            f"{name}: expected a principal point near the middle of the {width}x{height} picture, got "
            f"({cx:g}, {cy:g}); are they of another size?"
        )
    for fx, fy, cx, cy in rows.tolist():
        fov_deg = Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height).fov_x_deg
        if not FOV_DEG[0] <= fov_deg <= FOV_DEG[1]:
            raise InputError(
                f"{name}: expected a horizontal field of view of {FOV_DEG[0]:g} to {FOV_DEG[1]:g} degrees on the "
                f"{width}x{height} picture, got {fov_deg:.3g}; are they of another size?"
            )
    return rows
