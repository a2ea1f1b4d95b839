"""GoPro's metadata format (GPMF): nested key-length-value records, as in GoPro's public description of it.

A record is a four-character key, a type letter, the bytes of one sample (1), how many samples (2, big endian), then
the payload, padded to 4 bytes. Type 0 holds records. Nothing here believes a length: what runs over its parent's end
is an InputError, and nesting is bounded.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wmkit.camera import Array
from wmkit.errors import InputError

__all__ = ["GpmfRecord", "GpmfStream", "read_gpmf"]

_MAX_DEPTH = 8
_DTYPES = {
    "b": ">i1",
    "B": ">u1",
    "d": ">f8",
    "f": ">f4",
    "j": ">i8",
    "J": ">u8",
    "l": ">i4",
    "L": ">u4",
    "q": ">i4",
    "Q": ">i8",
    "s": ">i2",
    "S": ">u2",
}
_FIXED_POINT = {"q": 2.0**16, "Q": 2.0**32}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpmfRecord:
    """One record: `kind` is the type letter, "" for a nest; `size` bytes a sample, `count` samples in `data`."""

    key: str
    kind: str
    size: int
    count: int
    data: bytes

    def text(self) -> str:
        """Characters of a 'c' record, without the padding."""
        return self.data.decode("latin-1").rstrip("\0 ")

    def numbers(self, layout: str = "") -> Array:
        """(count, columns) float64; `layout` is the type letters of one sample of a complex record ('?').

        Raises InputError for letters that are no numbers or do not fill the sample.
        """
        letters = layout if self.kind == "?" else self.kind
        if not letters or any(letter not in _DTYPES for letter in letters):
            raise InputError(f"GPMF {self.key}: expected numbers, got type {self.kind!r} {layout!r}")
        if self.kind == "?":
            dtype = np.dtype([(f"c{index}", _DTYPES[letter]) for index, letter in enumerate(letters)])
        else:
            width = np.dtype(_DTYPES[letters]).itemsize
            letters *= max(self.size // width, 1)
            dtype = np.dtype([(f"c{index}", _DTYPES[letter]) for index, letter in enumerate(letters)])
        if dtype.itemsize != self.size:
            raise InputError(f"GPMF {self.key}: expected samples of {dtype.itemsize} bytes, got {self.size}")
        rows = np.frombuffer(self.data, dtype=dtype, count=self.count)
        columns = [
            rows[name].astype(np.float64) / _FIXED_POINT.get(letter, 1.0)
            for name, letter in zip(dtype.names or (), letters, strict=True)
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpmfStream:
    """One STRM of one device in one payload: its records by key (the last of a key counts) and the device's name."""

    device: str
    records: dict[str, GpmfRecord]

    def scaled(self, key: str) -> Array | None:
        """(count, columns) of a sensor's record divided by SCAL; None when it is absent.

        Raises InputError when SCAL is zero, not finite or has another number of columns.
        """
        record = self.records.get(key)
        if record is None:
            return None
        layout = self.records["TYPE"].text() if "TYPE" in self.records else ""
        values = record.numbers(layout)
        scale = self.records["SCAL"].numbers().ravel() if "SCAL" in self.records else np.ones(1)
        if len(scale) not in (1, values.shape[1]) or not np.isfinite(scale).all() or (scale == 0).any():
            raise InputError(f"GPMF {key}: expected 1 or {values.shape[1]} divisors other than 0, got {scale.tolist()}")
        return values / scale


def read_gpmf(payload: bytes) -> list[GpmfStream]:
    """Every stream of one payload, in order; InputError when a record is cut off or nested too deep."""
    streams: list[GpmfStream] = []
    _collect(payload, "", 0, streams)
    return streams


def _collect(data: bytes, device: str, depth: int, streams: list[GpmfStream]) -> None:
    if depth > _MAX_DEPTH:
        raise InputError(f"GPMF: expected at most {_MAX_DEPTH} levels of records, got more")
    records = {}
    for record in _records(data):
        if record.key == "DVNM":
            device = record.text()
        if record.kind == "":
            _collect(record.data, device, depth + 1, streams)
        else:
            records[record.key] = record
    if depth >= 2 and records:  # DEVC holds STRM; what lies in neither is no sensor
        streams.append(GpmfStream(device=device, records=records))


def _records(data: bytes) -> Iterator[GpmfRecord]:
    place = 0
    while place + 8 <= len(data):
        key = data[place : place + 4]
        if key == b"\0\0\0\0":  # padding
            place += 4
            continue
        kind, size, count = struct.unpack_from(">BBH", data, place + 4)
        length = size * count
        end = place + 8 + length
        if end > len(data):
            raise InputError(f"GPMF {key!r}: expected {length} bytes, got {len(data) - place - 8}")
        name = key.decode("latin-1")
        yield GpmfRecord(key=name, kind=chr(kind) if kind else "", size=size, count=count, data=data[place + 8 : end])
        place += 8 + (length + 3) // 4 * 4
