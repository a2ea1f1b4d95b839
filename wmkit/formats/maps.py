"""Depth maps and masks as the pictures that formats want: at the frames' size, in files of one value a pixel."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.formats.text import write_bytes

__all__ = ["DEEPEST", "enlarged", "write_array_map", "write_depth_png", "write_mask_png"]

DEEPEST = 65535  # steps of a 16-bit picture


def enlarged(picture: NDArray, size: tuple[int, int]) -> NDArray:
    """(h, w) to `size` (width, height) by repeating what is there: no value is made up between two surfaces."""
    column = (np.arange(size[0]) + 0.5) * picture.shape[1] / size[0]
    row = (np.arange(size[1]) + 0.5) * picture.shape[0] / size[1]
    return picture[row.astype(int)][:, column.astype(int)]


def write_depth_png(path: Path, z: NDArray[np.float32], step: float) -> int:
    """Depth (h, w), 0 where unknown, as 16-bit PNG in steps of `step` units; how many pixels are too deep for it.

    Those are written as unknown. A depth above 0 never becomes 0 by rounding.
    """
    steps = np.rint(z / step)
    beyond = steps > DEEPEST
    steps = np.where(z > 0, np.maximum(steps, 1), 0)
    _write_png(path, np.where(beyond, 0, steps).astype(np.uint16))
    return int(beyond.sum())


def write_mask_png(path: Path, used: NDArray[np.bool_]) -> None:
    """255 where a pixel may be used, 0 where not: what COLMAP and nerfstudio call a mask."""
    _write_png(path, used.astype(np.uint8) * np.uint8(255))


def write_array_map(path: Path, z: NDArray[np.float32]) -> None:
    """Depth (h, w), 0 where unknown, as COLMAP's dense maps are: `width&height&1&`, then float32 row by row."""
    height, width = z.shape
    write_bytes(path, f"{width}&{height}&1&".encode() + np.ascontiguousarray(z, dtype="<f4").tobytes())


def _write_png(path: Path, picture: NDArray) -> None:
    import cv2

    write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())
