"""RealEstate10K camera text: a first line for the video, then `t fx fy cx cy 0 0 r11 r12 r13 t1 ... r33 t3`.

https://google.github.io/realestate10k/download.html. Times are whole microseconds; fx cx are over the image's width,
fy cy over its height; the 3x4 matrix is world to camera. Scale is unknown.
"""

from pathlib import Path

import numpy as np

from wmkit.camera import invert_rigid
from wmkit.errors import InputError
from wmkit.formats.text import numbers, read_lines, read_table, write_lines
from wmkit.formats.track import CameraTrack, naming_file, nearest_rotation, rigid_matrices

__all__ = ["read_re10k", "write_re10k"]

US_PER_S = 1_000_000


def write_re10k(track: CameraTrack, path: Path, title: str) -> None:
    """Write the posed frames below `title` (one line; the published files have the video's URL there).

    Raises InputError without times, intrinsics or sizes, or when two frames share a microsecond.
    """
    if track.time_s is None or track.intrinsics_px is None or track.size_px is None:
        raise InputError(f"{path}: expected a track with times, intrinsics and image sizes, RE10K needs all three")
    time_us = np.round(track.time_s * US_PER_S).astype(np.int64)
    if (np.diff(time_us) <= 0).any():
        raise InputError(f"{path}: expected frames at least a microsecond apart, RE10K has no finer time")
    normalised = track.intrinsics_px / track.size_px[:, [0, 1, 0, 1]]
    w2c = invert_rigid(track.world_from_cam)
    lines = [" ".join(title.split())]
    for time, row, matrix in zip(time_us, normalised, w2c, strict=True):
        lines.append(f"{time} {numbers(row)} 0 0 {numbers(matrix[:3].ravel())}")
    write_lines(path, lines)


def read_re10k(path: Path, width: int, height: int) -> CameraTrack:
    """Read cameras of images of `width` x `height` px; InputError naming file and line."""
    if len(read_lines(path)) < 2:
        raise InputError(f"{path}: expected a line for the video and one a camera, got fewer than two lines")
    table = read_table(path, 19, "t fx fy cx cy 0 0 and a 3x4 world-to-camera matrix", skip=1)
    w2c = table[:, 7:].reshape(-1, 3, 4)
    with naming_file(path):
        return CameraTrack(
            world_from_cam=invert_rigid(rigid_matrices(nearest_rotation(w2c[:, :, :3]), w2c[:, :, 3])),
            time_s=table[:, 0] / US_PER_S,
            intrinsics_px=table[:, 1:5] * [width, height, width, height],
            size_px=np.tile([width, height], (len(table), 1)),
        )
