"""What a plain reader finds in a WebDataset tar, ours or anyone's, without its leniency.

Plain readers take a broken header for the end, pass half samples on, and hand out names like `../x`; each of these
raises here. Headers alone are read, nothing is unpacked, and links, devices and pickles are never more than names.
"""

import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wmkit.dataset.tar import END
from wmkit.errors import CorruptShardError, InputError

__all__ = ["Member", "grouped", "read_members"]

_READ = 1 << 20

# The convention: a sample is what shares the path up to the first dot of the file name; the rest names the part.
_KEY_AND_PART = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A regular file in a tar: its name, and offset and size in bytes of its payload."""

    name: str
    offset: int
    size: int


def read_members(path: Path) -> tuple[Member, ...]:
    """Every regular file of the tar, in order; folders are passed over.

    InputError when there is no such file. CorruptShardError when it is cut, a header is damaged, the end is missing
    or followed by more, or a member is a link, a device, sparse, or named outside the tar's own folder.
    """
    members: list[Member] = []
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if not info.isdir():
                    members.append(_member(path, info))
            file.seek(archive.offset)
            end = file.read(len(END))
            more = any(block.strip(b"\0") for block in iter(lambda: file.read(_READ), b""))
    except FileNotFoundError:
        raise InputError(f"{path}: expected a tar, found none") from None
    except (tarfile.TarError, OSError, ValueError) as error:
        raise CorruptShardError(f"{path}: expected a whole tar, got {error}{_after(members)}") from None
    if end != END or more:
        what = "more after its end" if end == END else "no header and no end"
        raise CorruptShardError(f"{path}: expected a whole tar, got {what}{_after(members)}")
    return tuple(members)


def grouped(path: Path, members: Iterable[Member]) -> dict[str, dict[str, Member]]:
    """Key -> part -> member, in the order of the tar `path`; what is no part of a sample is left out.

    CorruptShardError for a part that is there twice, and for parts of one sample that do not follow one another.
    """
    samples: dict[str, dict[str, Member]] = {}
    last = None
    for member in members:
        match = _KEY_AND_PART.fullmatch(member.name)
        if match is None or _is_note(member.name):
            continue
        key, part = match[1], match[2].lower()
        if key in samples and (key != last or part in samples[key]):
            what = f"a second .{part}" if part in samples[key] else f".{part} apart from its other parts"
            raise CorruptShardError(f"{path}: sample {key}: expected its parts once and together, got {what}")
        samples.setdefault(key, {})[part] = member
        last = key
    return samples


def _member(path: Path, info: tarfile.TarInfo) -> Member:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        raise CorruptShardError(f"{path}: expected regular files, got a link, device or sparse file {info.name!r}")
    if info.name.startswith("/") or ".." in PurePosixPath(info.name).parts or "\0" in info.name:
        raise CorruptShardError(f"{path}: expected names below the tar's own folder, got {info.name!r}")
    return Member(name=info.name, offset=info.offset_data, size=info.size)


def _is_note(name: str) -> bool:
    """Names like `__meta__.json` belong to no sample."""
    file = name.rpartition("/")[2]
    return file.startswith("__") and file.partition(".")[0].endswith("__")


def _after(members: list[Member]) -> str:
    return f" after {members[-1].name}" if members else " at its beginning"
