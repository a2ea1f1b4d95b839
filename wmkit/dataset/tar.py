"""One WebDataset tar, written so that its bytes depend on its members alone and half a file never has its name."""

import hashlib
import os
import tarfile
from pathlib import Path

from wmkit.atomic import fsync_folder
from wmkit.dataset.schema import Shard

__all__ = ["BLOCK", "ShardFile", "member_header", "padded"]

BLOCK = 512


def member_header(name: str, size: int) -> bytes:
    """The USTAR header block of a regular file: no time, no owner, mode 0644."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(size: int) -> int:
    """Bytes that a payload of `size` takes in a tar, header included."""
    return BLOCK + size + -size % BLOCK


class ShardFile:
    """A tar being written beside `path`; it gets its name by one rename in `close`, or never."""

    __slots__ = ("_digest", "_file", "_path", "_scratch", "offset")

    def __init__(self, path: Path) -> None:
        """Opens the scratch file; OSError when the disk refuses."""
        self._path = path
        self._scratch = path.with_name(f".{path.name}.tmp")
        self._file = open(self._scratch, "wb")  # noqa: SIM115 - closed by `close` or `discard`
        self._digest = hashlib.sha256()
        self.offset = 0

    def add(self, name: str, data: bytes) -> int:
        """Append one member and return the offset of its payload in bytes."""
        self._write(member_header(name, len(data)))
        start = self.offset
        self._write(data)
        self._write(bytes(-len(data) % BLOCK))
        return start

    def close(self, samples: int) -> Shard:
        """End the tar, wait for the disk, give it its name."""
        self._write(bytes(2 * BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._scratch, self._path)
        fsync_folder(self._path.parent)
        return Shard(name=self._path.name, size=self.offset, sha256=self._digest.hexdigest(), samples=samples)

    def discard(self) -> None:
        """Remove what was written so far; the shard never gets its name."""
        self._file.close()
        self._scratch.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.offset += len(data)
