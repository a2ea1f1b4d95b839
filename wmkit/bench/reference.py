"""What is known about a sequence besides its pixels, read from the files beside it and matched to a clip's frames.

    poses.json       full cameras of named images, metric or not (`wmkit.formats.poses_json`)
    gps.csv          east_m north_m up_m of named images (`file`) or at times (`t_s`)
    orientation.csv  GoPro telemetry at times: cori_*, iori_* quaternions, w x y z

poses.json alone is used where it exists. Times are seconds since the first frame of the source. Nothing here ever
reaches the engine.
"""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, ScaleKind, Trajectory
from wmkit.clip import Annotation
from wmkit.errors import InputError
from wmkit.formats.poses_json import read_poses_json
from wmkit.formats.text import read_lines
from wmkit.formats.track import CameraTrack, matrix_from_quaternion, naming_file, rigid_matrices

__all__ = ["Fixes", "Orientations", "Reference", "Truth", "match", "read_reference"]

MAX_GAP_S = 1.0  # GPS fixes further apart than this are not joined by a straight line
POSES, GPS, ORIENTATION = "poses.json", "gps.csv", "orientation.csv"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixes:
    """Positions (M, 3) in metres, x east, y north, z up, of named images or, without names, at times (M,)."""

    position: Array
    names: tuple[str, ...] | None = None
    time_s: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Orientations:
    """Rotations (M, 3, 3) world from camera, OpenCV axes, at times (M,)."""

    rotation: Array
    time_s: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The reference files of one sequence; `files` names those that were read."""

    files: tuple[str, ...]
    poses: CameraTrack | None = None
    fixes: Fixes | None = None
    orientations: Orientations | None = None

    @property
    def image_folder(self) -> str | None:
        """Folder of the images that poses.json names, below the sequence's own; None without poses.json."""
        if self.poses is None or self.poses.names is None:
            return None
        return PurePosixPath(self.poses.names[0]).parent.as_posix()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The reference at a clip's N frames; `posed` is false where it says nothing.

    position       trajectory whose positions are true; its rotations only if `rotation` is the same object.
    rotation       trajectory whose rotations are true.
    horizontal     two axes (2, 3) of the reference world that are level, when only they are to be scored (GPS).
    intrinsics_px  (N, 4) fx fy cx cy of the source's full-size pictures, NaN where unknown.
    """

    position: Trajectory | None
    rotation: Trajectory | None
    horizontal: Array | None = None
    intrinsics_px: Array | None = None


def read_reference(folder: Path) -> Reference:
    """Every reference file in `folder`; InputError when it is no folder, holds none, or one is malformed."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with a clip and its reference; check the path")
    if (folder / POSES).is_file():
        return Reference(files=(POSES,), poses=read_poses_json(folder / POSES))
    found = tuple(name for name in (GPS, ORIENTATION) if (folder / name).is_file())
    if not found:
        raise InputError(f"{folder}: expected {POSES}, {GPS} or {ORIENTATION} beside the clip, found none of them")
    return Reference(
        files=found,
        fixes=_read_fixes(folder / GPS) if GPS in found else None,
        orientations=_read_orientations(folder / ORIENTATION) if ORIENTATION in found else None,
    )


def match(reference: Reference, images: tuple[str, ...], annotation: Annotation) -> Truth:
    """The reference at the annotation's frames: by image name for images, else by index or time.

    `images` names each frame's image, () for a video. Raises InputError when no frame is matched.
    """
    since_start_s = annotation.view.pts_s - annotation.clip.span_s[0]
    if reference.poses is not None:
        truth = _match_poses(reference.poses, images, since_start_s)
    else:
        truth = _match_sensors(reference, images, since_start_s)
    if truth.position is None and truth.rotation is None:
        names = ", ".join(reference.files)
        raise InputError(f"{annotation.clip.source}: expected {names} to name or time its frames, but none matches")
    return truth


def _match_poses(track: CameraTrack, images: tuple[str, ...], since_start_s: Array) -> Truth:
    if images:
        row = _rows_by_name(tuple(track.names or ()), images)
    elif len(track) == len(since_start_s):  # a video made of the images: `t` need not be seconds
        row = np.arange(len(track))
    else:
        row = _rows_by_time(track.time_s if track.time_s is not None else np.zeros(0), since_start_s)
    trajectory = _trajectory(track.world_from_cam, row, since_start_s, bool(track.metric))
    intrinsics_px = None
    if track.intrinsics_px is not None:
        intrinsics_px = np.where((row >= 0)[:, None], track.intrinsics_px[row], np.nan)
    return Truth(position=trajectory, rotation=trajectory, intrinsics_px=intrinsics_px)


def _match_sensors(reference: Reference, images: tuple[str, ...], since_start_s: Array) -> Truth:
    position = rotation = None
    fixes, orientations = reference.fixes, reference.orientations
    if fixes is not None:
        if fixes.names is not None:
            row = _rows_by_name(fixes.names, images)
            at = np.where((row >= 0)[:, None], fixes.position[row], np.nan)
        else:
            at = _interpolated(fixes, since_start_s)
        known = np.isfinite(at[:, 0])
        # a GPS fix has no rotation: the identity only fills the matrices, and `Truth.rotation` stays None
        poses = rigid_matrices(np.tile(np.eye(3), (len(at), 1, 1)), np.nan_to_num(at))
        position = _trajectory(poses, np.where(known, np.arange(len(at)), -1), since_start_s, metric=True)
    if orientations is not None:
        row = _rows_by_time(orientations.time_s, since_start_s)
        poses = rigid_matrices(orientations.rotation, np.zeros((len(orientations.rotation), 3)))
        rotation = _trajectory(poses, row, since_start_s, metric=False)
    return Truth(position=position, rotation=rotation, horizontal=np.eye(3)[:2])


def _trajectory(world_from_cam: Array, row: NDArray[np.int64], time_s: Array, metric: bool) -> Trajectory | None:
    """Rows of `world_from_cam` picked by `row` (N,), unposed where it is negative; None when all are."""
    known = row >= 0
    if not known.any():
        return None
    poses = np.where(known[:, None, None], world_from_cam[row], np.nan)
    scale = ScaleKind.METRIC if metric else ScaleKind.UP_TO_SCALE
    return Trajectory(world_from_cam=poses, time_s=time_s, posed=known, scale=scale)


def _rows_by_name(names: tuple[str, ...], images: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) row of each image in `names`, compared without folders; -1 where it is not named."""
    rows = {PurePosixPath(name).name: row for row, name in enumerate(names)}
    if len(rows) != len(names):
        raise InputError("reference: expected one pose an image, got an image name twice; keep one camera a folder")
    return np.array([rows.get(image, -1) for image in images], dtype=np.int64)


def _rows_by_time(time_s: Array, at_s: Array) -> NDArray[np.int64]:
    """(N,) row of `time_s` nearest to each time, -1 where none lies within half a frame interval."""
    if len(time_s) == 0 or len(at_s) < 2:
        return np.full(len(at_s), -1)
    nearest = np.abs(time_s[None, :] - at_s[:, None]).argmin(axis=1)
    half_s = float(np.median(np.diff(at_s))) / 2
    return np.where(np.abs(time_s[nearest] - at_s) < half_s, nearest, -1)


def _interpolated(fixes: Fixes, at_s: Array) -> Array:
    """(N, 3) the reference track at each time, linear between fixes at most a second apart; NaN outside."""
    assert fixes.time_s is not None
    time_s = fixes.time_s
    after = np.clip(np.searchsorted(time_s, at_s), 1, len(time_s) - 1)
    gap_s = time_s[after] - time_s[after - 1]
    share = (at_s - time_s[after - 1]) / gap_s
    at = fixes.position[after - 1] + share[:, None] * (fixes.position[after] - fixes.position[after - 1])
    on_a_fix = (share == 0) | (share == 1)
    inside = on_a_fix | ((share > 0) & (share < 1) & (gap_s <= MAX_GAP_S))
    return np.where(inside[:, None], at, np.nan)


def _read_fixes(path: Path) -> Fixes:
    rows = _read_csv(path)
    position = np.column_stack([_column(path, rows, name) for name in ("east_m", "north_m", "up_m")])
    if "file" in rows[0]:
        return Fixes(position=position, names=tuple(row["file"] for row in rows))
    time_s = _times(path, rows)
    return Fixes(position=position, time_s=time_s)


def _read_orientations(path: Path) -> Orientations:
    """With q = CORI * IORI, GoPro's q is camera from world: its rotations between two frames are, in OpenCV axes,
    those of camera j in camera i turned the other way round, so world from camera is the transpose of q's matrix.
    """
    rows = _read_csv(path)
    with naming_file(path):
        camera, image = (
            matrix_from_quaternion(np.column_stack([_column(path, rows, f"{part}_{axis}") for axis in "wxyz"]))
            for part in ("cori", "iori")
        )
    cam_from_world = camera @ image
    return Orientations(rotation=np.swapaxes(cam_from_world, 1, 2), time_s=_times(path, rows))


def _read_csv(path: Path) -> list[dict[str, str]]:
    lines = [text for _, text in read_lines(path)]
    rows = list(csv.DictReader(lines, restval="", restkey="_beyond"))
    if len(rows) < 2:
        raise InputError(f"{path}: expected a header and at least 2 rows, got {len(rows)} rows")
    return rows


def _column(path: Path, rows: list[dict[str, str]], name: str) -> Array:
    if name not in rows[0]:
        raise InputError(f"{path}: expected a column {name}, got {', '.join(rows[0])}")
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        try:
            values[index] = float(row[name])
        except ValueError:
            raise InputError(f"{path}: row {index + 1}: expected a number in {name}, got {row[name]!r}") from None
    if not np.isfinite(values).all():
        raise InputError(f"{path}: expected finite numbers in {name}")
    return values


def _times(path: Path, rows: list[dict[str, str]]) -> Array:
    time_s = _column(path, rows, "t_s")
    if (np.diff(time_s) <= 0).any():
        raise InputError(f"{path}: expected increasing times in t_s")
    return time_s
