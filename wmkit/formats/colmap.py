"""COLMAP sparse models: cameras, rigs, frames, images and points3D, world to camera, pixel centres at .5 as in wmkit.

https://colmap.github.io/format.html. Writes text as COLMAP 4 does (each camera a rig of its own, each image a frame);
reads text and binary, of COLMAP 3 as well, whose folders have no rigs and frames. Observations of points in images
are not kept in a corpus, so written points have empty tracks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmkit.camera import Array, Lens, invert_rigid
from wmkit.clip import Points
from wmkit.errors import InputError
from wmkit.formats.colmap_binary import points_of_rows, read_cameras_binary, read_images_binary, read_points_binary
from wmkit.formats.text import number, numbers, parse_numbers, read_lines, write_lines
from wmkit.formats.track import (
    CameraTrack,
    matrix_from_quaternion,
    naming_file,
    quaternion_from_matrix,
    rigid_matrices,
)
from wmkit.lens_models import MODELS as LENSES

__all__ = ["model_folder", "read_colmap", "write_colmap"]

# model -> (index of each of fx fy cx cy among its parameters); what remains is distortion
PINHOLES = {
    "SIMPLE_PINHOLE": (0, 0, 1, 2),
    "PINHOLE": (0, 1, 2, 3),
    "SIMPLE_RADIAL": (0, 0, 1, 2),
    "RADIAL": (0, 0, 1, 2),
    "OPENCV": (0, 1, 2, 3),
    "FULL_OPENCV": (0, 1, 2, 3),
}


def write_colmap(track: CameraTrack, folder: Path) -> None:
    """Write cameras.txt, rigs.txt, frames.txt, images.txt and points3D.txt into `folder`.

    Frames with equal intrinsics share a camera. Raises InputError without intrinsics, sizes or names, or when a name
    holds a blank.
    """
    if track.names is None or any(not name or name.split() != [name] for name in track.names):
        raise InputError(f"{folder}: expected image names without blanks, COLMAP's text format needs them")
    intrinsics = track.intrinsics()
    camera_ids: dict[object, int] = {}
    camera_of = [camera_ids.setdefault(row, len(camera_ids) + 1) for row in intrinsics]
    cameras = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    rigs = ["# RIG_ID NUM_SENSORS REF_SENSOR_TYPE REF_SENSOR_ID"]
    for row, camera in zip(intrinsics, camera_of, strict=True):
        if camera == len(rigs):
            cameras.append(f"{camera} PINHOLE {row.width} {row.height} {numbers(row.row)}")
            rigs.append(f"{camera} 1 CAMERA {camera}")
    cam_from_world = invert_rigid(track.world_from_cam)
    table = np.column_stack([quaternion_from_matrix(cam_from_world[:, :3, :3]), cam_from_world[:, :3, 3]])
    frames = ["# FRAME_ID RIG_ID RIG_FROM_WORLD[QW QX QY QZ TX TY TZ] NUM_DATA_IDS (SENSOR_TYPE SENSOR_ID DATA_ID)[]"]
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then a line of POINTS2D[]"]
    for image, (row, camera, name) in enumerate(zip(table, camera_of, track.names, strict=True), start=1):
        frames.append(f"{image} {camera} {numbers(row)} 1 CAMERA {camera} {image}")
        images.extend((f"{image} {numbers(row)} {camera} {name}", ""))
    for name, lines in (("cameras", cameras), ("rigs", rigs), ("frames", frames), ("images", images)):
        write_lines(folder / f"{name}.txt", lines)
    write_lines(folder / "points3D.txt", _point_lines(track.points))


def model_folder(path: Path) -> Path:
    """Where the model of a COLMAP folder lies: in its sparse/0, if it has one."""
    beneath = path / "sparse" / "0"
    return beneath if beneath.is_dir() else path


def read_colmap(folder: Path) -> CameraTrack:
    """Read a model's registered images, sorted by name, and its points; text where there is text, else binary.

    Distorted cameras become the track's `lens`. Raises InputError naming file and line when the model is damaged or
    empty, has a camera that no `Lens` can be, or several lenses.
    """
    if (folder / "cameras.txt").exists():
        cameras, images = _cameras_text(folder / "cameras.txt"), list(_images_text(folder / "images.txt"))
        points = _points_text(folder / "points3D.txt")
    elif (folder / "cameras.bin").exists():
        cameras = {
            camera: _camera(folder / "cameras.bin", model, size, np.array(params))
            for camera, model, size, params in read_cameras_binary(folder / "cameras.bin")
        }
        images = [_Image(*image) for image in read_images_binary(folder / "images.bin")]
        points = read_points_binary(folder / "points3D.bin")
    else:
        raise InputError(f"{folder}: expected a COLMAP model (cameras.txt or cameras.bin), found neither")
    if not images:
        raise InputError(f"{folder}: expected at least one registered image, got none")
    images.sort(key=lambda image: image.name)
    unknown = [image.name for image in images if image.camera not in cameras]
    if unknown:
        raise InputError(f"{folder}: expected a camera for every image, {unknown[0]} has none")
    table = np.array([image.row for image in images])
    with naming_file(folder):
        cam_from_world = rigid_matrices(matrix_from_quaternion(table[:, :4]), table[:, 4:])
        return CameraTrack(
            world_from_cam=invert_rigid(cam_from_world),
            intrinsics_px=np.array([cameras[image.camera].row for image in images]),
            size_px=np.array([cameras[image.camera].size for image in images]),
            names=tuple(image.name for image in images),
            points=points,
            lens=_one_lens(folder, {cameras[image.camera].lens for image in images}),
        )


@dataclass(frozen=True, slots=True)
class _Image:
    row: tuple[float, ...]  # qw qx qy qz tx ty tz, world to camera
    camera: int
    name: str


@dataclass(frozen=True, slots=True)
class _Camera:
    row: Array  # fx fy cx cy, of the undistorted picture if there is a lens
    size: tuple[int, int]
    lens: Lens | None = None


def _camera(where: Path | str, model: str, size: tuple[int, int], params: Array) -> _Camera:
    known = PINHOLES.keys() | LENSES.keys()
    if model not in known:
        raise InputError(f"{where}: expected one of the camera models {', '.join(sorted(known))}, got {model}")
    index = PINHOLES.get(model)
    if index is not None and len(params) > max(index) and not params[max(index) + 1 :].any():
        return _Camera(row=params[list(index)], size=size)
    if model not in LENSES:
        raise InputError(f"{where}: expected an undistorted {model} camera; run colmap image_undistorter first")
    with naming_file(where):
        lens = Lens(model=model, params=tuple(params.tolist()), width=size[0], height=size[1])
        return _Camera(row=lens.default_pinhole().row, size=size, lens=lens)


def _one_lens(folder: Path, lenses: set[Lens | None]) -> Lens | None:
    if len(lenses) > 1:
        raise InputError(
            f"{folder}: expected one lens for all images, got {len(lenses)}; run colmap image_undistorter first"
        )
    return next(iter(lenses))


def _cameras_text(path: Path) -> dict[int, _Camera]:
    cameras: dict[int, _Camera] = {}
    for line, text in _data_lines(path):
        fields = text.split()
        if len(fields) < 5:
            raise InputError(f"{path}:{line}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS[], got {text[:80]!r}")
        camera, width, height = (int(value) for value in parse_numbers(path, line, [fields[0], *fields[2:4]]))
        params = np.array(parse_numbers(path, line, fields[4:]))
        cameras[camera] = _camera(f"{path}:{line}", fields[1], (width, height), params)
    return cameras


def _images_text(path: Path) -> Iterator[_Image]:
    lines = iter(read_lines(path))
    for line, text in lines:
        if not text.strip() or text.startswith("#"):
            continue
        fields = text.split()
        if len(fields) != 10:
            raise InputError(f"{path}:{line}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, got {text[:80]!r}")
        values = parse_numbers(path, line, fields[:9])
        next(lines, None)  # the image's observations: the line may be empty but is always there
        yield _Image(row=tuple(values[1:8]), camera=int(values[8]), name=fields[9])


def _points_text(path: Path) -> Points | None:
    if not path.exists():
        return None
    rows: list[list[float]] = []
    for line, text in _data_lines(path):
        fields = text.split()
        if len(fields) < 8 or len(fields) % 2:
            raise InputError(f"{path}:{line}: expected POINT3D_ID X Y Z R G B ERROR TRACK[], got {text[:80]!r}")
        rows.append([*parse_numbers(path, line, fields[1:8]), (len(fields) - 8) // 2])
    return points_of_rows(path, rows)


def _point_lines(points: Points | None) -> Iterator[str]:
    yield "# POINT3D_ID X Y Z R G B ERROR TRACK[]"
    if points is None:
        return
    for index in range(len(points)):
        error = float(points.error_px[index])
        color = " ".join(str(value) for value in points.rgb[index])
        yield f"{index + 1} {numbers(points.xyz[index])} {color} {'-1' if np.isnan(error) else number(error)}"


def _data_lines(path: Path) -> Iterator[tuple[int, str]]:
    return ((line, text) for line, text in read_lines(path) if text.strip() and not text.startswith("#"))
