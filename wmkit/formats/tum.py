"""TUM RGB-D trajectory text: `timestamp tx ty tz qx qy qz qw`, camera to world, seconds, quaternion with w last.

https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats. No intrinsics, no unit. wmkit writes the clip's own
`time_s`; frames without a pose are left out.
"""

from pathlib import Path

import numpy as np

from wmkit.errors import InputError
from wmkit.formats.text import numbers, read_table, write_lines
from wmkit.formats.track import (
    CameraTrack,
    matrix_from_quaternion,
    naming_file,
    quaternion_from_matrix,
    rigid_matrices,
)

__all__ = ["read_tum", "write_tum"]

COLUMNS = "timestamp tx ty tz qx qy qz qw"


def write_tum(track: CameraTrack, path: Path) -> None:
    """Write the posed frames; InputError without times."""
    if track.time_s is None:
        raise InputError(f"{path}: expected a track with times, TUM needs one a line")
    wxyz = quaternion_from_matrix(track.world_from_cam[:, :3, :3])
    table = np.column_stack([track.time_s, track.world_from_cam[:, :3, 3], wxyz[:, 1:], wxyz[:, :1]])
    write_lines(path, [f"# {COLUMNS}", *(numbers(row) for row in table)])


def read_tum(path: Path) -> CameraTrack:
    """Read poses and times; InputError naming file and line."""
    table = read_table(path, 8, COLUMNS)
    with naming_file(path):
        rotation = matrix_from_quaternion(table[:, [7, 4, 5, 6]])
        return CameraTrack(world_from_cam=rigid_matrices(rotation, table[:, 1:4]), time_s=table[:, 0])
