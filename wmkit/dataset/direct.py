"""Files written to and read from the disk itself: nothing goes through the page cache where the file system allows it.

A shard is written once and read back once, so the cache's copy costs a core more than the disk does, and only what the
disk has can be compared with what was to be written. Blocks are large because a call costs more than its bytes.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["DirectFile", "pieces_on_disk"]

_BLOCK = 1 << 22  # bytes of one call to the disk
_PIECE = 1 << 16  # bytes handed out at a time: what is done to one finds it in the core's own cache


class DirectFile:
    """A new file that only grows, its bytes gathered into blocks for the disk."""

    __slots__ = ("_buffer", "_descriptor", "_filled", "_rest")

    def __init__(self, path: Path) -> None:
        """Opens the file, emptied; OSError when the disk refuses."""
        self._descriptor = _open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._buffer, self._filled = memoryview(mmap.mmap(-1, _BLOCK)), 0  # mmap: aligned to pages, as the disk asks

    def write(self, data: bytes) -> None:
        """Add bytes; OSError when the disk has no room for the blocks that are full now."""
        end = self._filled + len(data)
        if end < _BLOCK:
            self._buffer[self._filled : end] = data
            self._filled = end
            return
        rest = memoryview(data)
        while rest:
            count = min(len(rest), _BLOCK - self._filled)
            self._buffer[self._filled : self._filled + count] = rest[:count]
            self._filled, rest = self._filled + count, rest[count:]
            if self._filled == _BLOCK:
                self.flush()

    def flush(self) -> None:
        """Hand the disk what is gathered; OSError when it has no room."""
        rest = self._buffer[: self._filled]
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
                if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                    raise
                # The end of a file, or of a disk with little room, is no whole block of the disk's.
                fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        self._filled = 0

    def close(self) -> None:
        """Give the descriptor back; what was not flushed is lost. Does nothing the second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def pieces_on_disk(path: Path) -> Iterator[memoryview]:
    """A synced file as the disk has it, and not memory: views of one buffer, each valid until the next."""
    descriptor = _open(path, os.O_RDONLY)
    try:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # synced pages may leave the cache
        buffer, size, at = memoryview(mmap.mmap(-1, _BLOCK)), os.fstat(descriptor).st_size, 0
        while at < size and (count := os.preadv(descriptor, [buffer], at)):
            for start in range(0, count, _PIECE):
                yield buffer[start : min(start + _PIECE, count)]
            at += count
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    """A descriptor past the page cache, or through it on a file system that knows no other way."""
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_DIRECT, 0o644)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(path, flags | os.O_CLOEXEC, 0o644)
