"""Which clips are below the given paths: video files and folders of images, in one fixed order.

Discovery opens next to nothing, so that 200 000 files take seconds; `identify` reads a clip's bytes and may be
cached by (path, size, mtime).
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath

from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile

__all__ = [
    "IMAGE_EXTENSIONS",
    "VIDEO_EXTENSIONS",
    "Discovery",
    "FoundClip",
    "Skipped",
    "clip_id_of",
    "content_hash",
    "discover",
    "identify",
]

VIDEO_EXTENSIONS = (
    *(".264", ".265", ".3g2", ".3gp", ".asf", ".avc", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc"),
    *(".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg"),
    *(".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m"),
)
IMAGE_EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_SKIPPED_FOLDERS = frozenset({"depth", "mask", "masks"})
_NUMBER = re.compile(r"\d+(?:\.\d+)?")  # a decimal is one number: time stamps such as 1305031102.175304.png
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClip:
    """A clip before its bytes are read.

    path        absolute path of the file or folder.
    name        path below the input root, posix separators, unique in one discovery.
    images      names inside the folder in time order; empty for a video file.
    size_bytes  of the file, or of all images together.
    mtime_ns    last change of the file, or of the latest image; 0 with size 0 when it cannot be stat-ed.
    """

    path: str
    name: str
    images: tuple[str, ...]
    size_bytes: int
    mtime_ns: int


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


def discover(paths: Iterable[str | Path]) -> Discovery:
    """All clips below `paths`, folders recursively; a file named here is a video whatever its extension.

    A clip that two paths reach is listed once, under the first. Raises InputError when a path does not exist or is
    neither file nor folder, and when nothing was found.
    """
    roots = [Path(os.path.abspath(path)) for path in paths]
    if not roots:
        raise InputError("PATH: expected at least one video file or folder, got none")
    skipped: dict[str, Skipped] = {}
    by_path: dict[str, tuple[Path, FoundClip]] = {}
    for root in roots:
        for clip in _below(root, skipped):
            by_path.setdefault(clip.path, (root, clip))
    if not by_path:
        reasons = f" ({_counts(skipped.values())} skipped)" if skipped else ""
        where = ", ".join(str(root) for root in roots[:3]) + (", ..." if len(roots) > 3 else "")
        raise InputError(
            f"no clip found in {where}{reasons}: expected video files or folders of at least 2 8-bit images "
            f"of one naming pattern; name a video of another extension itself"
        )
    clips = sorted(_unique_names(list(by_path.values())), key=lambda clip: (clip.name, clip.path))
    return Discovery(clips=tuple(clips), skipped=tuple(skipped[path] for path in sorted(skipped)))


def _counts(skipped: Iterable[Skipped]) -> str:
    reasons = [item.reason for item in skipped]
    return ", ".join(f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons)))


def _below(root: Path, skipped: dict[str, Skipped]) -> Iterator[FoundClip]:
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise InputError(f"{root}: expected a video file or a folder, got {error.strerror}; check the path") from error
    if stat.S_ISDIR(mode):
        yield from _scan(root, root, skipped, frozenset())
    elif stat.S_ISREG(mode):
        if not _is_utf8(root.name):
            raise InputError(f"{str(root)!r}: expected a name in UTF-8; rename it")
        yield _found(root, root.name, ())
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
    for entry in entries:
        if entry.name.startswith("."):
            continue
        extension = os.path.splitext(entry.name)[1].lower()
        is_folder = entry.is_dir()
        if not is_folder and extension not in VIDEO_EXTENSIONS + IMAGE_EXTENSIONS:
            continue
        if not _is_utf8(entry.name):
            skipped[entry.path] = Skipped(path=os.fsencode(entry.path).decode(errors="replace"), reason="name_not_utf8")
        elif is_folder and entry.name.lower() in _SKIPPED_FOLDERS:
            skipped[entry.path] = Skipped(path=entry.path, reason="depth_or_mask_folder")
        elif is_folder:
            yield from _scan(Path(entry.path), root, skipped, parents | {identity})
        elif not (entry.is_file() or entry.is_symlink()):
            continue  # a pipe would hang whoever opens it
        elif extension in VIDEO_EXTENSIONS and _is_video(Path(entry.path), extension):
            yield _found(Path(entry.path), _name(Path(entry.path), root), ())
        elif extension in IMAGE_EXTENSIONS:
            images.append(entry.name)
    sequence = _sequence(folder, images, skipped)
    if sequence:
        yield _found(folder, _name(folder, root), sequence)


def _is_video(path: Path, extension: str) -> bool:
    """Tells apart extensions that are also something else: still pictures (.webp) and program text (.ts)."""
    if extension not in (".webp", ".ts"):
        return True
    try:
        with path.open("rb") as stream:
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


def _found(path: Path, name: str, images: tuple[str, ...]) -> FoundClip:
    size_bytes, mtime_ns = 0, 0
    for item in [path / image for image in images] or [path]:
        try:
            info = item.stat()
        except OSError:
            continue  # a broken link: identify() makes it this clip's failure
        size_bytes += info.st_size
        mtime_ns = max(mtime_ns, info.st_mtime_ns)
    return FoundClip(path=str(path), name=name, images=images, size_bytes=size_bytes, mtime_ns=mtime_ns)


def _unique_names(found: list[tuple[Path, FoundClip]]) -> Iterator[FoundClip]:
    """Equal names from two roots get as many of the folders above as it takes to tell them apart."""
    counts: dict[str, int] = {}
    for _, clip in found:
        counts[clip.name] = counts.get(clip.name, 0) + 1
    for _, clip in found:
        if counts[clip.name] == 1:
            yield clip
            continue
        parts = PurePosixPath(Path(clip.path).as_posix()).parts[1:]
        rivals = [PurePosixPath(Path(other.path).as_posix()).parts[1:] for _, other in found if other.name == clip.name]
        depth = len(PurePosixPath(clip.name).parts) + 1
        while depth < len(parts) and sum(rival[-depth:] == parts[-depth:] for rival in rivals) > 1:
            depth += 1
        yield FoundClip(
            path=clip.path,
            name="/".join(parts[-depth:]),
            images=clip.images,
            size_bytes=clip.size_bytes,
            mtime_ns=clip.mtime_ns,
        )


def content_hash(found: FoundClip) -> str:
    """sha256 (64 hex digits) of a file's bytes; of a folder, over its (image name, sha256) pairs sorted by name.

    Raises ClipError("discover", "unreadable") when a file cannot be read.
    """
    if not found.images:
        return _file_hash(Path(found.path), found.name)
    digest = hashlib.sha256()
    for image in sorted(found.images):
        digest.update(f"{image}\0{_file_hash(Path(found.path) / image, found.name)}\n".encode())
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


def clip_id_of(content: str) -> str:
    """Clip id, 32 hex digits: a function of the content's hash and the span, which is the whole source."""
    return hashlib.sha256(f"{content}|whole".encode()).hexdigest()[:32]


def identify(found: FoundClip) -> ClipFile:
    """Reads the clip's bytes once and names it by them; raises as `content_hash` does."""
    content = content_hash(found)
    return ClipFile(
        path=found.path, name=found.name, content_hash=content, clip_id=clip_id_of(content), images=found.images
    )
