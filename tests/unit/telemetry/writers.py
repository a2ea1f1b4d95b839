"""Independent writers of what wmkit.telemetry reads: GPMF records and an mp4 around them, EXIF blocks, GPX text."""

import struct
from pathlib import Path

import numpy as np

__all__ = ["exif_jpeg", "gpmf", "gps5_payload", "gps9_payload", "gpx", "gravity_stream", "nest"]


def gpmf(key: str, kind: str, size: int, count: int, data: bytes) -> bytes:
    """One record."""
    head = key.encode("latin-1") + (b"\0" if not kind else kind.encode()) + struct.pack(">BH", size, count)
    return head + data + b"\0" * (-len(data) % 4)


def nest(key: str, body: bytes) -> bytes:
    return gpmf(key, "", 1, len(body), body)


def gps5_payload(rows: np.ndarray, fix: int = 3, dop: float = 1.5, extra: bytes = b"") -> bytes:
    """DEVC with one GPS5 stream: rows of lat, lon, alt, speed, speed."""
    scale = (10_000_000, 10_000_000, 1000, 1000, 100)
    values = b"".join(struct.pack(">5i", *(round(v * s) for v, s in zip(row, scale, strict=True))) for row in rows)
    stream = gpmf("GPSF", "L", 4, 1, struct.pack(">I", fix)) + gpmf(
        "GPSP", "S", 2, 1, struct.pack(">H", round(dop * 100))
    )
    stream += gpmf("SCAL", "l", 4, 5, struct.pack(">5i", *scale)) + gpmf("GPS5", "l", 20, len(rows), values)
    return nest("DEVC", gpmf("DVNM", "c", 1, 5, b"Hero7") + nest("STRM", stream) + extra)


def gps9_payload(rows: np.ndarray) -> bytes:
    """DEVC with one GPS9 stream: rows of lat, lon, alt, speed, speed, days, seconds, dop, fix."""
    scale = (10_000_000, 10_000_000, 1000, 1000, 100, 1, 1000, 100, 1)
    values = b"".join(struct.pack(">7i2H", *(round(v * s) for v, s in zip(row, scale, strict=True))) for row in rows)
    stream = gpmf("TYPE", "c", 1, 9, b"lllllllSS") + gpmf("SCAL", "l", 4, 9, struct.pack(">9i", *scale))
    stream += gpmf("GPS9", "?", 32, len(rows), values)
    return nest("DEVC", nest("STRM", stream))


def gravity_stream(down: np.ndarray) -> bytes:
    """STRM with GRAV, and IORI of no turn."""
    count = len(down)
    grav = b"".join(struct.pack(">3h", *(round(v * 32767) for v in row)) for row in down)
    iori = struct.pack(">4h", 32767, 0, 0, 0) * count
    one = gpmf("SCAL", "s", 2, 1, struct.pack(">h", 32767))
    return nest("STRM", one + gpmf("GRAV", "s", 6, count, grav)) + nest("STRM", one + gpmf("IORI", "s", 8, count, iori))


def gpx(points: list[tuple[float, float, float, str]]) -> bytes:
    """Track points (lat, lon, ele, time)."""
    body = "".join(
        f'<trkpt lat="{lat:.9f}" lon="{lon:.9f}"><ele>{ele:.3f}</ele><time>{time}</time></trkpt>'
        for lat, lon, ele, time in points
    )
    head = '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'
    return f"{head}<trk><trkseg>{body}</trkseg></trk></gpx>".encode()


def exif_jpeg(path: Path, lat: float, lon: float, alt: float | None, taken: str | None = None) -> None:
    """A small JPEG with a GPS block, by Pillow."""
    from PIL import Image

    image = Image.new("RGB", (32, 24), (90, 90, 90))
    exif = Image.Exif()
    gps = {1: "N" if lat >= 0 else "S", 2: _dms(lat), 3: "E" if lon >= 0 else "W", 4: _dms(lon)}
    if alt is not None:
        gps |= {5: b"\0" if alt >= 0 else b"\1", 6: abs(alt)}
    exif.get_ifd(0x8825).update(gps)
    if taken is not None:
        exif.get_ifd(0x8769)[0x9003] = taken
    image.save(path, exif=exif)


def _dms(degrees: float) -> tuple[float, float, float]:
    total = abs(degrees) * 3600
    return (float(total // 3600), float(total % 3600 // 60), round(total % 60, 4))
