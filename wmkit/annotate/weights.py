"""Model weights: a table of names and licences, and the one place in wmkit that downloads anything.

    <cache>/<name>/<file>          the weights, whole or absent
    <cache>/<name>/weights.json    {"name", "url", "licence", "file", "sha256", "bytes", "mtime_ns"}: what provenance is
                                   written from

The cache is $WMKIT_CACHE/weights, else ~/.cache/wmkit/weights. Weights must have the sha256 of their row in the table;
where it names none, that of the first fetch, which weights.json keeps also when the file itself is lost or damaged.
"""

import hashlib
import http.client
import json
import os
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from wmkit.atomic import json_bytes, make_folder, put_in_place, sync_file, write_atomic
from wmkit.clock import monotonic_s
from wmkit.errors import FetchError, InputError
from wmkit.hashes import hash_of_file

__all__ = [
    "FetchedWeights",
    "Weights",
    "accepted",
    "cache_folder",
    "fetch",
    "fetched",
    "known_weights",
    "weights_lines",
]

CHUNK = 1 << 20
TIMEOUT_S, TELL_S = 30.0, 10.0
NOTE = "weights.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One row of the table: `sha256` and `size_gb` are None where unknown."""

    name: str
    what: str
    licence: str
    url: str
    file: str
    sha256: str | None = None
    size_gb: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedWeights:
    """Weights on disk."""

    name: str
    path: str
    licence: str
    sha256: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def cache_folder() -> Path:
    """Where weights are kept."""
    root = os.environ.get("WMKIT_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "wmkit") / "weights"


def known_weights(table: Path | None = None) -> dict[str, Weights]:
    """The table by name: the package's own, or a TOML of the same keys with `url` in place of `hub`."""
    try:
        if table is None:
            text = resources.files("wmkit.annotate").joinpath("weights.toml").read_text(encoding="utf-8")
        else:
            text = table.read_text(encoding="utf-8")
        rows = tomllib.loads(text)
        return {name: _weights(name, row) for name, row in sorted(rows.items())}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{table}: expected a table of weights (what, licence, url, file), got: {error}") from error


def _weights(name: str, row: dict[str, Any]) -> Weights:
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    url = row["url"] if "url" in row else f"{hub}/{row['hub']}/resolve/main/{row['file']}"
    return Weights(
        name=name,
        what=row["what"],
        licence=row["licence"],
        url=url,
        file=Path(row["file"]).name,
        sha256=row.get("sha256"),
        size_gb=row.get("size_gb"),
    )


def weights_lines(table: Mapping[str, Weights]) -> list[str]:
    """The table for people."""
    width = max(map(len, table))
    return [
        f"{row.name:{width}}  {row.licence:14}  {f'{row.size_gb:g} GB' if row.size_gb else '-':>7}  {row.what}"
        for row in table.values()
    ]


def accepted(name: str, table: Path | None, *, accept_licence: bool) -> Weights:
    """The row `name`; InputError when there is none, or its licence has not been accepted."""
    rows = known_weights(table)
    if name not in rows:
        raise InputError(f"weights: expected one of {', '.join(rows)}, got {name!r}")
    if not accept_licence:
        row = rows[name]
        message = f"expected --accept-licence: they are under {row.licence} ({row.url}); read it first"
        raise InputError(f"weights {name}: {message}")
    return rows[name]


def fetched(name: str) -> FetchedWeights:
    """Weights that were fetched before; InputError when they were not, are damaged, or are not those any more.

    A file that was written to since is read whole: its bytes must still have the sha256 that is on record.
    """
    folder = cache_folder() / name
    note = _note(name)
    if note is None:
        raise InputError(f"weights {name}: expected them in {folder}; run `wmkit weights fetch {name}` first")
    path = folder / note["file"]
    found = FetchedWeights(
        name=name, path=str(path), licence=note["licence"], sha256=note["sha256"], bytes=note["bytes"]
    )
    if not path.is_file() or path.stat().st_size != found.bytes:
        raise InputError(f"weights {name}: expected {found.bytes} bytes at {path}; fetch them again")
    if path.stat().st_mtime_ns != note.get("mtime_ns"):
        digest = hash_of_file(path)
        if digest != found.sha256:
            message = f"expected sha256 {found.sha256}, as fetched, at {path}, got {digest}; fetch them again"
            raise InputError(f"weights {name}: {message}")
    return found


def _note(name: str) -> dict[str, Any] | None:
    """What is on record of weights that were fetched once; None without a readable record."""
    try:
        note = json.loads((cache_folder() / name / NOTE).read_text(encoding="utf-8"))
        return note if {"file", "licence", "sha256", "bytes"} <= note.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def fetch(weights: Weights, tell: Callable[[str], None]) -> FetchedWeights:
    """Download into the cache, unless it is there; `tell` gets a line at the start and every 10 s.

    Raises FetchError when there is no network, the server refuses, or the bytes are not those promised or not those of
    the first fetch; InputError when the cache cannot be written.
    """
    folder = cache_folder() / weights.name
    path = folder / weights.file
    try:
        found = fetched(weights.name)
    except InputError:
        pass
    else:
        if weights.sha256 in (None, found.sha256):
            return found
    partial = folder / f".{weights.file}.{os.getpid()}.part"
    try:
        make_folder(folder)
        try:
            digest, size = _download(weights, partial, tell)
            _check(weights, digest)
            put_in_place(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        note = {"name": weights.name, "url": weights.url, "licence": weights.licence, "file": weights.file}
        note |= {"sha256": digest, "bytes": size, "mtime_ns": path.stat().st_mtime_ns}
        write_atomic(folder / NOTE, json_bytes(note))
    except OSError as error:
        raise InputError(f"{folder}: expected a writable cache, got: {error.strerror or error}") from error
    return FetchedWeights(name=weights.name, path=str(path), licence=weights.licence, sha256=digest, bytes=size)


def _check(weights: Weights, digest: str) -> None:
    """FetchError unless the bytes are those that the table names, or else those of the first fetch."""
    if weights.sha256 is not None:
        if digest != weights.sha256:
            message = f"expected sha256 {weights.sha256}, got {digest}; nothing is kept"
            raise FetchError(f"weights {weights.name}: {message}")
        return
    first = _note(weights.name)
    if first is not None and digest != first["sha256"]:
        record = cache_folder() / weights.name / NOTE
        message = f"expected sha256 {first['sha256']}, as first fetched, got {digest}; nothing is kept"
        raise FetchError(f"weights {weights.name}: {message}; remove {record} if you trust the new ones")


def _download(weights: Weights, partial: Path, tell: Callable[[str], None]) -> tuple[str, int]:
    """sha256 and size of what was written to `partial`."""
    digest, size, due_s = hashlib.sha256(), 0, monotonic_s() + TELL_S
    tell(f"fetching {weights.url}")
    try:
        request = urllib.request.Request(weights.url, headers={"User-Agent": "wmkit"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply, partial.open("wb") as file:
            promised = reply.headers.get("Content-Length")
            total = int(promised) if promised is not None else None
            while chunk := reply.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if monotonic_s() >= due_s:
                    tell(f"{weights.name}: {size / 1e9:.2f} GB" + (f" of {total / 1e9:.2f}" if total else ""))
                    due_s += TELL_S
        sync_file(partial)
    except urllib.error.HTTPError as error:
        raise FetchError(
            f"weights {weights.name}: the server refused {weights.url}: {error.code} {error.reason}"
        ) from error
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        message = f"weights {weights.name}: expected to reach {weights.url}, got: {reason}; is there a network?"
        raise FetchError(message) from error
    if total is not None and size != total:
        raise FetchError(f"weights {weights.name}: expected {total} bytes, the server sent {size}; nothing is kept")
    return digest.hexdigest(), size
