"""Which clips are below the given paths, URLs and patterns: videos and folders of images, in one fixed order.

Discovery opens next to nothing, so that 200 000 files take seconds; `identify` reads a clip's bytes and may be
cached by (path, size, mtime).
"""

import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path, PurePosixPath

from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile
from wmkit.video.reference import Span, is_url, split_reference, with_span
from wmkit.video.remote import fetched_hash, remote_file, remote_files

__all__ = [
    "IMAGE_EXTENSIONS",
    "VIDEO_EXTENSIONS",
    "Discovery",
    "FoundClip",
    "Skipped",
    "clip_file",
    "clip_id_of",
    "content_hash",
    "discover",
    "found_file",
    "identify",
]

VIDEO_EXTENSIONS = (
    *(".264", ".265", ".3g2", ".3gp", ".asf", ".avc", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc"),
    *(".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg"),
    *(".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m"),
)
IMAGE_EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_EXTENSIONS = frozenset(VIDEO_EXTENSIONS + IMAGE_EXTENSIONS)
_SKIPPED_FOLDERS = frozenset({"depth", "mask", "masks"})
_NUMBER = re.compile(r"\d+(?:\.\d+)?")  # a decimal is one number: time stamps such as 1305031102.175304.png
_READ_BYTES = 1 << 20
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClip:
    """A clip before its bytes are read.

    path        absolute path of the file or folder, or its URL; a part of it has its span behind it (`reference`).
    name        path below the input root, posix separators, unique in one discovery.
    images      names inside the folder in time order; empty for a video file.
    size_bytes  of the file, or of all images together.
    mtime_ns    last change of the file, or of the latest image; 0 with size 0 when it cannot be stat-ed. Of a URL see
                `RemoteFile.version`.
    span_s      as in `ClipFile`.
    given       as in `ClipFile`; None: nobody said anything, and what was said in an earlier run holds.
    """

    path: str
    name: str
    images: tuple[str, ...]
    size_bytes: int
    mtime_ns: int
    span_s: Span | None = None
    given: str | None = None

    @property
    def location(self) -> str:
        """The path or URL without the span."""
        return self.path if self.span_s is None else self.path[: self.path.rindex("#t=")]

    def part(self, span_s: Span | None) -> "FoundClip":
        """A part of this whole source, which its path and name then tell."""
        if span_s is None:
            return self
        return replace(self, path=with_span(self.path, span_s), name=with_span(self.name, span_s), span_s=span_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that looks like footage and is no clip: `path` absolute, `reason` a stable snake_case word.

    depth_or_mask_folder, sixteen_bit_images, several_patterns, unreadable_folder, name_not_utf8.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Every clip, sorted by name, and everything skipped, sorted by path."""

    clips: tuple[FoundClip, ...]
    skipped: tuple[Skipped, ...]


def discover(paths: Iterable[str | Path], listed: Iterable[FoundClip] = ()) -> Discovery:
    """All clips below `paths`, folders recursively; a file named here is a video whatever its extension.

    A path may be a URL (videos alone), a shell pattern, and end in a span. `listed` are clips that a manifest names:
    they come first. A clip that two ways reach is listed once, under the first. Raises InputError when a path does
    not exist or is neither file nor folder, a URL does not answer, and when nothing was found.
    """
    roots = [str(path) for path in paths]
    skipped: dict[str, Skipped] = {}
    by_path: dict[str, FoundClip] = {}
    for clip in listed:
        by_path.setdefault(clip.path, clip)
    if not roots and not by_path:
        raise InputError("PATH: expected at least one video file or folder, got none")
    for root in roots:
        for clip in _reached(root, skipped):
            by_path.setdefault(clip.path, clip)
    if not by_path:
        reasons = f" ({_counts(skipped.values())} skipped)" if skipped else ""
        where = ", ".join(roots[:3]) + (", ..." if len(roots) > 3 else "")
        raise InputError(
            f"no clip found in {where}{reasons}: expected video files or folders of at least 2 8-bit images "
            f"of one naming pattern; name a video of another extension itself"
        )
    clips = sorted(_unique_names(list(by_path.values())), key=lambda clip: (clip.name, clip.path))
    return Discovery(clips=tuple(clips), skipped=tuple(skipped[path] for path in sorted(skipped)))


def _counts(skipped: Iterable[Skipped]) -> str:
    reasons = [item.reason for item in skipped]
    return ", ".join(f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons)))


def _reached(root: str, skipped: dict[str, Skipped]) -> Iterator[FoundClip]:
    """Clips that one path, URL or pattern leads to."""
    text, span_s = split_reference(root)
    if is_url(text):
        found = [
            FoundClip(path=file.url, name=file.name, images=(), size_bytes=file.size_bytes, mtime_ns=file.version)
            for file in remote_files(text, VIDEO_EXTENSIONS)
        ]
    elif not os.path.lexists(text) and _MAGIC.search(text):
        top = Path(os.path.abspath(text[: _MAGIC.search(text).start()] + "x")).parent  # pyright: ignore[reportOptionalMemberAccess]
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise InputError(f"{root}: expected a pattern that matches a video or a folder, got none; check it")
        found = [clip for match in matches for clip in _below(Path(os.path.abspath(match)), skipped, top)]
    else:
        found = list(_below(Path(os.path.abspath(text)), skipped))
    if span_s is not None and len(found) > 1:
        raise InputError(f"{root}: expected one clip to take a span of, got {len(found)}; name the file")
    yield from (clip.part(span_s) for clip in found)


def found_file(location: str, name: str) -> FoundClip:
    """A clip that something else than a search names: a local file or folder of images, or a URL.

    What is not there is a clip nevertheless, whose failure `identify` tells. Raises InputError for a folder that is
    no image sequence.
    """
    if is_url(location):
        file = remote_file(location)
        return FoundClip(path=location, name=name, images=(), size_bytes=file.size_bytes, mtime_ns=file.version)
    path = Path(os.path.abspath(location))
    if not path.is_dir():
        return _found(path, name, ())
    images = [entry.name for entry in path.iterdir() if entry.suffix.lower() in IMAGE_EXTENSIONS]
    sequence = _sequence(path, images, {})
    if not sequence:
        raise InputError(f"{location}: expected a video, or a folder of at least 2 8-bit images of one naming pattern")
    return _found(path, name, sequence)


def _below(root: Path, skipped: dict[str, Skipped], top: Path | None = None) -> Iterator[FoundClip]:
    """Clips at and below `root`, named by their path below `top`, or below the root itself."""
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise InputError(f"{root}: expected a video file or a folder, got {error.strerror}; check the path") from error
    if stat.S_ISDIR(mode):
        yield from _scan(root, top or root, skipped, frozenset())
    elif stat.S_ISREG(mode):
        if not _is_utf8(root.name):
            raise InputError(f"{str(root)!r}: expected a name in UTF-8; rename it")
        yield _found(root, root.name if top is None else _name(root, top), ())
    else:
        raise InputError(f"{root}: expected a video file or a folder, got a device, pipe or socket")


def _scan(
    folder: Path, root: Path, skipped: dict[str, Skipped], parents: frozenset[tuple[int, int]]
) -> Iterator[FoundClip]:
    """Clips in and below `folder`; `parents` are the folders above it, so a link to one of them ends there."""
    try:
        info = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        skipped[str(folder)] = Skipped(path=str(folder), reason="unreadable_folder")
        return
    identity = (info.st_dev, info.st_ino)
    if identity in parents:
        return
    images: list[str] = []
    within = "" if folder == root else f"{_name(folder, root)}/"
    for entry in entries:
        if entry.name.startswith("."):
            continue
        extension = os.path.splitext(entry.name)[1].lower()
        is_folder = entry.is_dir()
        if not is_folder and extension not in _EXTENSIONS:
            continue
        if not _is_utf8(entry.name):
            skipped[entry.path] = Skipped(path=os.fsencode(entry.path).decode(errors="replace"), reason="name_not_utf8")
        elif is_folder and entry.name.lower() in _SKIPPED_FOLDERS:
            skipped[entry.path] = Skipped(path=entry.path, reason="depth_or_mask_folder")
        elif is_folder:
            yield from _scan(Path(entry.path), root, skipped, parents | {identity})
        elif not (entry.is_file() or entry.is_symlink()):
            continue  # a pipe would hang whoever opens it
        elif extension in VIDEO_EXTENSIONS and _is_video(entry.path, extension):
            yield _found(entry.path, within + entry.name, ())
        elif extension in IMAGE_EXTENSIONS:
            images.append(entry.name)
    sequence = _sequence(folder, images, skipped)
    if sequence:
        yield _found(folder, _name(folder, root), sequence)


def _is_video(path: str, extension: str) -> bool:
    """Tells apart extensions that are also something else: still pictures (.webp) and program text (.ts)."""
    if extension not in (".webp", ".ts"):
        return True
    try:
        with open(path, "rb") as stream:
            head = stream.read(21)
    except OSError:
        return True  # its own failure later, with a reason
    if extension == ".ts":
        return not head or head[:1] == b"\x47"
    return head[12:16] == b"VP8X" and len(head) == 21 and bool(head[20] & 0x02)  # the animation flag of RFC 9649


def _sequence(folder: Path, images: list[str], skipped: dict[str, Skipped]) -> tuple[str, ...]:
    """The one image sequence of a folder in time order, or () with the reason noted."""
    patterns: dict[tuple[str, str], list[tuple[Decimal, str]]] = {}
    for name in images:
        stem = os.path.splitext(name)[0]
        numbers = list(_NUMBER.finditer(stem))
        if numbers:
            last = numbers[-1]
            key = (stem[: last.start()], stem[last.end() :])
            patterns.setdefault(key, []).append((Decimal(last.group()), name))
    sequences = []
    for key in sorted(patterns):
        for members in _by_extension(patterns[key]):
            if len(members) < 2:
                continue
            if _sixteen_bit(folder / members[0][1]):
                skipped[str(folder)] = Skipped(path=str(folder), reason="sixteen_bit_images")
            else:
                sequences.append(tuple(name for _, name in members))
    if len(sequences) > 1:
        skipped[str(folder)] = Skipped(path=str(folder), reason="several_patterns")
        return ()
    return sequences[0] if sequences else ()


def _by_extension(members: list[tuple[Decimal, str]]) -> list[list[tuple[Decimal, str]]]:
    """One list in numeric order; one a extension when a number comes twice (001.jpg beside 001.png)."""
    members = sorted(members)
    if len({number for number, _ in members}) == len(members):
        return [members]
    extensions = sorted({os.path.splitext(name)[1].lower() for _, name in members})
    return [[item for item in members if os.path.splitext(item[1])[1].lower() == kind] for kind in extensions]


def _sixteen_bit(path: Path) -> bool:
    """Whether a PNG's header says 16 bits a sample; a sequence is judged by its first image."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(25)
    except OSError:
        return False
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:25] == b"\x10"


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else (root.name or "root")


def _found(path: Path | str, name: str, images: tuple[str, ...]) -> FoundClip:
    size_bytes, mtime_ns = 0, 0
    for item in [os.path.join(path, image) for image in images] or [path]:
        try:
            info = os.stat(item)
        except OSError:
            continue  # a broken link: identify() makes it this clip's failure
        size_bytes += info.st_size
        mtime_ns = max(mtime_ns, info.st_mtime_ns)
    return FoundClip(path=str(path), name=name, images=images, size_bytes=size_bytes, mtime_ns=mtime_ns)


def _unique_names(found: list[FoundClip]) -> Iterator[FoundClip]:
    """Equal names from two roots get as many of the folders above as it takes to tell them apart."""
    named: dict[str, list[FoundClip]] = {}
    for clip in found:
        named.setdefault(clip.name, []).append(clip)
    for clip in found:
        if len(named[clip.name]) == 1:
            yield clip
            continue
        parts = PurePosixPath(Path(clip.path).as_posix()).parts[1:]
        rivals = [PurePosixPath(Path(other.path).as_posix()).parts[1:] for other in named[clip.name]]
        depth = len(PurePosixPath(clip.name).parts) + 1
        while depth < len(parts) and sum(rival[-depth:] == parts[-depth:] for rival in rivals) > 1:
            depth += 1
        yield replace(clip, name="/".join(parts[-depth:]))


def content_hash(found: FoundClip) -> str:
    """sha256 (64 hex digits) of a file's bytes; of a folder, over its (image name, sha256) pairs sorted by name.

    A remote file is fetched into the cache for it. Raises ClipError("discover", "unreadable") when a file cannot be
    read, and as `fetched_hash` does.
    """
    location = found.location
    if is_url(location):
        return fetched_hash(location, found.name)
    if not found.images:
        return _file_hash(Path(location), found.name)
    digest = hashlib.sha256()
    for image in sorted(found.images):
        digest.update(f"{image}\0{_file_hash(Path(location) / image, found.name)}\n".encode())
    return digest.hexdigest()


def _file_hash(path: Path, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        message = f"{name}: expected a readable file, got {error.strerror} for {path.name}; check its permissions"
        raise ClipError("discover", "unreadable", message) from error
    return digest.hexdigest()


def clip_id_of(content: str, span_s: Span | None = None) -> str:
    """Clip id, 32 hex digits: a function of the content's hash and the span."""
    part = with_span("", span_s) or "whole"
    return hashlib.sha256(f"{content}|{part}".encode()).hexdigest()[:32]


def identify(found: FoundClip) -> ClipFile:
    """Reads the clip's bytes once and names it by them; raises as `content_hash` does."""
    content = content_hash(found)
    return clip_file(found, found.name, content)


def clip_file(found: FoundClip, name: str, content: str) -> ClipFile:
    """What workers are sent of a found clip whose content's hash is known."""
    return ClipFile(
        path=found.location,
        name=name,
        content_hash=content,
        clip_id=clip_id_of(content, found.span_s),
        images=found.images,
        span_s=found.span_s,
        given=found.given or "",
    )
