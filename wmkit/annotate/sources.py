"""From what discovery found to what the run works on: content hashes (cached), names, one clip for equal content."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from wmkit.annotate.clip_facts import ClipFacts
from wmkit.corpus import SourceRow
from wmkit.errors import ClipError
from wmkit.video import ClipFile, FoundClip, content_hash
from wmkit.video.discover import clip_file
from wmkit.video.reference import is_url, split_reference

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


def plan_sources(
    found: Sequence[FoundClip],
    known: Sequence[SourceRow],
    *,
    rehash: bool = False,
    beside: Callable[[ClipFile], str] | None = None,
) -> SourcePlan:
    """Identify every found clip; bytes are read only where path, size or time differ from a known row, or `rehash`.

    A source keeps the name it entered the corpus with, and what a manifest once said of it until another manifest
    lists it, so that a rerun of one file alone writes the same bytes. `beside` is hashed for every source.
    """
    by_path = {row.path: row for row in known}
    names = _names(found, known)
    found = [_with_given(clip, by_path.get(clip.path), beside) for clip in found]
    hashes = {} if rehash else _known_hashes(known)
    fresh = _one_a_file(clip for clip in found if _location_key(clip) not in hashes)
    with ThreadPoolExecutor(HASH_THREADS) as threads:
        identified = dict(zip(fresh, threads.map(_hash, fresh.values()), strict=True))
    rows: list[SourceRow] = []
    files: dict[str, ClipFile] = {}
    unreadable: dict[str, tuple[SourceRow, ClipError]] = {}
    for clip in found:
        key = _location_key(clip)
        outcome = hashes[key] if key in hashes else identified[key]
        if isinstance(outcome, ClipError):
            nobody = hashlib.sha256(f"unreadable|{clip.path}".encode()).hexdigest()[:32]
            row = _row(clip, names[clip.path], None, nobody)
            unreadable[row.clip_id] = (row, outcome)
        else:
            file = clip_file(clip, names[clip.path], outcome)
            row = _row(clip, file.name, outcome, file.clip_id)
            files.setdefault(row.clip_id, file)
        rows.append(row)
    return SourcePlan(rows=tuple(rows), files=files, unreadable=unreadable)


def is_current(clip: FoundClip, row: SourceRow | None, beside: Callable[[ClipFile], str] | None = None) -> bool:
    """Whether a known row still speaks of these bytes, as far as size and time tell, and of what is said of them."""
    if row is None or row.content_hash is None or (_with_given(clip, row, beside).given or "") != row.given:
        return False
    versioned = row.mtime_ns or not is_url(clip.location)
    return bool(versioned) and (row.size_bytes, row.mtime_ns) == (clip.size_bytes, clip.mtime_ns)


def _with_given(clip: FoundClip, row: SourceRow | None, beside: Callable[[ClipFile], str] | None) -> FoundClip:
    """Where nobody says anything of the clip now, what was said before; and what lies beside it now."""
    given = row.given if clip.given is None and row is not None else clip.given or ""
    if beside is not None or '"beside"' in given:
        hashed = "" if beside is None else beside(clip_file(clip, clip.name, ""))
        given = replace(ClipFacts.parse(given), beside=hashed or None).text()
    return clip if given == (clip.given or "") else replace(clip, given=given)


_FileKey = tuple[str, int, int]


def _location_key(clip: FoundClip) -> _FileKey:
    """The bytes a clip is of, as far as place, size and time can tell: equal for the parts of one source."""
    return clip.location, clip.size_bytes, clip.mtime_ns


def _known_hashes(known: Sequence[SourceRow]) -> dict[_FileKey, str | ClipError]:
    """Content hashes by what may stand for them; a URL of no known version says nothing of its bytes."""
    hashes: dict[_FileKey, str | ClipError] = {}
    for row in known:
        location = split_reference(row.path)[0]
        if row.content_hash is not None and (row.mtime_ns or not is_url(location)):
            hashes[location, row.size_bytes, row.mtime_ns] = row.content_hash
    return hashes


def _one_a_file(clips: Iterable[FoundClip]) -> dict[_FileKey, FoundClip]:
    return {_location_key(clip): clip for clip in clips}


def _hash(clip: FoundClip) -> str | ClipError:
    try:
        return content_hash(clip)
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
        given=clip.given or "",
    )


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
