"""nerfstudio transforms.json: camera to world with OpenGL camera axes (y up, z back), world +Z up, points as PLY.

https://docs.nerf.studio/quickstart/data_conventions.html. wmkit's world has +Y down where the first camera is level,
so it is turned by `applied_transform` ((x, y, z) -> (x, z, -y), as nerfstudio's own COLMAP conversion does), which the
file states and the reader undoes. Only signs and rows move: a round trip is exact. nerfstudio itself recentres and
rescales on load unless told not to (`--orientation-method none --center-method none --auto-scale-poses False`). Depth
and masks are named frame by frame, for all or for none, as its parser demands.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.camera import Array, Lens
from wmkit.clip import Points
from wmkit.errors import InputError
from wmkit.formats.text import numbers, write_lines
from wmkit.formats.track import CameraTrack, naming_file, nearest_rotation, rigid_matrices
from wmkit.json_object import read_json

__all__ = ["FrameMaps", "read_nerfstudio", "write_nerfstudio"]

Z_UP_FROM_WORLD = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
POINTS_FILE = "sparse_pc.ply"
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
LENS_TERMS = {"OPENCV": ("k1", "k2", "p1", "p2"), "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4")}  # in COLMAP's order


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMaps:
    """Paths below the folder of each frame's depth and mask, in the track's order; () where frames have none."""

    depth: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


def write_nerfstudio(
    track: CameraTrack, folder: Path, image_folder: str = "images", maps: FrameMaps = FrameMaps()
) -> None:
    """Write transforms.json and, when there are points, sparse_pc.ply; images are named `image_folder`/name.

    Raises InputError without names, intrinsics or sizes, and where some frames have a map and others none.
    """
    if {len(maps.depth), len(maps.mask)} - {0, len(track)}:
        got = f"{len(maps.depth)} and {len(maps.mask)}"
        raise InputError(f"{folder}: expected {len(track)} depth maps and masks or none, got {got}")
    if track.names is None:
        raise InputError(f"{folder}: expected a track with image names, transforms.json needs one a frame")
    c2w = Z_UP_FROM_WORLD @ track.world_from_cam @ OPENCV_FROM_OPENGL
    frames = []
    for index, (row, name) in enumerate(zip(track.intrinsics(), track.names, strict=True)):
        frame: dict[str, Any] = {"file_path": f"{image_folder}/{name}", "transform_matrix": c2w[index].tolist()}
        frame |= {"fl_x": row.fx, "fl_y": row.fy, "cx": row.cx, "cy": row.cy, "w": row.width, "h": row.height}
        if track.time_s is not None:
            frame["time_s"] = float(track.time_s[index])
        if maps.depth:
            frame["depth_file_path"] = maps.depth[index]
        if maps.mask:
            frame["mask_path"] = maps.mask[index]
        frames.append(frame)
    document: dict[str, Any] = {"camera_model": "OPENCV", "applied_transform": Z_UP_FROM_WORLD[:3].tolist()}
    if track.points is not None and len(track.points):
        document["ply_file_path"] = POINTS_FILE
        write_lines(folder / POINTS_FILE, _ply_lines(track.points))
    if track.metric is not None:
        document["metric"] = track.metric
    write_lines(folder / "transforms.json", [json.dumps(document | {"frames": frames}, indent=1)])


def read_nerfstudio(path: Path) -> CameraTrack:
    """Read transforms.json, intrinsics global or per frame, in the world before `applied_transform`.

    Points are not read. Distortion becomes the track's `lens`. Raises InputError naming file and frame, also for
    cameras that no `Lens` can be, and for several lenses.
    """
    document: dict[str, Any] = read_json(path)
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path}: expected a non-empty list 'frames' of objects")
    model = document.get("camera_model", "OPENCV")
    if model not in (*LENS_TERMS, "PINHOLE", "SIMPLE_PINHOLE"):
        raise InputError(f"{path}: expected the camera_model OPENCV, OPENCV_FISHEYE or PINHOLE, got {model!r}")
    c2w = np.stack([_transform(path, index, frame) for index, frame in enumerate(frames)])
    rows = np.array(
        [
            [_scalar(path, index, key, frame, document) for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")]
            for index, frame in enumerate(frames)
        ]
    )
    lens = _lens(path, document, frames, rows)
    if lens is not None:
        rows[:, :4] = lens.default_pinhole().row
    with naming_file(path):
        poses = rigid_matrices(nearest_rotation(c2w[:, :3, :3]), c2w[:, :3, 3])
        return CameraTrack(
            world_from_cam=_undo(path, document) @ poses @ OPENCV_FROM_OPENGL,
            time_s=np.array([frame["time_s"] for frame in frames]) if all("time_s" in f for f in frames) else None,
            intrinsics_px=rows[:, :4],
            size_px=rows[:, 4:].astype(np.int64),
            names=tuple(Path(str(frame.get("file_path", ""))).name for frame in frames),
            metric=document["metric"] if isinstance(document.get("metric"), bool) else None,
            lens=lens,
        )


def _lens(path: Path, document: dict[str, Any], frames: list[dict[str, Any]], rows: Array) -> Lens | None:
    """The one lens of all frames; None when they are a pinhole's. `rows` (N, 6) is fx fy cx cy width height."""
    model = document.get("camera_model", "OPENCV")
    terms = LENS_TERMS.get(model, ())
    found = {}
    for index, (frame, row) in enumerate(zip(frames, rows.tolist(), strict=True)):
        values = {key: _scalar(path, index, key, {key: 0.0, **document, **frame}, {}) for key in DISTORTION}
        beyond = [key for key in DISTORTION if key not in terms and values[key] != 0]
        if beyond:
            raise InputError(
                f"{path}: frame {index}: expected no {beyond[0]} with camera_model {model}; undistort first"
            )
        coefficients = tuple(values[key] for key in terms)
        found[(*row, coefficients)] = coefficients
    if model != "OPENCV_FISHEYE" and not any(any(coefficients) for coefficients in found.values()):
        return None
    if len(found) > 1:
        raise InputError(f"{path}: expected one lens for all frames, got {len(found)}; undistort first")
    fx, fy, cx, cy, width, height = rows[0].tolist()
    with naming_file(path):
        params = (fx, fy, cx, cy, *next(iter(found.values())))
        return Lens(model=model, params=params, width=int(width), height=int(height))


def _undo(path: Path, document: dict[str, Any]) -> Array:
    """world_from_z_up of the file's `applied_transform`; identity when it states none."""
    if "applied_transform" not in document:
        return np.eye(4)
    try:
        applied = np.array(document["applied_transform"], dtype=np.float64).reshape(-1, 4)[:3]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected a 3x4 'applied_transform' of numbers") from error
    if applied.shape != (3, 4) or not np.isfinite(applied).all():
        raise InputError(f"{path}: expected a finite 3x4 'applied_transform', got shape {applied.shape}")
    rotation = nearest_rotation(applied[None, :, :3])[0]
    return rigid_matrices(rotation.T[None], (-rotation.T @ applied[:, 3])[None])[0]


def _transform(path: Path, index: int, frame: dict[str, Any]) -> Array:
    try:
        matrix = np.array(frame.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: frame {index}: expected numbers in 'transform_matrix'") from error
    if matrix.shape not in ((4, 4), (3, 4)) or not np.isfinite(matrix).all():
        raise InputError(f"{path}: frame {index}: expected a finite 4x4 'transform_matrix', got shape {matrix.shape}")
    return matrix[:3]


def _scalar(path: Path, index: int, key: str, frame: dict[str, Any], document: dict[str, Any]) -> float:
    value = document.get(key, frame.get(key))  # nerfstudio's order: a global value wins
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path}: frame {index}: expected a number '{key}' there or globally, got {value!r}")
    return float(value)


def _ply_lines(points: Points) -> list[str]:
    xyz = points.xyz @ Z_UP_FROM_WORLD[:3, :3].T
    header = ["ply", "format ascii 1.0", f"element vertex {len(points)}"]
    header += [f"property double {axis}" for axis in "xyz"]
    header += [f"property uchar {color}" for color in ("red", "green", "blue")]
    rows = [f"{numbers(at)} {r} {g} {b}" for at, (r, g, b) in zip(xyz, points.rgb, strict=True)]
    return [*header, "end_header", *rows]
