"""An .npz that is deflated, and still the same bytes wherever it is written with the same packages."""

import struct
import zlib
from collections.abc import Mapping

from numpy.typing import NDArray
from pyarrow import Codec

from wmkit.atomic import npy_bytes

__all__ = ["deflated_npz_bytes"]

GZIP_HEADER, GZIP_TRAILER = 10, 8  # bytes around the deflated ones when the header has no optional field


def deflated_npz_bytes(arrays: Mapping[str, NDArray]) -> bytes:
    """As `wmkit.atomic.npz_bytes`, deflated: for large arrays.

    The deflate is pyarrow's, whose wheel carries its own zlib and is locked; zipfile would call the interpreter's. For
    zipfile cannot be given bytes that are deflated already, the archive's few headers are written here (PKWARE's
    APPNOTE 4.3). ValueError beyond 4 GiB.
    """
    codec, body, directory = Codec("gzip", compression_level=6), bytearray(), bytearray()
    for name in sorted(arrays):
        plain, path = npy_bytes(arrays[name]), f"{name}.npy".encode()
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
