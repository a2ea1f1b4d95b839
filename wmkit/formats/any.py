"""`read_trajectory`: the cameras of any file wmkit knows, told apart by extension and, where it must, by content.

    .npy     (N, 4, 4) camera to world, OpenCV axes: what the released SANA-WM programs take as --camera
    .npz     keys as in a corpus' trajectory.npz: world_from_cam (N, 4, 4); posed, time_s, intrinsics optional, and
             metric, one boolean: the unit is the metre. Or SANA-WM-Bench's: c2w, intrinsics (N, 3, 3) px, fps; or
             ViPE's pose/NAME.npz: data, inds
    .json    poses.json (frames with T_c2w), nerfstudio's transforms.json (frames with transform_matrix), ARFrame logs
             (frames with transform) or Record3D's metadata (poses and K)
    .txt     TUM (8 numbers a line), KITTI (12) or RealEstate10K (19)
    folder   a COLMAP model, or one with it in sparse/0

What comes back is a whole path: at least two cameras, every one of them known.
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.errors import InputError
from wmkit.formats.arkit import TRANSFORM_KEYS, read_arkit, read_record3d
from wmkit.formats.colmap import model_folder, read_colmap
from wmkit.formats.kitti import read_kitti
from wmkit.formats.nerfstudio import read_nerfstudio
from wmkit.formats.numpy_file import read_array, read_arrays
from wmkit.formats.poses_json import read_poses_json
from wmkit.formats.re10k import read_re10k
from wmkit.formats.text import read_lines
from wmkit.formats.track import CameraTrack, naming_file, nearest_rotation, rigid_matrices
from wmkit.formats.tum import read_tum
from wmkit.json_object import read_json

__all__ = ["quaternion_order", "read_trajectory"]

KNOWN = ".npy, .npz, .json (poses.json, transforms.json, ARKit), .txt (TUM, KITTI, RE10K) or a COLMAP folder"


def read_trajectory(path: Path, size_px: tuple[int, int] | None = None) -> CameraTrack:
    """Read cameras in the order of the file; what it does not hold is None in the track.

    `size_px` (width, height) is the size of the images of an RE10K file, whose intrinsics are fractions of it; without
    it they are left out. Raises InputError, one line naming the file, when it is missing, of no known kind, damaged,
    has a frame without a finite pose, or fewer than two poses.
    """
    if not path.exists():
        raise InputError(f"{path}: expected a trajectory ({KNOWN}), found no such file")
    suffix = path.suffix.lower()
    if path.is_dir():
        track = read_colmap(model_folder(path))
    elif suffix == ".npz":
        track = _read_npz(path)
    elif suffix == ".npy":
        track = _track_of_arrays(path, {"world_from_cam": read_array(path)})
    elif suffix == ".json":
        track = _read_json(path)
    elif suffix == ".txt":
        track = _read_text(path, size_px)
    else:
        raise InputError(f"{path}: expected {KNOWN}, got the extension {suffix or 'of none'!r}")
    if len(track) < 2:
        raise InputError(f"{path}: expected a trajectory of at least 2 poses, got {len(track)}")
    return track


def quaternion_order(path: Path) -> str | None:
    """How quaternions stand in a file: "xyzw" or "wxyz"; None where rotations are matrices."""
    if path.is_dir():
        return "wxyz"
    if path.suffix.lower() == ".json":
        return "xyzw" if "poses" in read_json(path) else None
    return "xyzw" if path.suffix.lower() == ".txt" and _fields(path) == 8 else None


def _read_npz(path: Path) -> CameraTrack:
    arrays = read_arrays(path)
    if "c2w" in arrays:
        return _track_of_arrays(path, _of_bench(path, arrays))
    if "data" in arrays and "inds" in arrays:
        vipe = {"world_from_cam": arrays["data"]}
        with naming_file(path):
            return dataclasses.replace(
                _track_of_arrays(path, vipe), frame=_numeric(arrays, "inds", ()).astype(np.int64)
            )
    if "world_from_cam" not in arrays:
        raise InputError(f"{path}: expected an array world_from_cam, got {', '.join(sorted(arrays)) or 'none'}")
    return _track_of_arrays(path, arrays)


def _of_bench(path: Path, arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """SANA-WM-Bench's arrays by our names."""
    ours = {"world_from_cam": arrays["c2w"]}
    with naming_file(path):
        if "intrinsics" in arrays:
            K = _numeric(arrays, "intrinsics", (3, 3))
            ours["intrinsics"] = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], axis=1)
        if "fps" in arrays:
            fps = arrays["fps"]
            if fps.size != 1 or fps.dtype.kind not in "fiu" or not fps.item() > 0:
                raise InputError(f"expected fps to be one positive number, got {fps}")
            ours["time_s"] = np.arange(len(arrays["c2w"])) / float(fps.item())
    return ours


def _track_of_arrays(path: Path, arrays: dict[str, NDArray]) -> CameraTrack:
    with naming_file(path):
        poses = _numeric(arrays, "world_from_cam", (4, 4))
        posed = arrays.get("posed", np.ones(len(poses), np.bool_))
        if posed.dtype != np.bool_ or posed.shape != (len(poses),):
            raise InputError(f"expected posed to be {len(poses)} booleans, got {posed.dtype} of shape {posed.shape}")
        missing = np.flatnonzero(~posed | ~np.isfinite(poses).all(axis=(1, 2)))
        if len(missing):
            raise InputError(
                f"expected a finite pose in every frame, but {len(missing)} of {len(poses)} have none "
                f"(first: frame {missing[0]}); cut the path to frames that have one"
            )
        if (poses[:, 3] != [0, 0, 0, 1]).any():
            raise InputError("expected world_from_cam rows to end with 0 0 0 1; is it transposed?")
        return CameraTrack(
            world_from_cam=rigid_matrices(nearest_rotation(poses[:, :3, :3]), poses[:, :3, 3]),
            time_s=_numeric(arrays, "time_s", ()) if "time_s" in arrays else None,
            intrinsics_px=_numeric(arrays, "intrinsics", (4,)) if "intrinsics" in arrays else None,
            metric=_says_metres(arrays),
        )


def _says_metres(arrays: dict[str, NDArray]) -> bool | None:
    """Whether the unit is the metre; None where the file does not say."""
    metric = arrays.get("metric")
    if metric is None:
        return None
    if metric.dtype != np.bool_ or metric.size != 1:
        raise InputError(f"expected metric to be one boolean, got {metric.dtype} of shape {metric.shape}")
    return bool(metric.item())


def _numeric(arrays: dict[str, NDArray], name: str, shape: tuple[int, ...]) -> Array:
    """`arrays[name]` as float64 (N, *shape)."""
    array = arrays[name]
    if array.dtype.kind not in "fiu" or array.shape[1:] != shape or array.ndim == 0:
        want = ", ".join(["N", *map(str, shape)])
        raise InputError(f"expected {name} to be numbers of shape ({want}), got {array.dtype} of shape {array.shape}")
    return array.astype(np.float64)


def _read_json(path: Path) -> CameraTrack:
    document = read_json(path)
    frames = document.get("frames")
    first = frames[0] if isinstance(frames, list) and frames else None
    if isinstance(first, dict) and "T_c2w" in first:
        return read_poses_json(path)
    if isinstance(first, dict) and "transform_matrix" in first:
        return read_nerfstudio(path)
    if isinstance(first, dict) and any(key in first for key in TRANSFORM_KEYS):
        return read_arkit(path)
    if "poses" in document and "K" in document:
        return read_record3d(path)
    raise InputError(
        f"{path}: expected frames with T_c2w (poses.json), transform_matrix (transforms.json) or transform (ARKit)"
    )


def _read_text(path: Path, size_px: tuple[int, int] | None) -> CameraTrack:
    fields = _fields(path)
    match fields:
        case 8:
            return read_tum(path)
        case 12:
            return read_kitti(path)
        case 19:
            track = read_re10k(path, *(size_px or (1, 1)))
            return track if size_px else dataclasses.replace(track, intrinsics_px=None, size_px=None)
    raise InputError(f"{path}: expected lines of 8 (TUM), 12 (KITTI) or 19 (RE10K) numbers, got {fields} fields")


def _fields(path: Path) -> int:
    """Fields of the last line: RE10K's first is a title of any length."""
    lines = [text.split() for _, text in read_lines(path) if text.strip() and not text.lstrip().startswith("#")]
    return len(lines[-1]) if lines else 0
