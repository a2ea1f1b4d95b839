"""Local tars while samples are read from them: a loader's stay open, and are opened again where they give wrong bytes.

A tar that was repaired or built anew has its name by a rename, so a descriptor goes on giving the bytes that it was
opened for. Where those are what the index promises, nothing is lost by that; where they are not, whoever reads asks
`OpenTar.again` and so sees the repaired one at once. Who opens a folder's index forgets its tars first.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wmkit.dataset.schema import Part, Sample

__all__ = ["MOST_OPEN", "OpenTar", "forget"]

MOST_OPEN = 64  # tars of a process; the one that was opened first makes room


class _Descriptor:
    """Closed when nobody reads by it any more: one thread may make room while another still reads."""

    __slots__ = ("number",)

    def __init__(self, path: str) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            with suppress(OSError):
                os.close(self.number)


_known: dict[str, _Descriptor] = {}


def _keep(path: str) -> _Descriptor:
    descriptor = _Descriptor(path)
    while len(_known) >= MOST_OPEN:
        with suppress(StopIteration, KeyError, RuntimeError):  # another thread made room first
            del _known[next(iter(_known))]
    _known[path] = descriptor
    return descriptor


def forget(folder: Path) -> None:
    """Tars of this folder that are open are opened again when they are next read."""
    for path in list(_known):
        if os.path.dirname(path) == str(folder):
            _known.pop(path, None)


class OpenTar:
    """A local folder as the tar of one sample, while its parts are read: `with OpenTar(folder, sample) as place`.

    kept  the tar may be one that stayed open, and stays so; else it is the one that has the name now.
    """

    __slots__ = ("_descriptor", "_folder", "_fresh", "_kept", "_name", "_path", "_wrong")

    def __init__(self, folder: Path, sample: "Sample", *, kept: bool = False) -> None:
        """Nothing is opened yet."""
        self._folder, self._name, self._path = folder, sample.shard, f"{folder}/{sample.shard}"
        self._descriptor: _Descriptor | None = None
        self._kept, self._wrong, self._fresh = kept, "a closed tar", True

    def __enter__(self) -> "OpenTar":
        """Opens the tar, unless it is; why it cannot be opened is told by `pread`."""
        self._fresh = False
        self._descriptor = _known.get(self._path) if self._kept else None
        if self._descriptor is None:
            self.again()
        return self

    def __exit__(self, *of: object) -> None:
        """Reads no more."""
        self._descriptor, self._wrong, self._fresh = None, "a closed tar", True

    def __truediv__(self, name: str) -> Path:
        """The path of a file of the folder."""
        return self._folder / name

    def again(self) -> bool:
        """Open the tar that has the name now; False when this did so already, or is over."""
        if self._fresh:
            return False
        self._fresh = True
        _known.pop(self._path, None)
        try:
            self._descriptor = _keep(self._path) if self._kept else _Descriptor(self._path)
        except OSError as error:
            self._descriptor, self._wrong = None, os.strerror(error.errno or 0)
        return True

    def pread(self, sample: "Sample", part: "Part") -> tuple[bytes, str | None]:
        """A part's bytes, and what went wrong, None when nothing did; ValueError for a sample of another tar."""
        if sample.shard != self._name:
            raise ValueError(f"expected a sample of {self._name}, got one of {sample.shard}")
        return self.stretch(part.size, part.offset)

    def stretch(self, size: int, offset: int) -> tuple[bytes, str | None]:
        """As `pread`, of any bytes of the tar."""
        if self._descriptor is None:
            return b"", self._wrong
        try:
            return os.pread(self._descriptor.number, size, offset), None
        except OSError as error:
            return b"", os.strerror(error.errno or 0)
