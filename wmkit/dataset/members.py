"""What a plain reader finds in a WebDataset tar, ours or anyone's, without its leniency.

Plain readers take a broken header for the end, pass half samples on, and hand out names like `../x`; each of these
raises here. Headers alone are read, nothing is unpacked, and links, devices and pickles are never more than names.
"""

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wmkit.dataset.tar import END
from wmkit.errors import CorruptShardError, InputError

__all__ = ["Member", "TarSample", "read_members", "read_samples"]

_READ = 1 << 20

# The convention: a sample is what shares the path up to the first dot of the file name; the rest names the part.
_NOTE = re.compile(r"__[^/]*__($|/)")  # belongs to no sample
_KEY_AND_PART = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A regular file in a tar: its name, and offset and size in bytes of its payload."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TarSample:
    """One sample of a tar, whoever wrote it: `parts` by name, in the order they lie."""

    tar: Path
    key: str
    parts: dict[str, Member]

    def read(self, part: str) -> bytes:
        """The bytes of one part, by its offset; CorruptShardError when there is none or it is cut short."""
        member = self.parts.get(part)
        if member is None:
            raise CorruptShardError(f"{self.tar}: sample {self.key}: expected .{part}, got {', '.join(self.parts)}")
        with open(self.tar, "rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
        if len(data) != member.size:
            raise CorruptShardError(
                f"{self.tar}: sample {self.key}: expected {member.size} bytes of .{part}, got {len(data)}"
            )
        return data


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


def read_samples(path: Path) -> tuple[TarSample, ...]:
    """The samples of any WebDataset tar, in order; what is no part of a sample is left out.

    What `read_members` raises, and CorruptShardError for a part that is there twice, or parts of one sample that do
    not follow one another.
    """
    samples: dict[str, dict[str, Member]] = {}
    last = None
    for member in read_members(path):
        match = _KEY_AND_PART.fullmatch(member.name)
        if match is None or _NOTE.match(member.name):
            continue
        key, part = match[1], match[2].lower()
        if key in samples and (key != last or part in samples[key]):
            what = f"a second .{part}" if part in samples[key] else f".{part} apart from its other parts"
            raise CorruptShardError(f"{path}: sample {key}: expected its parts once and together, got {what}")
        samples.setdefault(key, {})[part] = member
        last = key
    return tuple(TarSample(tar=path, key=key, parts=parts) for key, parts in samples.items())


def _member(path: Path, info: tarfile.TarInfo) -> Member:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        raise CorruptShardError(f"{path}: expected regular files, got a link, device or sparse file {info.name!r}")
    if info.name.startswith("/") or ".." in PurePosixPath(info.name).parts or "\0" in info.name:
        raise CorruptShardError(f"{path}: expected names below the tar's own folder, got {info.name!r}")
    return Member(name=info.name, offset=info.offset_data, size=info.size)


def _after(members: list[Member]) -> str:
    return f" after {members[-1].name}" if members else " at its beginning"
