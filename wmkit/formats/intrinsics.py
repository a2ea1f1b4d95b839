"""Intrinsics alone in a file: fx fy cx cy or K, px of a picture whose size the reader is told."""

import json
from pathlib import Path

import numpy as np

from wmkit.camera import Array, Intrinsics
from wmkit.errors import InputError
from wmkit.formats.any import read_trajectory
from wmkit.formats.numpy_file import read_array, read_arrays

__all__ = ["FOV_DEG", "checked_intrinsics", "intrinsics_of_file", "read_intrinsics"]

FOV_DEG = (25.0, 120.0)  # horizontal; outside of it no ordinary lens, and no training clip, is


def read_intrinsics(path: Path, size_px: tuple[int, int]) -> Array:
    """`intrinsics_of_file` for a picture of `size_px`; InputError when the file states another size."""
    rows, size = intrinsics_of_file(path)
    if size is not None and size != size_px:
        raise InputError(
            f"--intrinsics {path}: expected those of the {size_px[0]}x{size_px[1]} picture, got {size[0]}x{size[1]}"
        )
    return rows


def intrinsics_of_file(path: Path) -> tuple[Array, tuple[int, int] | None]:
    """fx fy cx cy (N, 4) px, and the (width, height) of their picture where the file states it.

    .npy (4,), (3, 3), (N, 4) or (N, 3, 3); .npz `intrinsics` of these shapes; .txt of 4 or 9 numbers; .json
    `{"fx", "fy", "cx", "cy"}` with optional width and height, or a trajectory file that holds intrinsics.
    Raises InputError naming the file when it is missing, unreadable or none of these.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"--intrinsics: expected a file, found none at {path}")
    try:
        if suffix == ".json":
            return _json_rows(path)
        if suffix == ".txt":
            values = [float(word) for word in path.read_text(encoding="utf-8").replace(",", " ").split()]
            array = np.array(values if len(values) != 9 else np.reshape(values, (3, 3)))
        elif suffix == ".npy":
            array = read_array(path)
        elif suffix == ".npz":
            arrays = read_arrays(path)
            if "intrinsics" not in arrays:
                got = ", ".join(sorted(arrays)) or "none"
                raise InputError(f"--intrinsics {path}: expected an array named intrinsics, got {got}")
            array = arrays["intrinsics"]
        else:
            raise InputError(f"--intrinsics: expected .npy, .npz, .json or .txt, got {path}")
        array = np.asarray(array, dtype=np.float64)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"--intrinsics {path}: expected fx fy cx cy or K in px, got: {error}") from error
    if array.shape[-2:] == (3, 3) and array.ndim in (2, 3):
        matrices = array.reshape(-1, 3, 3)
        rows = np.stack([matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 0, 2], matrices[:, 1, 2]], axis=1)
        return rows, None
    if array.ndim in (1, 2) and array.shape[-1] == 4 and array.size:
        return array.reshape(-1, 4), None
    raise InputError(
        f"--intrinsics {path}: expected fx fy cx cy (4 numbers, or 4 a frame) or K (3x3), got shape {array.shape}"
    )


def _json_rows(path: Path) -> tuple[Array, tuple[int, int] | None]:
    plain = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(plain, dict) and "fx" in plain:
        rows = np.array([[float(plain[name]) for name in ("fx", "fy", "cx", "cy")]])
        return rows, (int(plain["width"]), int(plain["height"])) if "width" in plain else None
    track = read_trajectory(path)
    if track.intrinsics_px is None:
        raise InputError(f"--intrinsics {path}: expected fx fy cx cy, found none in it")
    size = None if track.size_px is None else (int(track.size_px[0, 0]), int(track.size_px[0, 1]))
    if track.lens is not None:  # of the pictures as they are, not of the wider pinhole that they are delivered in
        return np.tile(track.lens.undistorted_core.row, (len(track), 1)), size
    return track.intrinsics_px, size


def checked_intrinsics(rows: Array, size_px: tuple[int, int], name: str) -> Array:
    """Finite, of a plausible field of view, centred within the middle half of the picture."""
    width, height = size_px
    if not np.isfinite(rows).all() or (rows[:, :2] <= 0).any():
        raise InputError(f"{name}: expected finite fx fy cx cy with positive focal lengths, got {rows[0].tolist()}")
    off = np.abs(rows[:, 2:] / np.array([width, height]) - 0.5).max(axis=1)
    if (off > 0.25).any():
        cx, cy = rows[int(off.argmax()), 2:]
        raise InputError(
            f"{name}: expected a principal point near the middle of the {width}x{height} picture, got "
            f"({cx:g}, {cy:g}); are they of another size?"
        )
    for fx, fy, cx, cy in rows.tolist():
        fov_deg = Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height).fov_x_deg
        if not FOV_DEG[0] <= fov_deg <= FOV_DEG[1]:
            raise InputError(
                f"{name}: expected a horizontal field of view of {FOV_DEG[0]:g} to {FOV_DEG[1]:g} degrees on the "
                f"{width}x{height} picture, got {fov_deg:.3g}; are they of another size?"
            )
    return rows
