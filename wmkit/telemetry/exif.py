"""GPS positions and capture times of still images, from their EXIF block (CIPA DC-008, GPS IFD)."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from wmkit.telemetry.track import GpsTrack, enu_m

__all__ = ["StillFix", "exif_block", "gps_of_stills", "read_still"]

_HEAD_BYTES = 1 << 20  # an EXIF block has at most 64 KiB and stands before the picture
_PNG = b"\x89PNG\r\n\x1a\n"
_ORDERS = {b"II": "<", b"MM": ">"}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
_EXIF_IFD, _GPS_IFD, _ORIGINAL = 0x8769, 0x8825, 0x9003
MIN_SIGMA_M, MAX_SIGMA_M, UNKNOWN_SIGMA_M = 3.0, 50.0, 8.0  # one axis of a phone's fix
METRES_PER_DOP = 1.0  # phones that write a DOP write the radius in metres (Apple, Mapillary) or a true dilution
SECONDS_A_STILL = 5.0  # between stills without capture times: someone who walks and stops


@dataclass(frozen=True, slots=True, kw_only=True)
class StillFix:
    """Position of one still: degrees, metres above the sea or NaN, sigma of one axis, capture seconds or None."""

    lat_deg: float
    lon_deg: float
    alt_m: float
    sigma_m: float
    taken_s: float | None


def read_still(path: Path) -> StillFix | None:
    """The position in an image's EXIF block; None when it has none or the block is damaged."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return None
    block = exif_block(head)
    return None if block is None else _fix(_Tiff(block))


def gps_of_stills(folder: Path, images: tuple[str, ...], image_fps: float, origin_s: float) -> GpsTrack | None:
    """Positions of an image folder's stills at their places in the sequence; None when fewer than one has any.

    A fix that repeats the one before to the last digit is a receiver that has not moved on: it is marked 0.
    """
    fixes = [read_still(folder / name) for name in images]
    rows = [index for index, fix in enumerate(fixes) if fix is not None]
    found = [fix for fix in fixes if fix is not None]
    if not found:
        return None
    lat = np.array([fix.lat_deg for fix in found])
    lon = np.array([fix.lon_deg for fix in found])
    fresh = np.r_[True, (np.diff(lat) != 0) | (np.diff(lon) != 0)]
    alt = np.array([fix.alt_m for fix in found])
    taken = [fix.taken_s for fix in found]
    elapsed = np.array(rows, dtype=np.float64) * SECONDS_A_STILL
    if all(value is not None for value in taken):
        times = np.array(taken, dtype=np.float64)
        if (np.diff(times) >= 0).all():
            elapsed = times
    return GpsTrack(
        time_s=np.array(rows) / image_fps - origin_s,
        enu_m=enu_m(lat, lon, alt),
        sigma_m=np.array([fix.sigma_m for fix in found]),
        fix=np.where(fresh, np.where(np.isfinite(alt), 3, 2), 0),
        elapsed_s=elapsed - elapsed[0],
        clock_sigma_s=0.0,
        source="exif",
    )


def exif_block(data: bytes) -> bytes | None:
    """The TIFF structure of a JPEG, PNG or WebP's EXIF block; None when there is none in `data`."""
    if data[:2] == b"\xff\xd8":
        return _jpeg_block(data)
    if data[:8] == _PNG:
        return _chunk(data, 8, b"eXIf", ">")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        block = _chunk(data, 12, b"EXIF", "<")
        return None if block is None else block.removeprefix(b"Exif\0\0")
    return None


def _jpeg_block(data: bytes) -> bytes | None:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in (0xDA, 0xD9):
            return None
        length = struct.unpack_from(">H", data, place + 2)[0]
        body = data[place + 4 : place + 2 + length]
        if marker == 0xE1 and body[:6] == b"Exif\0\0":
            return body[6:]
        place += 2 + max(length, 2)
    return None


def _chunk(data: bytes, place: int, wanted: bytes, order: str) -> bytes | None:
    """PNG chunks are length, name, body, CRC; RIFF's are name, length, body padded to 2."""
    while place + 8 <= len(data):
        if order == ">":
            length, name = struct.unpack_from(">I4s", data, place)
            step = 12 + length
        else:
            name, length = struct.unpack_from("<4sI", data, place)
            step = 8 + length + length % 2
        if name == wanted:
            return data[place + 8 : place + 8 + length]
        place += step
    return None


class _Tiff:
    """Tags of a TIFF structure; everything that points outside it is absent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = _ORDERS.get(data[:2])

    def first(self) -> int | None:
        if self.order is None or len(self.data) < 8:
            return None
        return struct.unpack_from(self.order + "I", self.data, 4)[0]

    def tags(self, start: int | None) -> dict[int, bytes | tuple[float, ...]]:
        """Tag to its numbers, or to its bytes for text; of the directory at `start`."""
        found: dict[int, bytes | tuple[float, ...]] = {}
        if start is None or self.order is None or start + 2 > len(self.data):
            return found
        entries = struct.unpack_from(self.order + "H", self.data, start)[0]
        for place in range(start + 2, min(start + 2 + 12 * entries, len(self.data) - 11), 12):
            tag, kind, count = struct.unpack_from(self.order + "HHI", self.data, place)
            size = _BYTES.get(kind, 0) * count
            if not 0 < size <= 65536:
                continue
            at = place + 8 if size <= 4 else struct.unpack_from(self.order + "I", self.data, place + 8)[0]
            if at + size <= len(self.data):
                found[tag] = self._value(kind, count, self.data[at : at + size])
        return found

    def _value(self, kind: int, count: int, raw: bytes) -> bytes | tuple[float, ...]:
        order = self.order or "<"
        if kind in (2, 7):
            return raw.rstrip(b"\0 ")
        if kind in (5, 10):
            parts = struct.unpack(f"{order}{2 * count}{'I' if kind == 5 else 'i'}", raw)
            return tuple(a / b if b else float("nan") for a, b in zip(parts[::2], parts[1::2], strict=True))
        return tuple(map(float, struct.unpack(f"{order}{count}{ {1: 'B', 3: 'H', 4: 'I', 9: 'i'}[kind] }", raw)))


def _numbers(value: bytes | tuple[float, ...] | None) -> tuple[float, ...]:
    return value if isinstance(value, tuple) and np.isfinite(value).all() else ()


def _fix(tiff: _Tiff) -> StillFix | None:
    main = tiff.tags(tiff.first())
    pointer = _numbers(main.get(_GPS_IFD))
    gps = tiff.tags(int(pointer[0]) if pointer else None)
    lat, lon = _degrees(gps.get(2), gps.get(1), b"NS"), _degrees(gps.get(4), gps.get(3), b"EW")
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180 or gps.get(9) == b"V" or (lat, lon) == (0.0, 0.0):
        return None
    altitude = _numbers(gps.get(6))
    below = gps.get(5) in ((1.0,), b"\x01")
    radius, dop = _numbers(gps.get(31)), _numbers(gps.get(11))
    if radius and radius[0] > 0:
        sigma_m = radius[0] / np.sqrt(2)  # a 68 % radius in the plane, to one axis
    elif dop and dop[0] > 0:
        sigma_m = METRES_PER_DOP * dop[0]
    else:
        sigma_m = UNKNOWN_SIGMA_M
    pointer = _numbers(main.get(_EXIF_IFD))
    detail = tiff.tags(int(pointer[0]) if pointer else None)
    return StillFix(
        lat_deg=lat,
        lon_deg=lon,
        alt_m=(-altitude[0] if below else altitude[0]) if altitude else float("nan"),
        sigma_m=float(np.clip(sigma_m, MIN_SIGMA_M, MAX_SIGMA_M)),
        taken_s=_taken_s(detail.get(_ORIGINAL)),
    )


def _degrees(
    value: bytes | tuple[float, ...] | None, side: bytes | tuple[float, ...] | None, sides: bytes
) -> float | None:
    parts = _numbers(value)
    if len(parts) != 3 or not isinstance(side, bytes) or side[:1] not in (sides[:1], sides[1:]) or min(parts) < 0:
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    return -degrees if side[:1] == sides[1:] else degrees


def _taken_s(value: bytes | tuple[float, ...] | None) -> float | None:
    """Seconds since 1970 as if the camera's local time were UTC: only differences are used."""
    if not isinstance(value, bytes):
        return None
    try:
        return datetime.strptime(value.decode("ascii", "replace"), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
