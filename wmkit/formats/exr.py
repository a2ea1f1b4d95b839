"""OpenEXR pictures of one half-float channel `Z`: depth as ViPE stores it. Scan lines, uncompressed, one part.

https://openexr.com/en/latest/OpenEXRFileLayout.html
"""

import struct

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import InputError

__all__ = ["exr_bytes", "exr_depth"]

MAGIC, VERSION, HALF = 20000630, 2, 1


def exr_bytes(z: NDArray[np.floating]) -> bytes:
    """The file of depth (h, w); NaN is kept, and what a half cannot hold (beyond 65504) becomes infinite."""
    height, width = z.shape
    channel = b"Z\0" + struct.pack("<i4x2i", HALF, 1, 1) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = struct.pack("<2i", MAGIC, VERSION) + b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
        for name, kind, value in (
            (b"channels", b"chlist", channel),
            (b"compression", b"compression", b"\0"),
            (b"dataWindow", b"box2i", window),
            (b"displayWindow", b"box2i", window),
            (b"lineOrder", b"lineOrder", b"\0"),
            (b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
            (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0)),
            (b"screenWindowWidth", b"float", struct.pack("<f", 1)),
        )
    )
    header += b"\0"
    line = np.dtype([("y", "<i4"), ("size", "<i4"), ("z", "<f2", width)])
    lines = np.zeros(height, dtype=line)
    lines["y"], lines["size"] = np.arange(height), 2 * width
    with np.errstate(over="ignore"):
        lines["z"] = z.astype(np.float16)
    offsets = len(header) + 8 * height + line.itemsize * np.arange(height, dtype="<u8")
    return header + offsets.tobytes() + lines.tobytes()


def exr_depth(data: bytes) -> NDArray[np.float16]:
    """(h, w) of a file that `exr_bytes` wrote; InputError for any other EXR."""
    start = data.find(b"dataWindow\0box2i\0")
    if data[:8] != struct.pack("<2i", MAGIC, VERSION) or start < 0 or b"channels\0chlist\0\x13\0\0\0Z\0" not in data:
        raise InputError("exr: expected a single-part file of one half channel Z, got another")
    left, top, right, bottom = struct.unpack_from("<4i", data, start + len(b"dataWindow\0box2i\0") + 4)
    width, height = right - left + 1, bottom - top + 1
    line = np.dtype([("y", "<i4"), ("size", "<i4"), ("z", "<f2", width)])
    body = data[-line.itemsize * height :]
    if data.count(b"compression\0compression\0\x01\0\0\0\0") != 1 or len(body) != line.itemsize * height:
        raise InputError("exr: expected uncompressed scan lines, got another kind")
    return np.frombuffer(body, dtype=line)["z"]
