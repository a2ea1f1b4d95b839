"""ViPE artifact folders: pose/<name>.npz, intrinsics/<name>.npz, intrinsics/<name>_camera.txt, rgb/<name>.mp4,
depth/<name>.zip, mask/<name>.zip and .txt.

https://github.com/nv-tlabs/vipe (vipe/utils/io.py). `data` (N, 4, 4) is camera to world with OpenCV axes, `inds` (N,)
the frame of rgb/<name>.mp4 each row belongs to, with gaps where there is no pose; intrinsics rows are fx fy cx cy in
px; _camera.txt has a line `index: PINHOLE` a row. ViPE's vipe/<name>_info.pkl is left out: nothing wmkit writes or
reads is a pickle, and ViPE's readers find clips by their mp4 as well. Image sizes are those of the mp4. Depth is an EXR
(half, channel Z) a frame, NaN where unknown, in the unit of the poses, at the frames' size though measured coarser; the
mask a PNG a frame of instance numbers, 0 being the background, and a line `number: phrase` an instance.
"""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.clip import DepthMap, DynamicMask
from wmkit.errors import InputError
from wmkit.formats.exr import exr_bytes
from wmkit.formats.maps import enlarged
from wmkit.formats.text import read_lines, write_bytes, write_lines
from wmkit.formats.track import CameraTrack, naming_file, nearest_rotation, rigid_matrices

__all__ = ["read_vipe", "rgb_path", "write_vipe", "write_vipe_depth", "write_vipe_mask"]

MOVING = 1  # the one instance: whatever moves by itself
STAMP = (1980, 1, 1, 0, 0, 0)


def rgb_path(base: Path, name: str) -> Path:
    """Where the video of clip `name` belongs: every frame, posed or not."""
    return base / "rgb" / f"{name}.mp4"


def write_vipe(track: CameraTrack, base: Path, name: str) -> None:
    """Write poses, intrinsics and camera types of the posed frames; InputError without frame indices or intrinsics."""
    if track.frame is None or track.intrinsics_px is None:
        raise InputError(f"{base}: expected a track with frame indices and intrinsics, ViPE's files need both")
    _write_npz(base / "pose" / f"{name}.npz", track.world_from_cam, track.frame)
    _write_npz(base / "intrinsics" / f"{name}.npz", track.intrinsics_px, track.frame)
    write_lines(base / "intrinsics" / f"{name}_camera.txt", (f"{frame}: PINHOLE" for frame in track.frame))


def write_vipe_depth(depth: DepthMap, base: Path, name: str, size: tuple[int, int]) -> list[Path]:
    """Write the depth maps of some frames, each enlarged to `size` (width, height) px; the file made."""
    path = base / "depth" / f"{name}.zip"
    known = np.where(depth.valid, depth.z, np.float32(np.nan))
    _write_zip(path, (f"{i:05d}.exr" for i in depth.frame), (exr_bytes(enlarged(z, size)) for z in known))
    return [path]


def write_vipe_mask(moving: DynamicMask, base: Path, name: str, size: tuple[int, int]) -> list[Path]:
    """Write where some frames show something that moves by itself, each enlarged to `size` px; the files made."""
    import cv2

    path, phrases = base / "mask" / f"{name}.zip", base / "mask" / f"{name}.txt"
    pictures = (enlarged(mask.astype(np.uint8) * np.uint8(MOVING), size) for mask in moving.mask)
    data = (cv2.imencode(".png", picture)[1].tobytes() for picture in pictures)
    _write_zip(path, (f"{i:05d}.png" for i in moving.frame), data)
    write_lines(phrases, [f"{MOVING}: moving"])
    return [path, phrases]


def _write_zip(path: Path, names: Iterable[str], members: Iterable[bytes]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in zip(names, members, strict=True):
                archive.writestr(zipfile.ZipInfo(name, date_time=STAMP), data, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise InputError(f"{path}: expected a writable path, got: {error.strerror}") from error


def read_vipe(base: Path, name: str, width: int, height: int) -> CameraTrack:
    """Read poses and intrinsics of images of `width` x `height` px: the frames that have both.

    Raises InputError naming the file; also for camera types other than PINHOLE (their rows hold distortion).
    """
    pose_path, rows_path = base / "pose" / f"{name}.npz", base / "intrinsics" / f"{name}.npz"
    poses, pose_frame = _read_npz(pose_path, 3)
    rows, rows_frame = _read_npz(rows_path, 2)
    if poses.shape[1:] != (4, 4) or rows.shape[1] < 4:
        raise InputError(f"{pose_path}: expected (N,4,4) poses and (N,4) intrinsics, got {poses.shape}, {rows.shape}")
    types_path = base / "intrinsics" / f"{name}_camera.txt"
    if types_path.exists():
        for line, text in read_lines(types_path):
            if text.split(":")[-1].strip() != "PINHOLE":
                raise InputError(f"{types_path}:{line}: expected 'index: PINHOLE', got {text[:80]!r}")
    frame, at_pose, at_rows = np.intersect1d(pose_frame, rows_frame, return_indices=True)
    if not len(frame):
        raise InputError(f"{pose_path}: expected frames with pose and intrinsics, got none")
    with naming_file(pose_path):
        poses = poses[at_pose]
        return CameraTrack(
            world_from_cam=rigid_matrices(nearest_rotation(poses[:, :3, :3]), poses[:, :3, 3]),
            frame=frame,
            intrinsics_px=rows[at_rows, :4],
            size_px=np.tile([width, height], (len(frame), 1)),
        )


def _write_npz(path: Path, data: NDArray, inds: NDArray[np.int64]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, data=data, inds=inds)
    write_bytes(path, buffer.getvalue())


def _read_npz(path: Path, dimensions: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as loaded:
            data, inds = np.asarray(loaded["data"], dtype=np.float64), np.asarray(loaded["inds"], dtype=np.int64)
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a file, found none") from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected an npz with 'data' and 'inds', got: {error}") from error
    if data.ndim != dimensions or inds.shape != data.shape[:1] or not np.isfinite(data).all():
        raise InputError(f"{path}: expected one finite 'data' row an index, got {data.shape} and {inds.shape}")
    return data, inds
