"""What a shards folder holds, and how its parts are read: nothing is trusted that its index does not vouch for.

::

    <split>-000000.tar   WebDataset: the parts of a sample follow one another, named <key>.<part>; key = clip id
        .mp4             H.264, one frame a trajectory row, at the constant mean rate of the clip
        .json            clip, view, frames (size, crop, fps, true time_s), scale, verdicts, provenance, caption
        .trajectory.npy  (N, 4, 4) f8 world_from_cam, in the unit of .json: scale.unit; NaN rows are unposed frames
        .intrinsics.npy  (N, 4) f8 fx fy cx cy in px of the mp4's frames
        .txt             the caption, UTF-8, of a clip that has one
        .depth.npz       depth maps of some frames, of a build with --depth; see `wmkit.dataset.depth`
        .latent.safetensors, .text.safetensors   what `wmkit precompute` adds; see `wmkit.dataset.latents`
    index.parquet        one row a sample: shard, key, frames, size, scale, which frames are posed, and of every part
                         its offset and size in the shard and its xxh3
    shards.json          counts, bytes and sha256 a shard and of the index, thresholds and options used, corpus hash,
                         what was dropped by reason, conventions in words; written last: without it nothing is there
    dropped.jsonl        one line a dropped clip: id, source, reason, detail
    building.json        only while shards are being built, or after a build was killed
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from wmkit.camera import ScaleKind
from wmkit.dataset.open_tar import OpenTar, forget
from wmkit.dataset.remote_shards import RemoteShards
from wmkit.errors import ConfigError, CorruptShardError, InputError
from wmkit.video.reference import is_url

__all__ = [
    "BUILDING_NAME",
    "CONVENTIONS",
    "INDEX_NAME",
    "INDEX_SCHEMA",
    "PARTS",
    "SCHEMA_VERSION",
    "SHARDS_NAME",
    "VAL",
    "Folder",
    "Part",
    "Sample",
    "Shard",
    "ShardsFolder",
    "Shelf",
    "checksum",
    "head_sha256",
    "head_shards",
    "index_bytes",
    "open_shards",
    "opened",
    "part_bytes",
    "read_head",
    "read_index",
    "read_part",
    "sample_parts",
]

SCHEMA_VERSION = 1
MOST_BETWEEN = 4096  # bytes between two parts that are read together: headers, also long ones of other writers
VAL = "val"  # the split that is never drawn from unless it is named
SHARDS_NAME, INDEX_NAME, BUILDING_NAME = "shards.json", "index.parquet", "building.json"
PARTS = ("intrinsics.npy", "json", "mp4", "trajectory.npy")  # of every sample; all parts lie in a shard sorted by name
CONVENTIONS = {
    "axes": "OpenCV: x right, y down, z forward",
    "trajectory.npy": "(N, 4, 4) world_from_cam: maps a point in camera coordinates to world coordinates; NaN rows "
    "are frames without a pose",
    "translation": "metres if scale.kind is metric, else the median depth of the clip's points is 1",
    "intrinsics.npy": "(N, 4) fx fy cx cy in px of the mp4's frames; pixel (0,0) covers [0,1)^2, its centre is "
    "(0.5, 0.5)",
    "mp4": "frame k belongs to row k of both arrays; its true time is frames.time_s[k] of the json, and the mp4 "
    "shows it at k / fps",
    "depth.npz": "frame (K,): rows of the mp4; z in the unit of translation, along the camera's z axis, of the whole "
    "frame at another size: 1 / z = least + (256 code_high + code_low - 1) / 65534 (greatest - least), inverse_range "
    "(K, 2) holds least and greatest; a code of 0 is unknown; confidence (K, h, w) in 255ths, if there",
    "xxh3": "XXH3 with 128 bits over a part's bytes, hexadecimal",
}

PART = pa.struct([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("xxh3", pa.string())])
INDEX_SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("frames", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scale", pa.string()),
        ("posed", pa.list_(pa.bool_())),
        ("parts", pa.list_(PART)),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where one part of a sample lies in its shard: `offset` and `size` in bytes of the payload, and its XXH3-128."""

    name: str
    offset: int
    size: int
    xxh3: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One row of the index.

    shard          its name begins with the split.
    width, height  px, of the mp4's frames.
    posed          (N,) bool.
    parts          in the order they lie in the shard.
    """

    shard: str
    key: str
    frames: int
    width: int
    height: int
    scale: ScaleKind
    posed: NDArray[np.bool_]
    parts: tuple[Part, ...]

    @property
    def split(self) -> str:
        """The first part of the shard's name."""
        return self.shard.rpartition("-")[0]

    def part(self, name: str) -> Part:
        """Where the part `name` lies; CorruptShardError when the index has none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise CorruptShardError(f"{self.shard}: expected a part .{name} of sample {self.key}, the index lists none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One tar: its file name, size in bytes, sha256 and number of samples."""

    name: str
    size: int
    sha256: str
    samples: int


Shelf = Path | RemoteShards
"""Where shards lie: a folder on this machine, or one behind a URL."""

Folder = Shelf | OpenTar
"""Where parts are read: the same, or the open tar of their sample."""


def opened(folder: Shelf, sample: Sample) -> contextlib.AbstractContextManager[Folder]:
    """Where to read all parts of one sample from: `with opened(folder, sample) as place`."""
    return contextlib.nullcontext(folder) if isinstance(folder, RemoteShards) else OpenTar(folder, sample, kept=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardsFolder:
    """An opened shards folder: `head` is shards.json, the samples are in the order of the shards."""

    path: Shelf
    head: Mapping[str, Any]
    shards: tuple[Shard, ...]
    samples: tuple[Sample, ...]


def checksum(data: bytes | memoryview) -> str:
    """XXH3-128 of a part, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def index_bytes(samples: Sequence[Sample]) -> bytes:
    """The index as parquet; the same samples give the same bytes."""
    records = [
        {
            "shard": sample.shard,
            "key": sample.key,
            "frames": sample.frames,
            "width": sample.width,
            "height": sample.height,
            "scale": str(sample.scale),
            "posed": sample.posed.tolist(),
            "parts": [{name.name: getattr(part, name.name) for name in PART} for part in sample.parts],
        }
        for sample in samples
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(records, schema=INDEX_SCHEMA), sink)
    return sink.getvalue().to_pybytes()


def read_head(path: Shelf) -> dict[str, Any]:
    """shards.json of the folder `path`.

    InputError when it is no shards folder, ConfigError for another schema version, CorruptShardError when damaged.
    """
    file = path / SHARDS_NAME
    if isinstance(path, RemoteShards):
        data = path.read(SHARDS_NAME)
    elif (path / SHARDS_NAME).is_file():
        data = (path / SHARDS_NAME).read_bytes()
    else:
        hint = "an unfinished one; run" if (path / BUILDING_NAME).exists() else "found none; run"
        raise InputError(f"{path}: expected a shards folder (with {SHARDS_NAME}), {hint} wmkit build-shards")
    try:
        head = json.loads(data)
        version = head["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise CorruptShardError(f"{file}: expected a JSON head with a schema_version; build the shards again") from None
    if version != SCHEMA_VERSION:
        raise ConfigError(f"{file}: expected schema version {SCHEMA_VERSION}, got {version}; build the shards again")
    return head


def head_sha256(path: Shelf) -> str:
    """Identity of a shards folder: the sha256 of its head, which vouches for the index and every shard by theirs."""
    data = path.read(SHARDS_NAME) if isinstance(path, RemoteShards) else (path / SHARDS_NAME).read_bytes()
    return hashlib.sha256(data).hexdigest()


def open_shards(path: Path | str) -> ShardsFolder:
    """Head and index of the folder or URL `path`; every shard is there at its full size.

    Raises what `read_head` raises, and CorruptShardError naming the index or the shard that is damaged or short, or a
    sample without cameras, pixels or record.
    """
    folder = RemoteShards(path) if isinstance(path, str) and is_url(path) else Path(path)
    if isinstance(folder, Path):
        forget(folder)
    head = read_head(folder)
    shards = head_shards(folder, head)
    for shard in shards:
        size = _size(folder, shard.name)
        if size != shard.size:
            got = "no such file" if size is None else f"{size}"
            raise CorruptShardError(
                f"{folder / shard.name}: expected {shard.size} bytes, got {got}; build the shards again"
            )
    samples = read_index(folder, head)
    _check_parts(folder, samples)
    return ShardsFolder(path=folder, head=head, shards=shards, samples=samples)


def _check_parts(folder: Shelf, samples: Sequence[Sample]) -> None:
    """No sample without its cameras, pixels or record: said before work begins, not in the middle of it."""
    for sample in samples:
        absent = set(PARTS).difference(part.name for part in sample.parts)
        if absent:
            name = min(absent, key=("trajectory.npy", "intrinsics.npy", "mp4", "json").index)
            what = f"cameras (.{name})" if name.endswith(".npy") else f"a part .{name}"
            raise CorruptShardError(
                f"{folder / sample.shard}: expected {what} of every sample, got none of {sample.key}; build the shards "
                "again with wmkit build-shards"
            )


def _size(folder: Shelf, name: str) -> int | None:
    if isinstance(folder, RemoteShards):
        return folder.size(name)
    return (folder / name).stat().st_size if (folder / name).is_file() else None


def part_bytes(
    folder: Folder, sample: Sample, part: Part, *, check: bool = True, alone: bool = False
) -> tuple[bytes, str | None]:
    """What lies where a part should be, and what is wrong with it (None: nothing), for people.

    Without `check` nothing but its length is. `alone`: no other part of the sample will be wanted soon.
    """
    if isinstance(folder, Path):
        with OpenTar(folder, sample) as place:
            return part_bytes(place, sample, part, check=check)
    read = folder.part_alone if alone and isinstance(folder, RemoteShards) else folder.pread
    data, wrong = _checked(part, *read(sample, part), check=check)
    if wrong is not None and isinstance(folder, OpenTar) and folder.again():
        return part_bytes(folder, sample, part, check=check)
    return data, wrong


def _checked(part: Part, data: bytes, wrong: str | None, *, check: bool) -> tuple[bytes, str | None]:
    if wrong is not None:
        return data, f"expected .{part.name}, got {wrong}"
    if len(data) != part.size:
        return data, f"expected .{part.name} whole, got {len(data)} of {part.size} bytes"
    if check and checksum(data) != part.xxh3:
        return data, f"expected .{part.name} as it was written, got other bytes"
    return data, None


def read_part(folder: Folder, sample: Sample, name: str, *, check: bool = True, alone: bool = False) -> bytes:
    """One part's bytes by its offset; CorruptShardError naming shard, sample and part when they differ.

    Without `check` only a part that is cut short is noticed. `alone`: see `part_bytes`.
    """
    data, wrong = part_bytes(folder, sample, sample.part(name), check=check, alone=alone)
    if wrong is not None:
        raise CorruptShardError(f"{folder / sample.shard}: sample {sample.key}: {wrong}; run wmkit repair")
    return data


def sample_parts(folder: Shelf, sample: Sample, *, check: bool = True) -> dict[str, memoryview]:
    """Every part of a sample by its name, in their order; the errors of `read_part`.

    Parts that lie side by side in a local tar are views of one read: a small sample then costs half.
    """
    parts = sample.parts
    with opened(folder, sample) as place:
        if isinstance(place, OpenTar) and _side_by_side(parts):
            first, found = parts[0].offset, {}
            whole = memoryview(place.stretch(parts[-1].offset + parts[-1].size - first, first)[0])
            for part in parts:
                at, length = part.offset - first, part.size
                found[part.name] = piece = whole[at : at + length]
                if len(piece) != length or (check and checksum(piece) != part.xxh3):
                    break
            else:
                return found
        # Alone, which tells what is wrong, and finds a tar that was repaired meanwhile.
        return {part.name: memoryview(read_part(place, sample, part.name, check=check)) for part in parts}


def _side_by_side(parts: Sequence[Part]) -> bool:
    """Whether parts follow one another with little between: an index may say anything."""
    at = parts[0].offset if parts else -1
    for part in parts:
        if not 0 <= part.offset - at <= MOST_BETWEEN:
            return False
        at = part.offset + part.size
    return at >= 0


def head_shards(path: Shelf, head: Mapping[str, Any]) -> tuple[Shard, ...]:
    """The shards that the head of the folder `path` lists; CorruptShardError when it lists none it could mean."""
    try:
        shards = tuple(
            Shard(name=row["name"], size=row["bytes"], sha256=row["sha256"], samples=row["samples"])
            for row in head["shards"]
        )
        names = [shard.name for shard in shards]
        if len(set(names)) != len(names) or any(Path(name).name != name for name in names):
            raise ValueError(names)
    except (KeyError, TypeError, ValueError):
        raise CorruptShardError(f"{path / SHARDS_NAME}: expected a list of shards; build the shards again") from None
    return shards


def read_index(folder: Shelf, head: Mapping[str, Any]) -> tuple[Sample, ...]:
    """The rows of the index in `folder`; CorruptShardError when it is not the one that `head` vouches for."""
    path = folder / INDEX_NAME
    try:
        data = folder.read(INDEX_NAME) if isinstance(folder, RemoteShards) else (folder / INDEX_NAME).read_bytes()
        if hashlib.sha256(data).hexdigest() != head["index"]["sha256"]:
            raise CorruptShardError(f"{path}: expected the bytes {SHARDS_NAME} vouches for; build the shards again")
        # No threads: one that still held these bytes at the interpreter's end would abort it (apache/arrow#34314).
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).cast(INDEX_SCHEMA)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise CorruptShardError(f"{path}: expected a readable index, got {error}; build the shards again") from None
    listed = {shard.name for shard in head_shards(folder, head)}
    strangers = set(table.column("shard").to_pylist()) - listed
    if strangers:  # a name that leads elsewhere is never opened
        raise CorruptShardError(f"{path}: expected samples of the shards in {SHARDS_NAME}, got {min(strangers)!r}")
    return tuple(
        Sample(
            **{
                **row,
                "scale": ScaleKind(row["scale"]),
                "posed": np.array(row["posed"], dtype=np.bool_),
                "parts": tuple(Part(**part) for part in row["parts"]),
            }
        )
        for row in table.to_pylist()
    )
