"""Files that are either whole or absent, with bytes that depend on their content alone; the one door to the disk.

A name is on disk once its folder was synced, bytes once their file was: what is here returns when both are.
"""

import errno
import io
import json
import os
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HEADER_LOCK",
    "check_room",
    "fsync_folder",
    "json_bytes",
    "make_folder",
    "move_away",
    "no_room",
    "npy_bytes",
    "npz_bytes",
    "put_in_place",
    "sweep",
    "sync_file",
    "take_away",
    "write_atomic",
    "write_pieces",
    "write_synced",
]


HEADER_LOCK = threading.Lock()
"""Held while numpy reads an array in a program with threads: numpy parses the header with `ast`, and CPython 3.11
raises "AST constructor recursion depth mismatch" when two threads do so at once (python/cpython#106905)."""


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # the disk, the user's quota, the process' own limit


def no_room(error: BaseException | None) -> bool:
    """Whether this is the disk saying that it is full: nothing is wrong with what was to be written."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def check_room(folder: Path, size_bytes: int) -> None:
    """Raise the disk's own OSError when a file of this size has no room in the folder: libraries often do not say."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size_bytes)


def json_bytes(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and the shortest exact form of every float; NaN and infinity raise ValueError."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=_plain_number)
    return (text + "\n").encode()


def npz_bytes(arrays: Mapping[str, NDArray]) -> bytes:
    """An .npz that `numpy.load(allow_pickle=False)` reads.

    Members are stored, not deflated: deflate's bytes change with the zlib the interpreter was built with. Order,
    date and permissions are fixed, and every NaN becomes the one NaN, whatever arithmetic it came from.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix: zipfile would write the platform's own number
            info.external_attr = 0o644 << 16
            archive.writestr(info, npy_bytes(arrays[name]))
    return buffer.getvalue()


def npy_bytes(array: NDArray) -> bytes:
    """One .npy of an array without objects; every NaN becomes the one NaN."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind == "f" and np.isnan(array).any():
        array = np.where(np.isnan(array), np.array(np.nan, dtype=array.dtype), array)
    member = io.BytesIO()
    np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return member.getvalue()


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_pieces(path: Path, pieces: Iterable[tuple[int, bytes | memoryview]]) -> None:
    """Put bytes at their places in a file that is there, and wait until the disk has them."""
    with open(path, "r+b") as file:
        for place, data in pieces:
            file.seek(place)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Make the names inside a folder durable: a rename is only safe on disk after its folder was synced."""
    sync_file(path)


def sync_file(path: Path) -> None:
    """Wait until the disk has the bytes of a file that somebody else wrote."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are not there; no power cut takes them away again."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync_folder(path.parent)


def put_in_place(source: Path, target: Path) -> None:
    """Give a file or folder its name by one rename, instead of an older file of it. Its bytes are synced already."""
    os.replace(source, target)
    fsync_folder(target.parent)


def take_away(path: Path) -> None:
    """Remove a file, if there is one; no power cut brings it back."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    fsync_folder(path.parent)


def move_away(path: Path, away: Path) -> bool:
    """Rename a file or folder out of the way, durably; False when there is none."""
    try:
        os.replace(path, away)
    except FileNotFoundError:
        return False
    fsync_folder(path.parent)
    return True


def sweep(folder: Path) -> None:
    """Remove what killed runs left of `write_atomic`. Only for who keeps all others from writing there."""
    for left in folder.glob(".*.tmp"):
        if left.is_file():
            left.unlink()


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by one rename: a reader or a killed run sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, data)
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain_number(value: object) -> object:
    """numpy integers and bools, which json does not know; anything else is a mistake."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected JSON values, got {type(value).__name__}")
