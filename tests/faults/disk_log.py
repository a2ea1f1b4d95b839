"""What Python changes below a folder, in order, and what a power cut after each change may leave of it.

`record` notes every creation, rename, removal and fsync, of this process or (through `recorded_disk/sitecustomize.py`)
of every process of a run. `Disk` plays the notes back as strictly as POSIX allows: bytes are there once their file was
synced, a name is there once its folder was; of the rest any part may be. Only a rename is one change.
"""

import builtins
import hashlib
import io
import json
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["KEEPS", "Disk", "Note", "Power", "install", "read_notes", "record"]

ROOT_VARIABLE, LOG_VARIABLE = "WMKIT_DISK_ROOT", "WMKIT_DISK_LOG"
WRITES = os.O_WRONLY | os.O_RDWR
PATCHED = ("open", "mkdir", "rename", "replace", "unlink", "remove", "rmdir", "fsync")


@dataclass(frozen=True)
class Note:
    """One change: what, at which path below the root, to which path, with which bytes (hashes, by path below it)."""

    what: str
    path: str
    to: str = ""
    blobs: dict[str, str] = field(default_factory=dict)


class _Recorder:
    """Stands before the functions of `os` and `open`, and notes what they did."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self.log = str(root), log
        self.real: dict[str, Any] = {name: getattr(os, name) for name in PATCHED}
        self.real_open = builtins.open
        (log / "blobs").mkdir(parents=True, exist_ok=True)
        self.notes = self.real["open"](str(log / "notes.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def below(self, path: Any, folder: int | None = None) -> str | None:
        """The path below the root; None for what is not."""
        if isinstance(path, int):
            return None
        where = os.readlink(f"/proc/self/fd/{folder}") if folder is not None else os.getcwd()
        full = os.path.normpath(os.path.join(where, os.fsdecode(path)))
        return os.path.relpath(full, self.root) if full.startswith(self.root + os.sep) or full == self.root else None

    def note(self, what: str, path: str, to: str = "", blobs: dict[str, str] | None = None) -> None:
        os.write(self.notes, (json.dumps([what, path, to, blobs or {}]) + "\n").encode())

    def blob(self, path: str) -> str:
        with self.real_open(path, "rb") as file:
            data = file.read()
        name = hashlib.sha256(data).hexdigest()
        place = str(self.log / "blobs" / name)
        if not os.path.exists(place):
            with self.real_open(f"{place}.{os.getpid()}", "wb") as file:
                file.write(data)
            self.real["replace"](f"{place}.{os.getpid()}", place)
        return name

    def blobs(self, path: str) -> dict[str, str]:
        """Bytes of a file (under "") or of all files of a folder."""
        if not os.path.isdir(path):
            return {"": self.blob(path)}
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        return {os.path.relpath(name, path): self.blob(name) for name in files}

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = self.below(path, dir_fd) if flags & (WRITES | os.O_CREAT) else None
        descriptor = self.real["open"](path, flags, mode, dir_fd=dir_fd)
        if name is not None:
            self.note("truncate" if flags & os.O_TRUNC else "touch", name)
        return descriptor

    def open_file(self, path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = self.real_open(path, mode, *rest, **named)
        name = self.below(path) if set(mode) & set("wax+") else None
        if name is not None:
            self.note("truncate" if "w" in mode else "touch", name)
        return file

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self.real["mkdir"](path, mode, dir_fd=dir_fd)
        if (name := self.below(path, dir_fd)) is not None:
            self.note("mkdir", name)

    def move(self, source: Any, target: Any, **named: Any) -> None:
        names = self.below(source), self.below(target)
        blobs = self.blobs(os.fspath(source)) if None not in names and os.path.exists(source) else {}
        self.real["replace"](source, target, **named)
        if names[0] is not None and names[1] is not None:
            self.note("rename", names[0], names[1], blobs)

    def gone(self, what: str) -> Callable[..., None]:
        def remove(path: Any, *, dir_fd: int | None = None) -> None:
            self.real[what](path, dir_fd=dir_fd)
            if (name := self.below(path, dir_fd)) is not None:
                self.note("remove", name)

        return remove

    def fsync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        name = self.below(path)
        if name is not None and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self.note("sync_folder", name)  # what is in it now; the disk itself is not asked
        elif name is not None:
            self.note("sync", name, blobs={"": self.blob(path)})
        else:
            self.real["fsync"](descriptor)

    def put(self) -> None:
        os.open, os.mkdir, os.fsync = self.open, self.mkdir, self.fsync
        os.rename = os.replace = self.move
        os.unlink, os.remove, os.rmdir = self.gone("unlink"), self.gone("remove"), self.gone("rmdir")
        builtins.open = io.open = self.open_file  # type: ignore[assignment]

    def take_away(self) -> None:
        for name, function in self.real.items():
            setattr(os, name, function)
        builtins.open = io.open = self.real_open
        os.close(self.notes)


def install() -> None:
    """Record this process to its end, if the environment says what and where."""
    if ROOT_VARIABLE in os.environ:
        _Recorder(Path(os.environ[ROOT_VARIABLE]), Path(os.environ[LOG_VARIABLE])).put()


@contextmanager
def record(root: Path, log: Path) -> Iterator[None]:
    """Note in `log` what this process changes below `root`."""
    recorder = _Recorder(root, log)
    recorder.put()
    try:
        yield
    finally:
        recorder.take_away()


def read_notes(log: Path) -> list[Note]:
    """What was noted so far."""
    path = log / "notes.jsonl"
    return [Note(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


class _Inode:
    """A file, or a folder if it has entries. `synced` bytes are on disk, `latest` are in memory, `coming` follow."""

    def __init__(self, *, folder: bool) -> None:
        self.folder = folder
        self.names: dict[str, _Inode] = {}
        self.kept: dict[str, _Inode] = {}
        self.synced: bytes | None = None
        self.latest = b""
        self.coming: bytes | None = None


Change = list[tuple[_Inode, str, "_Inode | None"]]
Power = Callable[[random.Random], tuple[Callable[[int, int], bool], Callable[[int], int]]]
"""Draws what a power cut keeps: of the changes that no folder's sync covered (index, how many), of bytes (how many)."""


def _nothing(rng: random.Random) -> tuple[Callable[[int, int], bool], Callable[[int], int]]:
    return lambda index, count: False, lambda size: 0


def _names_alone(rng: random.Random) -> tuple[Callable[[int, int], bool], Callable[[int], int]]:
    """Every rename and removal is there, no byte that was not synced: files of no length."""
    return lambda index, count: True, lambda size: 0


def _first_few(rng: random.Random) -> tuple[Callable[[int, int], bool], Callable[[int], int]]:
    """Changes in their order up to some point, as a journal keeps them; bytes up to somewhere."""
    share = rng.random()
    return lambda index, count: index < share * count, lambda size: rng.randint(0, size)


def _any(rng: random.Random) -> tuple[Callable[[int, int], bool], Callable[[int], int]]:
    return lambda index, count: rng.random() < 0.5, lambda size: rng.choice((0, size, rng.randint(0, size)))


KEEPS: dict[str, Power] = {"nothing": _nothing, "names": _names_alone, "journal": _first_few, "any": _any}


class Disk:
    """The disk below the root after the first `count` notes of `log`."""

    def __init__(self, log: Path, notes: list[Note], count: int) -> None:
        self.blobs = log / "blobs"
        self.root = _Inode(folder=True)
        self.pending: list[Change] = []
        for note in notes[:count]:
            getattr(self, f"_{note.what}")(note)
        for note in notes[count:]:
            self._foresee(note)

    def cut(self, target: Path, keep: Power, rng: random.Random) -> None:
        """Make `target` what a power cut now leaves."""
        changes, size = keep(rng)
        kept: dict[int, dict[str, _Inode]] = {}
        for index, change in enumerate(self.pending):
            if changes(index, len(self.pending)):
                for folder, name, inode in change:
                    _set(kept.setdefault(id(folder), dict(folder.kept)), name, inode)
        self._write(self.root, target, lambda inode: kept.get(id(inode), inode.kept), lambda inode: _cut(inode, size))

    def whole(self, target: Path) -> None:
        """Make `target` what a program sees now, without a power cut."""
        self._write(self.root, target, lambda inode: inode.names, lambda inode: inode.latest)

    def _write(
        self, inode: _Inode, path: Path, names: Callable[[_Inode], dict[str, _Inode]], data: Callable[[_Inode], bytes]
    ) -> None:
        if not inode.folder:
            path.write_bytes(data(inode))
            return
        path.mkdir()
        for name, entry in names(inode).items():
            self._write(entry, path / name, names, data)

    def _at(self, path: str) -> tuple[_Inode, str]:
        """The folder that a path is in, and its name there."""
        *folders, name = Path(path).parts
        inode = self.root
        for part in folders:
            inode = inode.names[part]
        return inode, name

    def _inode(self, path: str) -> _Inode | None:
        if path == ".":
            return self.root
        try:
            folder, name = self._at(path)
        except KeyError:
            return None
        return folder.names.get(name)

    def _change(self, change: Change) -> None:
        for folder, name, inode in change:
            _set(folder.names, name, inode)
        self.pending.append(change)

    def _touch(self, note: Note) -> None:
        folder, name = self._at(note.path)
        if name not in folder.names:
            self._change([(folder, name, _Inode(folder=False))])

    def _truncate(self, note: Note) -> None:
        self._touch(note)
        inode = self._inode(note.path)
        assert inode is not None
        inode.latest = b""

    def _mkdir(self, note: Note) -> None:
        self._change([(*self._at(note.path), _Inode(folder=True))])

    def _remove(self, note: Note) -> None:
        self._change([(*self._at(note.path), None)])

    def _rename(self, note: Note) -> None:
        inode = self._inode(note.path)
        assert inode is not None, note
        for name, blob in note.blobs.items():
            file = self._inode(f"{note.path}/{name}" if name else note.path)
            if file is None:  # another program wrote it: nothing is known of its bytes but what they are now
                folder, last = self._at(f"{note.path}/{name}")
                file = _Inode(folder=False)
                self._change([(folder, last, file)])
            file.latest = self._bytes(blob)
        self._change([(*self._at(note.path), None), (*self._at(note.to), inode)])

    def _sync(self, note: Note) -> None:
        inode = self._inode(note.path)
        assert inode is not None, note
        inode.synced = inode.latest = self._bytes(note.blobs[""])

    def _sync_folder(self, note: Note) -> None:
        synced = self._inode(note.path)
        left: list[Change] = []
        for change in self.pending:
            if any(folder is synced for folder, _, _ in change):
                for folder, name, inode in change:
                    _set(folder.kept, name, inode)
                    left = [[entry for entry in old if entry[:2] != (folder, name)] for old in left]
            else:
                left.append(change)
        self.pending = [change for change in left if change]

    def _foresee(self, note: Note) -> None:
        """Bytes that a file has at its next sync or rename may be on disk before."""
        for name, blob in note.blobs.items():
            inode = self._inode(f"{note.path}/{name}" if name else note.path)
            if inode is not None and inode.coming is None:
                inode.coming = self._bytes(blob)

    def _bytes(self, name: str) -> bytes:
        return (self.blobs / name).read_bytes()


def _set(names: dict[str, _Inode], name: str, inode: _Inode | None) -> None:
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode


def _cut(inode: _Inode, size: Callable[[int], int]) -> bytes:
    """What is synced, and of what is not as much as `size` says."""
    synced = inode.synced or b""
    after = inode.coming if inode.coming is not None else inode.latest
    if not after.startswith(synced) or inode.latest == synced == after:
        return synced
    return after[: len(synced) + size(len(after) - len(synced))]
