"""ARKit-style json: camera to world, metres, axes of ARKit's camera (x right, y up, z back) on the picture as stored.

There is no standard file; two shapes are read. One object a frame, as apps that log ARFrame write it::

    {"frames": [{"transform": T, "intrinsics": K, "imageResolution": [w, h], "timestamp": s, "file": name}, ...]}

T and K as ARKit's matrices print: 16 and 9 numbers column by column, or lists of 4 and 3 lists, by columns or by rows
(told by where 0 0 0 1 stands). `transform` may be called `cameraTransform`, `camera_transform`; only it is needed.
And Record3D's metadata: `{"w", "h", "K": 9 numbers by columns, "poses": [[qx, qy, qz, qw, x, y, z], ...], "fps"}`.

Pixel centres: ARKit's are taken as they stand. The pictures must be the ones that were logged, not turned since.
"""

from pathlib import Path
from typing import Any

import numpy as np

from wmkit.camera import Array
from wmkit.errors import InputError
from wmkit.formats.nerfstudio import OPENCV_FROM_OPENGL
from wmkit.formats.track import CameraTrack, matrix_from_quaternion, naming_file, nearest_rotation, rigid_matrices
from wmkit.json_object import read_json

__all__ = ["TRANSFORM_KEYS", "read_arkit", "read_record3d"]

TRANSFORM_KEYS = ("transform", "cameraTransform", "camera_transform")


def read_arkit(path: Path) -> CameraTrack:
    """Read the cameras of an ARFrame log; InputError naming file and frame."""
    document = read_json(path)
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path}: expected a non-empty list 'frames' of objects")
    poses = np.stack([_transform(path, index, frame) for index, frame in enumerate(frames)])
    rows = _each(path, frames, "intrinsics", _camera_row)
    sizes = _each(path, frames, "imageResolution", _size)
    times = _each(path, frames, "timestamp", _time)
    names = [Path(str(frame["file"])).name for frame in frames if isinstance(frame.get("file"), str)]
    with naming_file(path):
        return CameraTrack(
            world_from_cam=rigid_matrices(nearest_rotation(poses[:, :3, :3]), poses[:, :3, 3]) @ OPENCV_FROM_OPENGL,
            time_s=times,
            intrinsics_px=rows,
            size_px=None if sizes is None else sizes.astype(np.int64),
            names=tuple(names) if len(names) == len(frames) else None,
            metric=True,
        )


def read_record3d(path: Path) -> CameraTrack:
    """Read Record3D's metadata; InputError naming file and field."""
    document = read_json(path)
    poses = _array(path, "poses", document.get("poses"), (None, 7))
    track_k = _array(path, "K", document.get("K"), (9,)).reshape(3, 3).T
    size = _array(path, "w and h", [document.get("w"), document.get("h")], (2,))
    fps = document.get("fps")
    known = isinstance(fps, int | float) and not isinstance(fps, bool) and fps > 0
    with naming_file(path):
        rotation = matrix_from_quaternion(poses[:, [3, 0, 1, 2]])
        return CameraTrack(
            world_from_cam=rigid_matrices(rotation, poses[:, 4:]) @ OPENCV_FROM_OPENGL,
            time_s=np.arange(len(poses)) / float(fps) if known else None,  # pyright: ignore[reportArgumentType]
            intrinsics_px=np.tile(track_k[[0, 1, 0, 1], [0, 1, 2, 2]], (len(poses), 1)),
            size_px=np.tile(size.astype(np.int64), (len(poses), 1)),
            metric=True,
        )


def _array(path: Path, name: str, value: Any, shape: tuple[int | None, ...]) -> Array:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected numbers in '{name}', got {str(value)[:60]}") from error
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits or not array.size or not np.isfinite(array).all():
        raise InputError(f"{path}: expected '{name}' to be finite numbers of shape {shape}, got {str(value)[:60]}")
    return array


def _transform(path: Path, index: int, frame: dict[str, Any]) -> Array:
    """4x4 with translation in the last column, however it was written."""
    value = next((frame[key] for key in TRANSFORM_KEYS if key in frame), None)
    name = f"frame {index}: {TRANSFORM_KEYS[0]}"
    flat = isinstance(value, list) and len(value) == 16
    array = _array(path, name, value, (16,) if flat else (4, 4)).reshape(4, 4)
    last = np.array([0, 0, 0, 1])
    if np.abs(array[:, 3] - last).max() < 1e-6 and (flat or np.abs(array[3] - last).max() >= 1e-6):
        return array.T  # written by columns
    if np.abs(array[3] - last).max() < 1e-6:
        return array
    raise InputError(f"{path}: {name}: expected a rigid 4x4 transform with 0 0 0 1 in its last row or column")


def _each(path: Path, frames: list[dict[str, Any]], key: str, read: Any) -> Array | None:
    """`read` of `key` in every frame; None when no frame has it. InputError when only some do."""
    have = [key in frame for frame in frames]
    if not any(have):
        return None
    if not all(have):
        raise InputError(f"{path}: frame {have.index(False)}: expected '{key}', which other frames have")
    return np.array([read(path, f"frame {index}: {key}", frame[key]) for index, frame in enumerate(frames)])


def _camera_row(path: Path, name: str, value: Any) -> Array:
    """fx fy cx cy of 9 numbers by columns, or 3x3 by columns or rows: the lower left corner of K is zero."""
    flat = isinstance(value, list) and len(value) == 9
    k = _array(path, name, value, (9,) if flat else (3, 3)).reshape(3, 3)
    k = k.T if k[2, 0] != 0 or k[2, 1] != 0 else k
    if k[2, 2] != 1 or k[2, 0] != 0 or k[2, 1] != 0:
        raise InputError(f"{path}: {name}: expected a camera matrix with a 1 in its corner, got {value}")
    return k[[0, 1, 0, 1], [0, 1, 2, 2]]


def _size(path: Path, name: str, value: Any) -> Array:
    return _array(path, name, value, (2,))


def _time(path: Path, name: str, value: Any) -> float:
    return float(_array(path, name, value, ()))
