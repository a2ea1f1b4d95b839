"""`verify_shards`: read everything a shards folder holds and name what is not what its head and index promise."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.dataset.decode import count_frames, load_array
from wmkit.dataset.depth import depth_damage
from wmkit.dataset.latents import Precomputed, added_damage, precomputed
from wmkit.dataset.members import read_samples
from wmkit.dataset.schema import (
    INDEX_NAME,
    PARTS,
    SHARDS_NAME,
    Part,
    Sample,
    Shard,
    head_shards,
    part_bytes,
    read_head,
    read_index,
    read_part,
)
from wmkit.dataset.tar import BLOCK, member_header
from wmkit.errors import CorruptShardError
from wmkit.hashes import hash_of_file

__all__ = ["Damage", "VerifyReport", "shard_damage", "verify_shards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is wrong: in which file, with which sample (empty: with the file as a whole), and what."""

    file: str
    sample: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.sample + ': ' if self.sample else ''}{self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was read, and every damage found, by file."""

    path: str
    shards: int
    samples: int
    frames: int
    bytes: int
    damage: tuple[Damage, ...]

    @property
    def exit_code(self) -> int:
        """1 when there is damage, else 0."""
        return 1 if self.damage else 0

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """One line a damage, and the sum, for people."""
        tars = "1 tar" if self.shards == 1 else f"{self.shards} tars"
        sum_ = f"{tars}, {self.samples} samples, {self.frames} frames, {self.bytes / 1e6:.1f} MB"
        if not self.damage:
            return [f"{self.path}: whole ({sum_})"]
        hit = len({entry.sample for entry in self.damage if entry.sample})
        verdict = f"{self.path}: DAMAGED, {hit} of {self.samples} samples hit ({sum_}); run wmkit repair"
        return [*(f"{entry}" for entry in self.damage), verdict]


def verify_shards(
    path: Path, progress: Callable[[int, int], None] | None = None, *, full: bool = False
) -> VerifyReport:
    """Check every byte of the shards and the index, that a plain reader finds the samples, and that the parts agree.

    progress  called with (samples done, samples), from this thread.
    full      decode every frame too, and look at every value that was precomputed.

    Damage is in the report. Raises InputError when `path` is no shards folder, ConfigError when it is another
    version's, CorruptShardError when shards.json itself cannot be read.
    """
    head = read_head(path)
    shards = head_shards(path, head)
    damage: list[Damage] = []
    try:
        samples = read_index(path, head)
    except CorruptShardError as error:
        samples, damage = (), [Damage(file=INDEX_NAME, sample="", what=str(error))]
    made = precomputed(head)
    held = defaultdict[str, list[Sample]](list)
    for sample in samples:
        held[sample.shard].append(sample)
    for shard in shards:
        wrong = shard_damage(path, shard) or _members_damage(path / shard.name, held[shard.name] if samples else None)
        damage += [Damage(file=shard.name, sample="", what=wrong)] if wrong else []
    for done, sample in enumerate(samples, start=1):
        damage += [
            Damage(file=sample.shard, sample=sample.key, what=what) for what in _sample_damage(path, sample, made, full)
        ]
        if progress is not None:
            progress(done, len(samples))
    damage += _counts_damage(path, shards, samples) if INDEX_NAME not in {entry.file for entry in damage} else []
    return VerifyReport(
        path=str(path),
        shards=len(shards),
        samples=len(samples),
        frames=sum(sample.frames for sample in samples),
        bytes=sum(shard.size for shard in shards),
        damage=tuple(sorted(damage, key=lambda entry: (entry.file, entry.sample))),
    )


def shard_damage(path: Path, shard: Shard) -> str | None:
    """What is wrong with the bytes of a shard in the folder `path`, None when they are those of its head."""
    file = path / shard.name
    if not file.is_file():
        return "expected a shard, found none"
    size = file.stat().st_size
    if size != shard.size:
        return f"expected {shard.size} bytes, got {size}"
    if hash_of_file(file) != shard.sha256:
        return f"expected the sha256 of {SHARDS_NAME}, got another"
    return None


def _members_damage(file: Path, samples: Sequence[Sample] | None) -> str | None:
    """Where the tar, as a plain reader walks it, is not what the index says; without an index, where it is none."""
    try:
        found = read_samples(file)
    except CorruptShardError as error:
        return str(error)
    if samples is None:
        return None
    listed = [(sample.key, [(part.name, part.offset, part.size) for part in sample.parts]) for sample in samples]
    there = [
        (sample.key, [(name, member.offset, member.size) for name, member in sample.parts.items()]) for sample in found
    ]
    if listed == there:
        return None
    first = next((pair for pair in zip(listed, there, strict=False) if pair[0] != pair[1]), None)
    if first is None:
        return f"expected the {len(listed)} samples of {INDEX_NAME}, a plain reader finds {len(there)}"
    return f"expected sample {first[0][0]} as {INDEX_NAME} has it, a plain reader finds {first[1][0]} or other parts"


def _counts_damage(path: Path, shards: tuple[Shard, ...], samples: tuple[Sample, ...]) -> Iterator[Damage]:
    """Keys that are there twice, shards that nobody lists, and shards whose number of samples is not the index's."""
    for key, count in Counter(sample.key for sample in samples).items():
        if count > 1:
            yield Damage(file=INDEX_NAME, sample=key, what=f"expected one sample of this key, got {count}")
    held = Counter(sample.shard for sample in samples)
    for shard in shards:
        if held[shard.name] != shard.samples:
            what = f"expected {shard.samples} samples in {INDEX_NAME}, got {held[shard.name]}"
            yield Damage(file=shard.name, sample="", what=what)
    listed = {shard.name for shard in shards}
    for file in sorted(path.glob("*.tar")):
        if file.name not in listed:
            yield Damage(file=file.name, sample="", what=f"expected only shards that {SHARDS_NAME} lists")


def _sample_damage(path: Path, sample: Sample, made: Precomputed | None, full: bool) -> list[str]:
    """What is wrong with one sample, a line each; of damaged parts the first. `full`: every frame is decoded.

    `made` is what its head says was added to it.
    """
    absent = sorted(set(PARTS).difference(part.name for part in sample.parts))
    if absent:
        return [f"expected .{absent[0]}, the index lists none"]
    for part in sample.parts:
        wrong = part_bytes(path, sample, part)[1] or _header_damage(path, sample, part)
        if wrong is not None:
            return [wrong]
    try:
        record = json.loads(read_part(path, sample, "json"))
        poses = load_array(path, sample, "trajectory.npy", (sample.frames, 4, 4))
        load_array(path, sample, "intrinsics.npy", (sample.frames, 4))
        frames = count_frames(path, sample) if full else sample.frames
    except (CorruptShardError, ValueError) as error:
        return [str(error)]
    found = []
    if not isinstance(record, dict) or record.get("key") != sample.key:
        found.append(f"expected the sample's own key in the json, got {str(record)[:60]}")
    if frames != sample.frames:
        found.append(f"expected {sample.frames} frames in the mp4, one a trajectory row, got {frames}")
    if not np.array_equal(np.isfinite(poses).all(axis=(1, 2)), sample.posed):
        found.append(f"expected poses in the frames that {INDEX_NAME} calls posed, got others")
    maps = depth_damage(path, sample)
    added = None if made is None else added_damage(path, sample, made, full=full)
    return found + [wrong for wrong in (maps, added) if wrong is not None]


def _header_damage(path: Path, sample: Sample, part: Part) -> str | None:
    """What is wrong with the tar header that other readers find the part by."""
    with open(path / sample.shard, "rb") as file:
        file.seek(part.offset - BLOCK)
        header = file.read(BLOCK)
    if header != member_header(f"{sample.key}.{part.name}", part.size):
        return f"expected the tar header of .{part.name}, got other bytes: plain tar readers lose the sample"
    return None
