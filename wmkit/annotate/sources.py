"""From what discovery found to what the run works on: content hashes (cached), names, one clip for equal content."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from wmkit.corpus import SourceRow
from wmkit.errors import ClipError
from wmkit.video import ClipFile, FoundClip, identify

__all__ = ["SourcePlan", "is_current", "plan_sources"]

HASH_THREADS = 8  # hashlib releases the interpreter; more hides the latency of a network disk


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """Every source accounted for.

    rows        one a source, for sources.parquet.
    files       one a distinct readable content, by clip id, in the order of discovery.
    unreadable  clip id (a hash of the path) -> source row and why; nothing is known of their content.
    """

    rows: tuple[SourceRow, ...]
    files: dict[str, ClipFile]
    unreadable: dict[str, tuple[SourceRow, ClipError]]


def plan_sources(found: Sequence[FoundClip], known: Sequence[SourceRow]) -> SourcePlan:
    """Identify every found clip; bytes are read only where path, size or time differ from a known row.

    A source keeps the name it entered the corpus with, so that a rerun of one file alone writes the same bytes.
    """
    by_path = {row.path: row for row in known}
    names = _names(found, known)
    fresh = [clip for clip in found if not is_current(clip, by_path.get(clip.path))]
    with ThreadPoolExecutor(HASH_THREADS) as threads:
        identified = dict(zip((clip.path for clip in fresh), threads.map(_identify, fresh), strict=True))
    rows: list[SourceRow] = []
    files: dict[str, ClipFile] = {}
    unreadable: dict[str, tuple[SourceRow, ClipError]] = {}
    for clip in found:
        outcome = identified.get(clip.path)
        if isinstance(outcome, ClipError):
            row = _row(
                clip, names[clip.path], None, hashlib.sha256(f"unreadable|{clip.path}".encode()).hexdigest()[:32]
            )
            unreadable[row.clip_id] = (row, outcome)
        elif outcome is not None:
            row = _row(clip, names[clip.path], outcome.content_hash, outcome.clip_id)
            files.setdefault(row.clip_id, replace(outcome, name=row.name))
        else:
            row = replace(by_path[clip.path], name=names[clip.path])
            files.setdefault(row.clip_id, _file(clip, row))
        rows.append(row)
    return SourcePlan(rows=tuple(rows), files=files, unreadable=unreadable)


def is_current(clip: FoundClip, row: SourceRow | None) -> bool:
    """Whether a known row still speaks of these bytes, as far as size and time can tell."""
    if row is None or row.content_hash is None:
        return False
    return (row.size_bytes, row.mtime_ns) == (clip.size_bytes, clip.mtime_ns)


def _identify(clip: FoundClip) -> ClipFile | ClipError:
    try:
        return identify(clip)
    except ClipError as error:
        return error


def _row(clip: FoundClip, name: str, content_hash: str | None, clip_id: str) -> SourceRow:
    return SourceRow(
        path=clip.path,
        name=name,
        size_bytes=clip.size_bytes,
        mtime_ns=clip.mtime_ns,
        content_hash=content_hash,
        clip_id=clip_id,
    )


def _file(clip: FoundClip, row: SourceRow) -> ClipFile:
    content = row.content_hash or ""
    return ClipFile(path=clip.path, name=row.name, content_hash=content, clip_id=row.clip_id, images=clip.images)


def _names(found: Sequence[FoundClip], known: Sequence[SourceRow]) -> dict[str, str]:
    """Path to name: the known one, else the found one, with folders before it until no other source has it."""
    names = {row.path: row.name for row in known}
    taken = set(names.values())
    for clip in found:
        if clip.path in names:
            continue
        name, parts = clip.name, PurePosixPath(clip.path).parts[1:]
        depth = len(PurePosixPath(name).parts)
        while name in taken and depth < len(parts):
            depth += 1
            name = "/".join(parts[-depth:])
        names[clip.path] = name
        taken.add(name)
    return names
