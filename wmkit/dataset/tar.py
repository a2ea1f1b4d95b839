"""One WebDataset tar, written so that its bytes depend on its members alone and half a file never has its name."""

import errno
import hashlib
from pathlib import Path

import xxhash

from wmkit.atomic import put_in_place, sync_file
from wmkit.dataset.direct import DirectFile, pieces_on_disk
from wmkit.dataset.schema import Shard
from wmkit.errors import CorruptShardError, InputError

__all__ = ["BLOCK", "END", "ShardFile", "member_header", "padded"]

BLOCK = 512
END = bytes(2 * BLOCK)  # what a tar ends with

_MAX_NAME, _MAX_SIZE = 100, 8**11  # bytes; what the fields of a USTAR header have room for

_OWNER = b"0000644\0" + b"0000000\0" * 2
_TIME = b"00000000000\0"
# A regular file without link, user, group, device and prefix.
_AFTER_CHECKSUM = (b"0" + bytes(100) + b"ustar\x0000").ljust(BLOCK - 156, b"\0")
_FIXED_SUM = sum(_OWNER + _TIME + b" " * 8 + _AFTER_CHECKSUM)


def member_header(name: str, size: int) -> bytes:
    """The USTAR header block of a regular file: no time, no owner, mode 0644; the bytes that `tarfile` makes.

    InputError when name or size (bytes) do not fit into one.
    """
    encoded = name.encode()
    if not encoded or len(encoded) > _MAX_NAME or not 0 <= size < _MAX_SIZE:
        raise InputError(
            f"{name[:_MAX_NAME]}: expected a name of 1 to {_MAX_NAME} bytes and a part below 8 GiB, "
            f"got {len(encoded)} and {size} bytes; a video as large as that has to be encoded"
        )
    digits = b"%011o\0" % size
    total = _FIXED_SUM + sum(encoded) + sum(digits)
    head = encoded.ljust(_MAX_NAME, b"\0") + _OWNER + digits + _TIME
    return head + b"%06o\0 " % total + _AFTER_CHECKSUM


def padded(size: int) -> int:
    """Bytes that a payload of `size` takes in a tar, header included."""
    return BLOCK + size + -size % BLOCK


class ShardFile:
    """A tar being written beside `path`; it gets its name by one rename in `close`, or never."""

    __slots__ = ("_file", "_path", "_scratch", "_written", "offset")

    def __init__(self, path: Path) -> None:
        """Opens the scratch file; OSError when the disk refuses."""
        self._path = path
        self._scratch = path.with_name(f".{path.name}.tmp")
        self._file = DirectFile(self._scratch)
        self._written = xxhash.xxh3_128()
        self.offset = 0

    def add(self, name: str, data: bytes) -> int:
        """Append one member and return the offset of its payload in bytes."""
        self._write(member_header(name, len(data)), data, bytes(-len(data) % BLOCK))
        return self.offset - padded(len(data)) + BLOCK

    def close(self, samples: int, sha256: str | None = None) -> Shard:
        """End the tar, wait for the disk, read back what it has, and only then give it its name.

        sha256  of the shard that this has to become, byte for byte.

        OSError when the disk refuses or gives back other bytes, CorruptShardError when they are not the wanted ones.
        """
        self._write(END)
        self._file.flush()
        sync_file(self._scratch)
        digest = self._read_back()
        if sha256 is not None and digest != sha256:
            raise CorruptShardError(f"{self._path}: expected to make the bytes of sha256 {sha256}, got {digest}")
        self._file.close()
        put_in_place(self._scratch, self._path)
        return Shard(name=self._path.name, size=self.offset, sha256=digest, samples=samples)

    def discard(self) -> None:
        """Remove what was written so far; the shard never gets its name."""
        self._file.close()
        self._scratch.unlink(missing_ok=True)

    def _write(self, *blocks: bytes) -> None:
        for block in blocks:
            self._written.update(block)
            self._file.write(block)
            self.offset += len(block)

    def _read_back(self) -> str:
        """sha256 of what the disk holds."""
        found, digest = xxhash.xxh3_128(), hashlib.sha256()
        for piece in pieces_on_disk(self._scratch):
            digest.update(piece)
            found.update(piece)
        if found.digest() != self._written.digest():
            raise OSError(errno.EIO, f"{self._path}: the disk gives back other bytes than were written")
        return digest.hexdigest()
