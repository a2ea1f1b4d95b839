"""Reading COLMAP's binary cameras, images and points3D: little endian, a count of records, then the records."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wmkit.clip import Points
from wmkit.errors import InputError
from wmkit.formats.track import naming_file

__all__ = ["points_of_rows", "read_cameras_binary", "read_images_binary", "read_points_binary"]

# model id -> (name, number of parameters), those of COLMAP's list that reduce to a pinhole or are a Lens
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
}


class _Reader:
    """Walks the bytes of one file; InputError with the offset where they end too early."""

    def __init__(self, path: Path) -> None:
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: expected a readable file, got: {error.strerror}") from error
        self.path, self.offset = path, 0

    def take(self, layout: str) -> tuple[float, ...]:
        size = struct.calcsize(f"<{layout}")
        self.skip(size)
        return struct.unpack_from(f"<{layout}", self.data, self.offset - size)

    def count(self) -> int:
        return int(self.take("Q")[0])

    def skip(self, size: int) -> None:
        if self.offset + size > len(self.data):
            raise InputError(f"{self.path}: expected {size} more bytes at offset {self.offset}, the file ends there")
        self.offset += size

    def word(self) -> str:
        end = self.data.find(b"\0", self.offset)
        if end < 0:
            raise InputError(f"{self.path}: expected a name that ends in a zero byte at offset {self.offset}")
        word, self.offset = self.data[self.offset : end], end + 1
        return word.decode("utf-8", errors="surrogateescape")


def read_cameras_binary(path: Path) -> list[tuple[int, str, tuple[int, int], tuple[float, ...]]]:
    """(camera id, model name, (width, height), parameters) of every camera; InputError for a model wmkit cannot use."""
    reader = _Reader(path)
    cameras = []
    for _ in range(reader.count()):
        camera, model, width, height = (int(value) for value in reader.take("IiQQ"))
        if model not in MODELS:
            raise InputError(f"{path}: expected a camera model that reduces to a pinhole, got model id {model}")
        name, count = MODELS[model]
        cameras.append((camera, name, (width, height), reader.take(f"{count}d")))
    return cameras


def read_images_binary(path: Path) -> list[tuple[tuple[float, ...], int, str]]:
    """((qw qx qy qz tx ty tz) world to camera, camera id, name) of every image; observations are passed over."""
    reader = _Reader(path)
    images = []
    for _ in range(reader.count()):
        _, *row, camera = reader.take("I7dI")
        name = reader.word()
        reader.skip(24 * reader.count())
        images.append((tuple(row), int(camera), name))
    return images


def read_points_binary(path: Path) -> Points | None:
    """Points with their track lengths; None when the model has no such file."""
    if not path.exists():
        return None
    reader = _Reader(path)
    rows = []
    for _ in range(reader.count()):
        _, *row = reader.take("Q3d3Bd")
        length = reader.count()
        reader.skip(8 * length)
        rows.append((*row, length))
    return points_of_rows(path, rows)


def points_of_rows(path: Path, rows: Sequence[Sequence[float]]) -> Points:
    """Points of rows x y z r g b error track_length; COLMAP's error -1 (never computed) becomes NaN."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    if not ((table[:, 3:6] >= 0) & (table[:, 3:6] <= 255)).all():
        raise InputError(f"{path}: expected colours from 0 to 255")
    error = np.where(table[:, 6] < 0, np.nan, table[:, 6])
    with naming_file(path):
        return Points(
            xyz=table[:, :3],
            rgb=table[:, 3:6].astype(np.uint8),
            error_px=error.astype(np.float32),
            track_length=table[:, 7].astype(np.int32),
        )
