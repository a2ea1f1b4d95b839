"""Shards behind a URL: a sample is one ranged read, fetched ahead within a budget, and kept in a bounded cache.

    <cache>/shards/<xx>/<key>-<hash>.parts    a sample's bytes in its tar, from its first part to the end of its last

The cache is of kind "shards" (`wmkit.video.file_cache`). A copy is found by the checksums that the index has of its
parts, so it serves any folder that holds the same sample, and the reader checks it as it checks a local one.
"""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import xxhash

from wmkit.errors import CorruptShardError, InputError
from wmkit.video.file_cache import FileCache
from wmkit.video.remote import file_system, network_failures, one_line, try_again

if TYPE_CHECKING:
    from wmkit.dataset.schema import Part, Sample

__all__ = ["RemoteShards"]

KIND = "shards"
AHEAD_BYTES = 256 << 20  # of a process: fetched and not yet used, or being fetched
THREADS = 8


class RemoteShards:
    """A shards folder behind a URL; it crosses process borders as that, what is fetched ahead stays in one process."""

    def __init__(self, url: str) -> None:
        """InputError when nothing reads such a URL; nobody is asked yet."""
        self.url = url.rstrip("/")
        file_system(self.url)
        self._pid = 0
        self._begin()

    def __reduce__(self) -> tuple[type["RemoteShards"], tuple[str]]:
        return type(self), (self.url,)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> str:
        """The URL of a file of the folder."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """A small file, whole and from the server; InputError when it cannot be had."""
        system, path = file_system(f"{self.url}/{name}")
        try:
            return try_again(self.url, lambda: system.cat_file(path))
        except network_failures() as error:
            raise InputError(f"{self.url}/{name}: expected shards at this URL, got {one_line(error)}") from error

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when it is not there."""
        system, path = file_system(f"{self.url}/{name}")
        try:
            return int(try_again(self.url, lambda: system.info(path))["size"])
        except network_failures():
            return None

    def part_alone(self, sample: "Sample", part: "Part") -> tuple[bytes, str | None]:
        """As `pread`, for who wants one part of many samples: its range and no more, nothing kept."""
        system, path = file_system(f"{self.url}/{sample.shard}")
        try:
            return try_again(
                self.url, lambda: system.cat_file(path, start=part.offset, end=part.offset + part.size)
            ), None
        except network_failures() as error:
            return b"", f"no answer: {one_line(error)}"

    def will_need(self, sample: "Sample") -> None:
        """Begin to fetch a sample, unless as much as the budget allows is on its way or waits to be used."""
        self._begin()
        first, end = _extent(sample)
        with self._lock:
            known = sample.key in self._ahead
            if known or sum(size for size, _ in self._ahead.values()) + end - first > AHEAD_BYTES:
                return
            self._ahead[sample.key] = (end - first, self._threads.submit(self._fetched, sample))

    def pread(self, sample: "Sample", part: "Part") -> tuple[bytes, str | None]:
        """A part's bytes, and what went wrong, None when nothing did. A sample's parts are asked for one after another:
        the last sample stays in memory."""
        self._begin()
        last_key, data = self._last
        if last_key != sample.key:
            with self._lock:
                _, future = self._ahead.pop(sample.key, (0, None))
            try:
                data = self._fetched(sample) if future is None else future.result()
            except CorruptShardError as error:
                return b"", str(error)
            self._last = (sample.key, data)
        start = part.offset - _extent(sample)[0]
        return data[start : start + part.size], None

    def _begin(self) -> None:
        """Threads and what they fetch are of the process that uses them, not of the one that forked it."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), Lock()
            self._ahead: dict[str, tuple[int, Future[bytes]]] = {}
            self._last: tuple[str, bytes] = ("", b"")
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="shards")

    def _fetched(self, sample: "Sample") -> bytes:
        """The sample's extent, from the cache or the server; CorruptShardError when it cannot be had."""
        first, end = _extent(sample)
        cache = FileCache.open(KIND)
        place = _place(cache, sample)
        held = cache.held(place)
        if held is not None:
            with held:
                data = held.read()
            if len(data) == end - first and _is_sound(sample, data):
                return data
        system, path = file_system(f"{self.url}/{sample.shard}")
        try:
            data = try_again(self.url, lambda: system.cat_file(path, start=first, end=end))
        except network_failures() as error:
            raise CorruptShardError(f"no answer: {one_line(error)}") from error
        if len(data) == end - first <= cache.limit_bytes:
            _keep(cache, place, data)
        return data


def _extent(sample: "Sample") -> tuple[int, int]:
    """Where the sample's first part begins in its tar, and its last one ends."""
    return min(part.offset for part in sample.parts), max(part.offset + part.size for part in sample.parts)


def _is_sound(sample: "Sample", data: bytes) -> bool:
    """Whether a copy has the bytes that the index promises; a disk may have lost some."""
    first, _ = _extent(sample)
    return all(
        xxhash.xxh3_128_hexdigest(data[part.offset - first :][: part.size]) == part.xxh3 for part in sample.parts
    )


def _place(cache: FileCache, sample: "Sample") -> Path:
    parts = hashlib.sha256(repr([(part.offset, part.size, part.xxh3) for part in sample.parts]).encode()).hexdigest()
    return cache.folder / parts[:2] / f"{sample.key}-{parts[:16]}.parts"


def _keep(cache: FileCache, place: Path, data: bytes) -> None:
    """Put a copy into the cache; a cache that cannot be written is no cache, and no error."""
    try:
        part = cache.part()
    except OSError:
        return
    try:
        cache.make_room(len(data))
        part.write_bytes(data)
        held = cache.adopt(part, place)
        if held is not None:
            held.close()
        cache.make_room(0)  # threads that read ahead find room together, and then take it one after the other
    except OSError:
        return
    finally:
        part.unlink(missing_ok=True)
