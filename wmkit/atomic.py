"""Files that are either whole or absent, with bytes that depend on their content alone."""

import io
import json
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HEADER_LOCK",
    "deflated_npz_bytes",
    "fsync_folder",
    "json_bytes",
    "npz_bytes",
    "write_atomic",
    "write_synced",
]


HEADER_LOCK = threading.Lock()
"""Held while numpy reads an array in a program with threads: numpy parses the header with `ast`, and CPython 3.11
raises "AST constructor recursion depth mismatch" when two threads do so at once (python/cpython#106905)."""


GZIP_HEADER, GZIP_TRAILER = 10, 8  # bytes around the deflated ones when the header has no optional field


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
            archive.writestr(info, _npy_bytes(arrays[name]))
    return buffer.getvalue()


def deflated_npz_bytes(arrays: Mapping[str, NDArray]) -> bytes:
    """As `npz_bytes`, deflated: for large arrays.

    The deflate is pyarrow's, whose wheel carries its own zlib and is locked; zipfile would call the interpreter's. For
    zipfile cannot be given bytes that are deflated already, the archive's few headers are written here (PKWARE's
    APPNOTE 4.3). ValueError beyond 4 GiB.
    """
    from pyarrow import Codec

    codec, body, directory = Codec("gzip", compression_level=6), bytearray(), bytearray()
    for name in sorted(arrays):
        plain, path = _npy_bytes(arrays[name]), f"{name}.npy".encode()
        packed = codec.compress(plain, asbytes=True)[GZIP_HEADER:-GZIP_TRAILER]
        if max(len(plain), len(body) + len(packed)) >= 1 << 32:
            raise ValueError(f"{name}: expected an archive below 4 GiB, got {len(plain)} bytes of this array alone")
        # version 2.0, no flags, deflate, midnight of 1980-01-01, sizes, no extra field
        facts = struct.pack("<5H3I2H", 20, 0, 8, 0, 33, zlib.crc32(plain), len(packed), len(plain), len(path), 0)
        made_by_unix, mode = 3 << 8 | 20, 0o644 << 16
        place = struct.pack("<3H2I", 0, 0, 0, mode, len(body))
        directory += b"PK\x01\x02" + struct.pack("<H", made_by_unix) + facts + place + path
        body += b"PK\x03\x04" + facts + path + packed
    count, start, size = len(arrays), len(body), len(directory)
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, count, count, size, start, 0)
    return bytes(body + directory + end)


def _npy_bytes(array: NDArray) -> bytes:
    """One .npy; every NaN becomes the one NaN."""
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


def fsync_folder(path: Path) -> None:
    """Make the names inside a folder durable: a rename is only safe on disk after its folder was synced."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by one rename: a reader or a killed run sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def _plain_number(value: object) -> object:
    """numpy integers and bools, which json does not know; anything else is a mistake."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected JSON values, got {type(value).__name__}")
