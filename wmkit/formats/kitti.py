"""KITTI odometry poses: 12 numbers a line, the 3x4 camera-to-world matrix row by row.

https://www.cvlibs.net/datasets/kitti/eval_odometry.php. A line is a frame: the format has no times and no gaps, so
wmkit writes the posed frames one after the other and, in `frames/<name>.txt` beside the file, each line's frame
index and time.
"""

from pathlib import Path

import numpy as np

from wmkit.errors import InputError
from wmkit.formats.text import number, numbers, read_table, write_lines
from wmkit.formats.track import CameraTrack, naming_file, nearest_rotation, rigid_matrices

__all__ = ["frames_path", "read_kitti", "write_kitti"]


def frames_path(path: Path) -> Path:
    """Where the frame index and time of each line of `path` are kept."""
    return path.parent / "frames" / path.name


def write_kitti(track: CameraTrack, path: Path) -> None:
    """Write poses and, when the track knows frames and times, `frames/<name>.txt`."""
    write_lines(path, (numbers(matrix[:3].ravel()) for matrix in track.world_from_cam))
    if track.frame is not None and track.time_s is not None:
        rows = (f"{frame} {number(time_s)}" for frame, time_s in zip(track.frame, track.time_s, strict=True))
        write_lines(frames_path(path), ["# frame time_s", *rows])


def read_kitti(path: Path) -> CameraTrack:
    """Read poses, and frames and times where `frames/<name>.txt` lies beside; InputError naming file and line."""
    table = read_table(path, 12, "3x4 camera-to-world matrix").reshape(-1, 3, 4)
    frame, time_s = None, None
    beside = frames_path(path)
    if beside.exists():
        frames = read_table(beside, 2, "frame time_s")
        if len(frames) != len(table):
            raise InputError(f"{beside}: expected {len(table)} lines, one a pose of {path.name}, got {len(frames)}")
        frame, time_s = frames[:, 0].astype(np.int64), frames[:, 1]
    with naming_file(path):
        matrices = rigid_matrices(nearest_rotation(table[:, :, :3]), table[:, :, 3])
        return CameraTrack(world_from_cam=matrices, frame=frame, time_s=time_s)
