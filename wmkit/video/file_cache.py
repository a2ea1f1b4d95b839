"""A bounded folder of copies of remote things, shared by every process of this machine.

$WMKIT_CACHE/<kind>, else ~/.cache/wmkit/<kind>, each kind of at most $WMKIT_CACHE_GIB (50). Whoever uses a copy holds
it open under a shared lock; the longest unused ones make room for new ones.
"""

import fcntl
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from wmkit.atomic import make_folder, put_in_place, sync_file
from wmkit.errors import InputError

__all__ = ["FileCache"]


@dataclass(frozen=True, slots=True)
class FileCache:
    """Copies lie in folders of two letters below `folder`; `limit_bytes` of all of them together."""

    folder: Path
    limit_bytes: int

    @classmethod
    def open(cls, kind: str) -> Self:
        """The cache of one kind of thing; InputError when the environment names no number."""
        root = os.environ.get("WMKIT_CACHE")
        text = os.environ.get("WMKIT_CACHE_GIB", "50")
        try:
            limit_bytes = int(float(text) * 2**30)
        except (ValueError, OverflowError):
            raise InputError(f"WMKIT_CACHE_GIB: expected a number of GiB, got {text!r}") from None
        return cls((Path(root) if root else Path.home() / ".cache" / "wmkit") / kind, limit_bytes)

    def part(self) -> Path:
        """A name for what this thread is writing, which no other takes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f".{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.part"

    def held(self, path: Path) -> BinaryIO | None:
        """The copy under a shared lock, used now; None when it is not there, or is just being removed."""
        try:
            file = open(path, "rb")  # noqa: SIM115 - handed to the caller
        except FileNotFoundError:
            return None
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file.fileno()).st_nlink:
            os.utime(path)
            return file
        file.close()
        return None

    def adopt(self, part: Path, place: Path) -> BinaryIO | None:
        """Give what was written its name, and hold it; None when another process removed it at once."""
        make_folder(place.parent)
        sync_file(part)  # a copy is taken at its name: after a power cut too, that has to be what it holds
        with open(part, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # nobody removes it between its rename and the lock of its own name
            put_in_place(part, place)
            return self.held(place)

    def make_room(self, size_bytes: int) -> None:
        """Remove the longest unused copies until `size_bytes` more fit; copies in use stay."""
        with open(self.folder / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = []
            for entry in self.folder.glob("??/*"):
                with suppress(FileNotFoundError):
                    entries.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry))
            used = sum(size for _, size, _ in entries)
            for _, size, entry in sorted(entries):
                if used + size_bytes <= self.limit_bytes:
                    return
                with suppress(FileNotFoundError, BlockingIOError), open(entry, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    entry.unlink()
                    used -= size
