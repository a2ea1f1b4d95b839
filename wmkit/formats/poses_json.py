"""wmkit's reference files, poses.json: `{"units", "metric", "frames": [{"file", "t", "K", "T_c2w"}]}`.

T_c2w is 4x4 camera to world with OpenCV axes; K is [fx, fy, cx, cy] in px of the image `file`; t is a time or any
other increasing number; metric says whether translations are metres. K is taken as it stands: most published
calibrations put pixel centres at whole numbers, half a pixel from wmkit's convention.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.errors import InputError
from wmkit.formats.text import write_lines
from wmkit.formats.track import CameraTrack, naming_file, nearest_rotation, rigid_matrices
from wmkit.json_object import read_json

__all__ = ["read_poses_json", "write_poses_json"]


def write_poses_json(track: CameraTrack, path: Path) -> None:
    """Write cameras; InputError unless the track has names, times, intrinsics and says whether it is metric."""
    if track.names is None or track.time_s is None or track.intrinsics_px is None or track.metric is None:
        raise InputError(f"{path}: expected a track with names, times, intrinsics and a known unit")
    frames = [
        {"file": name, "t": time_s, "K": row, "T_c2w": matrix}
        for name, time_s, row, matrix in zip(
            track.names,
            track.time_s.tolist(),
            track.intrinsics_px.tolist(),
            track.world_from_cam.tolist(),
            strict=True,
        )
    ]
    units = "m" if track.metric else "arbitrary"
    write_lines(path, [json.dumps({"units": units, "metric": track.metric, "frames": frames}, indent=1)])


def read_poses_json(path: Path) -> CameraTrack:
    """Read names, times, intrinsics (None when no frame has K) and poses; InputError naming file and frame."""
    loaded: dict[str, Any] = read_json(path)
    frames = loaded.get("frames")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{path}: expected a non-empty list 'frames'")
    if not isinstance(loaded.get("metric"), bool):
        raise InputError(f"{path}: expected 'metric' to be true or false, got {loaded.get('metric')!r}")
    if not all(isinstance(frame, dict) and isinstance(frame.get("file"), str) for frame in frames):
        raise InputError(f"{path}: expected every frame to be an object with a 'file' name")
    matrices = np.array([_numbers(path, index, frame, "T_c2w", (4, 4)) for index, frame in enumerate(frames)])
    times = [float(_numbers(path, index, frame, "t", ())) for index, frame in enumerate(frames)]
    rows = None
    if any("K" in frame for frame in frames):
        rows = np.array([_numbers(path, index, frame, "K", (4,)) for index, frame in enumerate(frames)])
    with naming_file(path):
        return CameraTrack(
            world_from_cam=rigid_matrices(nearest_rotation(matrices[:, :3, :3]), matrices[:, :3, 3]),
            time_s=np.array(times),
            intrinsics_px=rows,
            names=tuple(str(frame["file"]) for frame in frames),
            metric=loaded["metric"],
        )


def _numbers(path: Path, index: int, frame: dict[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    value = frame.get(key)
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: frame {index}: expected numbers in '{key}', got {str(value)[:60]}") from error
    if value is None or array.shape != shape or not np.isfinite(array).all():
        raise InputError(f"{path}: frame {index}: expected '{key}' of shape {shape}, finite, got {str(value)[:60]}")
    return array
