"""What a clip's own container says of its lens: EXIF of stills, QuickTime keys of videos. No pixel is decoded.

A 35 mm equivalent relates the diagonals of sensor and film (CIPA DCG-001), 43.27 mm of film's; but phones and tools
also divide by film's width (36 mm) or by 35: on a 4:3 picture these differ by 4 to 7 %. The focal plane's resolution
(EXIF 41486) needs no such convention.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

from wmkit.video.frames import ClipFile, DecodeFacts
from wmkit.video.guard import OPEN_OPTIONS

__all__ = ["LensMetadata", "exif_block", "exif_focal_px", "lens_metadata"]

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
HEAD_BYTES = 1 << 18  # a JPEG's APP1 is at most 64 KiB and comes first
SIGMA_RESOLUTION, SIGMA_35MM, SIGMA_VIDEO = 0.03, 0.06, 0.15
AGREE = 1.02  # focal lengths of one folder's stills that differ by less are one lens, not zoomed
UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0}  # EXIF 41488
QUICKTIME_35MM = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
EXIF_IFD, FOCAL_MM, FOCAL_35MM, WIDTH_PX = 0x8769, 0x920A, 0xA405, 0xA002
PLANE_X, PLANE_Y, PLANE_UNIT = 0xA20E, 0xA20F, 0xA210


@dataclass(frozen=True, slots=True, kw_only=True)
class LensMetadata:
    """Focal lengths in px of the upright source picture, how good they are, and what said so.

    sigma_log  0.03 by focal plane resolution (rounded focal lengths), 0.06 by a still's 35 mm equivalent (whole mm,
               and its definition, see above), 0.15 by a video's (stabilisers crop up to a quarter of the picture).
    """

    fx: float
    fy: float
    sigma_log: float
    source: str


def lens_metadata(file: ClipFile, facts: DecodeFacts) -> LensMetadata | None:
    """What the container says of the lens; None when it says nothing, or its stills were zoomed in between."""
    return _of_images(file, facts) if file.images else _of_video(file, facts)


def _of_images(file: ClipFile, facts: DecodeFacts) -> LensMetadata | None:
    found = []
    for name in file.images:
        try:
            with (Path(file.path) / name).open("rb") as opened:
                exif = exif_block(opened.read(HEAD_BYTES))
        except OSError:
            continue  # the decoder has noted it
        lens = exif_focal_px(exif, (facts.decoded_width, facts.decoded_height))
        if lens is not None:
            found.append(lens)
    focal = [lens.fx for lens in found]
    if not found or max(focal) > AGREE * min(focal):
        return None
    first = found[0]
    turned = facts.rotation_deg in (90, 270)
    fx, fy = (first.fy, first.fx) if turned else (first.fx, first.fy)
    return LensMetadata(fx=fx, fy=fy, sigma_log=first.sigma_log, source=first.source)


def _of_video(file: ClipFile, facts: DecodeFacts) -> LensMetadata | None:
    try:
        with av.open(file.path, metadata_errors="replace", options=dict(OPEN_OPTIONS)) as container:
            tags = {key: value for stream in container.streams for key, value in stream.metadata.items()}
            tags |= container.metadata
    except (FFmpegError, OSError):
        return None  # it was decoded a moment ago: the decoder tells of it
    try:
        focal_35mm = float(tags.get(QUICKTIME_35MM, ""))
    except ValueError:
        return None
    if not (math.isfinite(focal_35mm) and focal_35mm > 0):
        return None
    focal = focal_35mm * math.hypot(*facts.upright_size) / FILM_DIAGONAL_MM
    return LensMetadata(fx=focal, fy=focal, sigma_log=SIGMA_VIDEO, source=f"quicktime 35 mm equivalent {focal_35mm:g}")


def exif_block(data: bytes) -> bytes:
    """The TIFF inside a JPEG's APP1, a PNG's eXIf or a WebP's EXIF chunk; empty when there is none in `data`."""
    if data[:2] == b"\xff\xd8":
        place = 2
        while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
            size = struct.unpack_from(">H", data, place + 2)[0]
            if data[place + 1] == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
                return data[place + 10 : place + 2 + size]
            place += 2 + size
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        place = 8
        while place + 8 <= len(data):
            size = struct.unpack_from(">I", data, place)[0]
            if data[place + 4 : place + 8] == b"eXIf":
                return data[place + 8 : place + 8 + size]
            place += 12 + size
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        place = 12
        while place + 8 <= len(data):
            size = struct.unpack_from("<I", data, place + 4)[0]
            if data[place : place + 4] == b"EXIF":
                return data[place + 8 : place + 8 + size].removeprefix(b"Exif\0\0")
            place += 8 + size + size % 2
    return b""


def exif_focal_px(exif: bytes, size_px: tuple[int, int]) -> LensMetadata | None:
    """Focal lengths of a picture of `size_px` as stored, from its EXIF; None when that does not say."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    start = _numbers(exif, order, struct.unpack_from(order + "I", exif, 4)[0]).get(EXIF_IFD)
    tags = _numbers(exif, order, int(start)) if start else {}
    by_plane = _by_focal_plane(tags, size_px)
    if by_plane is not None:
        return by_plane
    focal_35mm = tags.get(FOCAL_35MM, 0.0)
    if focal_35mm <= 0:  # 0 is EXIF's word for unknown
        return None
    focal = focal_35mm * math.hypot(*size_px) / FILM_DIAGONAL_MM
    return LensMetadata(fx=focal, fy=focal, sigma_log=SIGMA_35MM, source=f"exif 35 mm equivalent {focal_35mm:g}")


def _by_focal_plane(tags: dict[int, float], size_px: tuple[int, int]) -> LensMetadata | None:
    """Focal length over the sensor's width: its resolution is of the picture as taken, `size_px` may be smaller."""
    focal_mm, x, taken_px = (tags.get(tag, 0.0) for tag in (FOCAL_MM, PLANE_X, WIDTH_PX))
    y, unit_mm = tags.get(PLANE_Y, x), UNIT_MM.get(int(tags.get(PLANE_UNIT, 2)))
    if min(focal_mm, x, y, taken_px) <= 0 or unit_mm is None:
        return None
    sensor_mm = taken_px / x * unit_mm
    if not 1.0 <= sensor_mm <= 70.0:  # from a phone's smallest to medium format: beyond it the tag is wrong
        return None
    fx = focal_mm / sensor_mm * size_px[0]
    source = f"exif focal length {focal_mm:g} mm on a sensor of {sensor_mm:.2f} mm"
    return LensMetadata(fx=fx, fy=fx * y / x, sigma_log=SIGMA_RESOLUTION, source=source)


def _numbers(exif: bytes, order: str, start: int) -> dict[int, float]:
    """Tag -> value of the single SHORT, LONG and RATIONAL entries of the TIFF directory at `start`."""
    if start + 2 > len(exif):
        return {}
    found: dict[int, float] = {}
    entries = struct.unpack_from(order + "H", exif, start)[0]
    for place in range(start + 2, min(start + 2 + 12 * entries, len(exif) - 11), 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, place)
        if count != 1:
            continue
        if kind in (3, 4):
            found[tag] = float(struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, place + 8)[0])
        elif kind == 5:
            at = struct.unpack_from(order + "I", exif, place + 8)[0]
            if at + 8 <= len(exif):
                over, under = struct.unpack_from(order + "II", exif, at)
                found[tag] = over / under if under else 0.0
    return found
