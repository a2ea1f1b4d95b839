"""What an image's header says before its pixels are decoded: size, and the EXIF orientation and focal length.

OpenCV decodes at once and allocates whatever a header asks for, so the size is read here first.
"""

import struct

from wmkit.errors import ClipError
from wmkit.video.guard import STAGE

__all__ = ["clockwise_from_exif", "exif_focal_35mm", "exif_orientation", "image_size"]

_PNG = b"\x89PNG\r\n\x1a\n"
_ORDERS = {b"II": "<", b"MM": ">"}
_ORIENTATION_TAG, _EXIF_IFD_TAG, _FOCAL_35MM_TAG = 0x0112, 0x8769, 0xA405
_SHORT, _LONG = 3, 4
# Clockwise turn that undoes each orientation that has no mirror (EXIF 2.32, tag 274).
_CLOCKWISE_DEG = {1: 0, 3: 180, 6: 90, 8: 270}


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) px from a PNG or JPEG header; None for other or damaged ones."""
    if data[:8] == _PNG and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walks the marker segments to the start of frame (ITU-T T.81, B.1.1.4 and B.2.2)."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None


def exif_orientation(exif: bytes) -> int | None:
    """Tag 274 of an EXIF block (a TIFF header, perhaps after "Exif\\0\\0"); None when absent or damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    value = _tag(exif, _start_of_ifd0(exif), _ORIENTATION_TAG)
    return value if value is not None and 1 <= value <= 8 else None


def exif_focal_35mm(exif: bytes) -> float | None:
    """Focal length in mm of a 35 mm film camera of the same view (tag 41989); None when absent, zero or damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    value = _tag(exif, _tag(exif, _start_of_ifd0(exif), _EXIF_IFD_TAG), _FOCAL_35MM_TAG)
    return float(value) if value else None  # 0 is EXIF's word for unknown


def _start_of_ifd0(exif: bytes) -> int | None:
    """Where the first directory of a TIFF begins; None when it is no TIFF."""
    order = _ORDERS.get(exif[:2])
    return struct.unpack_from(order + "I", exif, 4)[0] if order and len(exif) >= 8 else None


def _tag(exif: bytes, start: int | None, wanted: int) -> int | None:
    """A SHORT or LONG of the directory at `start`; None when it is absent, of another kind or cut off."""
    if start is None or start + 2 > len(exif):
        return None
    order = _ORDERS[exif[:2]]
    entries = struct.unpack_from(order + "H", exif, start)[0]
    for place in range(start + 2, min(start + 2 + 12 * entries, len(exif) - 11), 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, place)
        if tag == wanted:
            fits = kind in (_SHORT, _LONG) and count == 1
            return struct.unpack_from(order + ("H" if kind == _SHORT else "I"), exif, place + 8)[0] if fits else None
    return None


def clockwise_from_exif(name: str, orientation: int | None) -> int:
    """Clockwise turn that makes the stored picture upright; no orientation means upright as stored.

    Raises ClipError `mirrored` for 2, 4, 5 and 7: a mirrored picture is no view of the world a camera path explains.
    """
    turn = 0 if orientation is None else _CLOCKWISE_DEG.get(orientation)
    if turn is None:
        message = (
            f"{name}: expected an EXIF orientation without a mirror (1, 3, 6, 8), got {orientation}; mirror it back"
        )
        raise ClipError(STAGE, "mirrored", message)
    return turn
