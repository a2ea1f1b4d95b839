"""`repair_shards`: damaged shards made again from the corpus, a damaged index from the shards, to the same bytes.

Nothing is replaced by anything but what it was: the head (shards.json) holds the sha256 that the new bytes must have.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.atomic import HEADER_LOCK, write_atomic
from wmkit.camera import ScaleKind
from wmkit.corpus import Corpus, SourceRow
from wmkit.dataset.members import TarSample, read_samples
from wmkit.dataset.output import hold
from wmkit.dataset.plan import Candidate, Dropped
from wmkit.dataset.sample import Prepared, SampleOptions, prepare_samples
from wmkit.dataset.schema import (
    INDEX_NAME,
    Part,
    Sample,
    Shard,
    checksum,
    head_shards,
    index_bytes,
    read_head,
    read_index,
)
from wmkit.dataset.tar import ShardFile
from wmkit.dataset.verify import Damage, shard_damage
from wmkit.dataset.writer import add_parts
from wmkit.errors import CorruptShardError, InputError

__all__ = ["RepairReport", "repair_shards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """Files that have their bytes again, and those that could not be made again, with why."""

    path: str
    shards: int
    repaired: tuple[str, ...]
    damage: tuple[Damage, ...]

    @property
    def exit_code(self) -> int:
        """1 when damage is left, else 0."""
        return 1 if self.damage else 0

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """One line a file, for people."""
        lines = [f"{name}: made again, the same bytes" for name in self.repaired]
        lines += [f"{entry}" for entry in self.damage]
        if self.damage:
            return [*lines, f"{self.path}: still DAMAGED, {len(self.damage)} of {self.shards + 1} files"]
        return lines or [f"{self.path}: {self.shards} shards and the index are whole, nothing to repair"]


def repair_shards(path: Path, corpus: Path, progress: Callable[[int, int], None] | None = None) -> RepairReport:
    """Give every damaged or missing shard, and the index, the bytes that the head vouches for.

    corpus    what the shards were built from; only opened when a shard has to be made again. It may have grown since.
    progress  called with (shards checked, shards), from this thread.

    What cannot be made again is in the report: a source that is gone or has changed, or a shard of `wmkit precompute`,
    which mends its own when it is run again. Raises InputError when `path` is no shards folder, when index and shards
    are damaged both, when there is no corpus, or when the disk refuses; ConfigError for
    another version's folder; CorruptShardError when shards.json itself is damaged.
    """
    head = read_head(path)
    shards = head_shards(path, head)
    try:
        with hold(path) as scratch:
            bad = []
            for done, shard in enumerate(shards, start=1):
                bad += [shard] if shard_damage(path, shard) else []
                if progress is not None:
                    progress(done, len(shards))
            return _report(path, shards, _repaired(path, head, bad, corpus, scratch))
    except OSError as error:
        raise InputError(f"{path}: expected a folder that can be written, got {error.strerror or error}") from error


def _repaired(
    path: Path, head: Mapping[str, Any], bad: Sequence[Shard], corpus: Path, scratch: Path
) -> dict[str, str | None]:
    """File that was damaged -> why it could not be made again, None where it was."""
    try:
        samples = read_index(path, head)
    except CorruptShardError:
        if bad:
            raise InputError(
                f"{path}: expected a whole index or whole shards, got {INDEX_NAME} and {len(bad)} shards damaged; "
                "run the same wmkit build-shards again"
            ) from None
        return {INDEX_NAME: _remake_index(path, head)}
    if not bad:
        return {}
    if "precomputed" in head:
        why = (
            "expected the same wmkit precompute to make it again, got a repair; run that: it makes damaged shards alone"
        )
        return {shard.name: why for shard in bad}
    store = Corpus.open(corpus)
    sources: dict[str, list[SourceRow]] = {}
    for row in store.sources():
        sources.setdefault(row.clip_id, []).append(row)
    tried: dict[str, str | None] = {}
    for shard in bad:
        keys = [sample.key for sample in samples if sample.shard == shard.name]
        candidates = [Candidate(clip_id=key, name=key, sources=tuple(sources.get(key, ()))) for key in keys]
        made = prepare_samples(store, candidates, _sample_options(head), scratch)
        tried[shard.name] = _remake_shard(path, shard, made)
    return tried


def _sample_options(head: Mapping[str, Any]) -> SampleOptions:
    """How the build that wrote this head put frames into samples."""
    options = head["options"]
    size = options.get("size")
    return SampleOptions(
        video=options["video"], size=None if size is None else (size[0], size[1]), depth=options.get("depth", False)
    )


def _report(path: Path, shards: Sequence[Shard], tried: dict[str, str | None]) -> RepairReport:
    """`tried`: file -> why it could not be made again, None where it was."""
    return RepairReport(
        path=str(path),
        shards=len(shards),
        repaired=tuple(name for name, why in tried.items() if why is None),
        damage=tuple(Damage(file=name, sample="", what=why) for name, why in tried.items() if why is not None),
    )


def _remake_shard(path: Path, shard: Shard, made: Iterable[Prepared | Dropped]) -> str | None:
    """Write one shard again; why not, or None."""
    file = ShardFile(path / shard.name)
    try:
        for sample in made:
            if isinstance(sample, Dropped):
                return f"expected clip {sample.clip_id} as it was when the shards were built, got: {sample.detail}"
            add_parts(file, sample.key, sample.parts)
        file.close(shard.samples, shard.sha256)
    except CorruptShardError as error:
        return f"{error}; the corpus, or the packages that encode, are not those of the build"
    finally:
        file.discard()
    return None


def _remake_index(path: Path, head: Mapping[str, Any]) -> str | None:
    """Write the index again from shards that are whole; why not, or None."""
    try:
        sha256 = head["index"]["sha256"]
        tars = [path / shard.name for shard in head_shards(path, head)]
        data = index_bytes([_row(sample) for tar in tars for sample in read_samples(tar)])
    except (CorruptShardError, KeyError, TypeError, ValueError) as error:
        return f"expected shards of wmkit build-shards, got {error!r}"
    if hashlib.sha256(data).hexdigest() != sha256:
        return f"expected to make the bytes of sha256 {sha256}, got others: another pyarrow or wmkit wrote them"
    write_atomic(path / INDEX_NAME, data)
    return None


def _row(sample: TarSample) -> Sample:
    """The index row of one sample, from what its parts say."""
    data = {name: sample.read(name) for name in sample.parts}
    record = json.loads(data["json"])
    with HEADER_LOCK:
        poses = np.load(io.BytesIO(data["trajectory.npy"]), allow_pickle=False)
    return Sample(
        shard=sample.tar.name,
        key=sample.key,
        frames=len(poses),
        width=record["frames"]["width"],
        height=record["frames"]["height"],
        scale=ScaleKind(record["scale"]["kind"]),
        posed=np.isfinite(poses).all(axis=(1, 2)),
        parts=tuple(
            Part(name=name, offset=member.offset, size=member.size, xxh3=checksum(data[name]))
            for name, member in sample.parts.items()
        ),
    )
