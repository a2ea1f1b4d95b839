"""Remote sources: listed and read through fsspec, fetched whole into a bounded cache on this machine.

    <cache>/<sha256[:2]>/<sha256><extension>    whole or absent; held open with a shared lock while it is in use

The cache is of kind "sources", see `file_cache`. Identity is the content's hash, never the URL.
"""

import errno
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from wmkit.errors import ClipError, InputError
from wmkit.video.file_cache import FileCache
from wmkit.video.frames import ClipFile
from wmkit.video.reference import is_url

__all__ = [
    "RemoteFile",
    "fetched_hash",
    "file_system",
    "local_copy",
    "network_failures",
    "one_line",
    "pinned_copy",
    "remote_file",
    "remote_files",
    "try_again",
]

STAGE = "fetch"
KIND = "sources"
READ_BYTES = 1 << 20
BLOCK_BYTES = 8 << 20  # one request
WAITS_S = (0.5, 4.0)  # before the second and the third attempt
PINS = 32  # copies that `pinned_copy` holds: more than the clips that one process reads at once
_MAGIC = frozenset("*?[")
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_pinned: deque[int] = deque()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file behind a URL.

    name        its path below what was asked for.
    version     changes when the file does: its time of change in ns, else its ETag as a number; 0: nobody can tell.
    """

    url: str
    name: str
    size_bytes: int
    version: int


def remote_file(url: str) -> RemoteFile:
    """One file, of size 0 and version 0 when it cannot be asked: fetching it will tell why."""
    system, path = file_system(url)
    try:
        found = try_again(url, lambda: system.info(path))
    except network_failures():
        found = {}
    return _file(url, PurePosixPath(path).name, found)


def remote_files(url: str, extensions: tuple[str, ...]) -> list[RemoteFile]:
    """The file, or every file with one of the extensions below the folder or matching the pattern, sorted.

    Raises InputError when the URL cannot be listed: unknown protocol, no such file, no answer.
    """
    system, path = file_system(url)
    scheme = url[: url.index("://") + 3]
    try:
        if not _MAGIC.intersection(path):
            if PurePosixPath(path).suffix.lower() in extensions or try_again(url, lambda: system.isfile(path)):
                return [_file(url, PurePosixPath(path).name, try_again(url, lambda: system.info(path)))]
            listed = try_again(url, lambda: system.find(path, detail=True))
            top = path
        else:
            listed = try_again(url, lambda: system.glob(path, detail=True))
            top = path[: min(path.index(word) for word in _MAGIC if word in path)].rpartition("/")[0]
    except network_failures() as error:
        raise InputError(
            f"{url}: expected a file or folder that answers, got {one_line(error)}; check the URL"
        ) from error
    files = []
    for key in sorted(listed):
        if listed[key].get("type") != "directory" and PurePosixPath(key).suffix.lower() in extensions:
            name = key.removeprefix(top).lstrip("/")
            files.append(_file(key if is_url(key) else scheme + key.lstrip("/"), name, listed[key]))
    return files


def fetched_hash(url: str, name: str) -> str:
    """sha256 of the file's bytes, which are in the cache afterwards.

    Raises ClipError("fetch", code): `unreachable`, `too_large` for the cache, `cache_unwritable`.
    """
    with _Cache.open(KIND).fetch(url, name, None) as (_, digest):
        return digest


@contextmanager
def local_copy(file: ClipFile) -> Iterator[ClipFile]:
    """The clip with a path on this machine, which stays while the body runs; a local clip is itself.

    Raises ClipError("fetch", ...) as `fetched_hash` does, `source_changed` when the URL now holds other bytes.
    """
    if not is_url(file.path):
        yield file
        return
    with _Cache.open(KIND).fetch(file.path, file.name, file.content_hash) as (held, _):
        yield replace(file, path=str(held.name))


def pinned_copy(file: ClipFile) -> ClipFile:
    """As `local_copy`, for frames that are read later: the last 32 stay."""
    if not is_url(file.path):
        return file
    with _Cache.open(KIND).fetch(file.path, file.name, file.content_hash) as (held, _):
        _pinned.append(os.dup(held.fileno()))  # a lock is of the opened file: it lasts as long as the copy is open
        if len(_pinned) > PINS:
            os.close(_pinned.popleft())
        return replace(file, path=str(held.name))


class _Cache(FileCache):
    __slots__ = ()

    @contextmanager
    def fetch(self, url: str, name: str, expected: str | None) -> Iterator[tuple[BinaryIO, str]]:
        """The whole file, open and locked against eviction, and its sha256."""
        held = None if expected is None else self.held(self._place(url, expected))
        digest = expected or ""
        if held is None:
            try:
                held, digest = self._download(url, name, expected)
            except OSError as error:
                message = f"{name}: expected room in the cache {self.folder}, got {error.strerror or error}"
                raise ClipError(STAGE, "cache_unwritable", f"{message}; WMKIT_CACHE names another") from error
        with held:
            yield held, digest

    def _place(self, url: str, digest: str) -> Path:
        extension = PurePosixPath(url.partition("?")[0]).suffix.lower()
        return self.folder / digest[:2] / (digest + (extension if extension[1:].isalnum() else ""))

    def _download(self, url: str, name: str, expected: str | None) -> tuple[BinaryIO, str]:
        part = self.part()
        try:
            digest = self._read(url, name, part)
            if expected not in (None, digest):
                message = f"{name}: expected the bytes that were found first, {url} now holds others"
                raise ClipError(STAGE, "source_changed", f"{message}; run wmkit annotate again")
            held = self.adopt(part, self._place(url, digest))
        finally:
            part.unlink(missing_ok=True)
        if held is None:
            raise ClipError(STAGE, "cache_unwritable", f"{name}: expected its copy to stay, another run removed it")
        return held, digest

    def _read(self, url: str, name: str, part: Path) -> str:
        """Read the URL into `part`, three times at most; its sha256."""
        system, path = file_system(url)

        def once() -> str:
            digest = hashlib.sha256()
            with system.open(path, "rb", block_size=BLOCK_BYTES) as source, open(part, "wb") as sink:
                size = getattr(source, "size", None) or 0
                self._check(name, size)
                self.make_room(size)
                written = 0
                while block := source.read(READ_BYTES):
                    written += len(block)
                    self._check(name, written)
                    digest.update(block)
                    sink.write(block)
            if size and written != size:
                raise ConnectionError(f"{written} of {size} bytes")
            return digest.hexdigest()

        try:
            return try_again(url, once)
        except network_failures() as error:
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise
            message = f"{name}: expected {url} to answer, got {one_line(error)}"
            raise ClipError(STAGE, "unreachable", f"{message}; wmkit retry runs it again") from error

    def _check(self, name: str, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            message = f"{name}: expected at most {self.limit_bytes / 2**30:g} GiB, got {size_bytes / 2**30:.2f}"
            raise ClipError(STAGE, "too_large", f"{message}; WMKIT_CACHE_GIB sets the cache's size")


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it; InputError when nothing reads it."""
    import fsspec

    protocol = url.partition("://")[0]
    if "::" in url:
        raise InputError(f"{url}: expected one plain URL, got a chain; fetch or unpack it first")
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{url}: expected a package that reads {protocol}://, got none; {error}") from error
    except ValueError as error:
        raise InputError(f"{url}: expected a protocol that fsspec knows, got {protocol!r}") from error


def network_failures() -> tuple[type[Exception], ...]:
    """What a file system raises when it does not answer."""
    try:
        from aiohttp import ClientError
    except ImportError:
        return (OSError,)
    return (OSError, ClientError)


def try_again(url: str, call: Callable[[], Any]) -> Any:
    """The call's result, tried three times; what is not there is not tried again, unless by HTTP, where fsspec says
    so of a server that is busy."""
    for wait_s in WAITS_S:
        try:
            return call()
        except (PermissionError, IsADirectoryError):
            raise
        except network_failures() as error:
            if isinstance(error, FileNotFoundError) and not url.startswith("http"):
                raise
            time.sleep(wait_s)
    return call()


def _file(url: str, name: str, info: dict[str, Any]) -> RemoteFile:
    return RemoteFile(url=url, name=name, size_bytes=int(info.get("size") or 0), version=_version(info))


def _version(info: dict[str, Any]) -> int:
    for key in ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
        if isinstance(value, str):
            return _number_of(value)
    marks = [str(info[key]) for key in ("ETag", "etag", "md5Hash", "Content-MD5", "blob_id", "oid") if info.get(key)]
    return _number_of(marks[0]) if marks else 0


def _number_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") + 1


def one_line(error: Exception) -> str:
    """An error in one line of at most 200 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
