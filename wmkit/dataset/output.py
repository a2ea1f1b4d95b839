"""The output folder of a build: whose it is, when it counts as built, and how it becomes so."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from wmkit import __version__
from wmkit.atomic import json_bytes, make_folder, sweep, take_away, write_atomic
from wmkit.dataset.plan import Dropped, Plan, count_reasons
from wmkit.dataset.schema import (
    BUILDING_NAME,
    CONVENTIONS,
    INDEX_NAME,
    SCHEMA_VERSION,
    SHARDS_NAME,
    VAL,
    Sample,
    Shard,
    index_bytes,
    open_shards,
    read_head,
)
from wmkit.errors import ConfigError, CorruptShardError, InputError
from wmkit.hashes import hash_of_file

__all__ = [
    "DROPPED_NAME",
    "Built",
    "Making",
    "Recipe",
    "begin",
    "check_output",
    "earlier_result",
    "finish",
    "hold",
    "seal",
    "unseal",
]

DROPPED_NAME = "dropped.jsonl"
_LOCK, _SCRATCH = ".lock", ".tmp"

Built = tuple[tuple[Shard, ...], tuple[Sample, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the bytes of the shards, sources apart: a folder is only ever written again by its own recipe."""

    corpus_hash: str
    thresholds: list[dict[str, Any]]
    options: dict[str, Any]
    split: str

    def to_json(self) -> dict[str, Any]:
        """What the head says of it."""
        return asdict(self)

    def tars(self, out: Path) -> list[Path]:
        """What a build by this recipe may have written into `out`."""
        return [path for split in {self.split, VAL} for path in sorted(out.glob(f"{split}-*.tar"))]


class Making(Protocol):
    """What decides the bytes of a folder: a corpus's `Recipe`, or other shards and what is added to them."""

    def to_json(self) -> dict[str, Any]:
        """What the head says of it."""
        ...

    def tars(self, out: Path) -> list[Path]:
        """What it may have written into `out`."""
        ...


def check_output(out: Path, recipe: Making) -> None:
    """InputError unless `out` is new, empty, an unfinished build, or shards of this very recipe."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: expected a folder or a new path, got a file; pass another --out")
    if (out / SHARDS_NAME).exists():
        try:
            head = read_head(out)
            now = {"precomputed": None, **json.loads(json_bytes(recipe.to_json()))}
            then = {"precomputed": None, **{name: head[name] for name in now if name != "precomputed" or name in head}}
        except (ConfigError, CorruptShardError, KeyError) as error:
            raise InputError(f"{error}; delete the folder or pass another --out") from None
        differing = [name for name in now if then[name] != now[name]]
        if differing:
            words = ", ".join(name.replace("_", " ") for name in differing)
            raise InputError(
                f"{out}: expected shards of the same corpus and options, got another {words}; "
                "delete the folder or pass another --out"
            )
    elif not (out / BUILDING_NAME).exists() and not all(_of_a_start(entry) for entry in out.iterdir()):
        raise InputError(f"{out}: expected shards, an empty folder or a new path; pass another --out")


def earlier_result(out: Path, plan: Plan) -> Built | None:
    """What is in `out` already, when a build would write it again: the plan's clips, all of them, every byte whole."""
    if not (out / SHARDS_NAME).exists():
        return None
    try:
        folder = open_shards(out)
    except CorruptShardError:
        return None
    if {sample.key for sample in folder.samples} != {candidate.clip_id for candidate in plan.passed}:
        return None
    if folder.head["dropped"] != count_reasons(plan.dropped):
        return None
    if any(hash_of_file(out / shard.name) != shard.sha256 for shard in folder.shards):
        return None
    _tidy(out)
    return folder.shards, folder.samples


@contextmanager
def hold(out: Path) -> Iterator[Path]:
    """Keep every other build and repair out of `out` and yield a scratch folder in it.

    InputError when another one holds it, OSError when the disk refuses.
    """
    with open(out / _LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{out}: another build is writing it; wait for it or pass another --out") from None
        scratch = out / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        sweep(out)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            (out / _LOCK).unlink(missing_ok=True)


@contextmanager
def begin(out: Path, recipe: Making) -> Iterator[Path]:
    """Hold `out` for one build and yield a scratch folder in it; building.json marks it until `finish`.

    InputError when another build holds it, OSError when the disk refuses.
    """
    make_folder(out)
    with hold(out) as scratch:
        write_atomic(out / BUILDING_NAME, json_bytes(recipe.to_json()))
        try:
            yield scratch
        finally:
            if (out / SHARDS_NAME).exists() or not any(recipe.tars(out)):
                take_away(out / BUILDING_NAME)
    with suppress(OSError):
        out.rmdir()  # nothing passed: no folder is better than an empty one


def unseal(out: Path) -> None:
    """Before the first shard changes: without its head the folder is nothing, and says so."""
    take_away(out / SHARDS_NAME)


def finish(out: Path, recipe: Recipe, built: Built, dropped: Sequence[Dropped]) -> None:
    """Write drops, index and head, and remove shards that an earlier build had more."""
    lines = [json.dumps(asdict(drop), sort_keys=True, ensure_ascii=False) + "\n" for drop in dropped]
    write_atomic(out / DROPPED_NAME, "".join(lines).encode())
    clips = len(built[1]) + len(dropped)
    seal(out, recipe, built, {"clips": clips, "dropped": count_reasons(dropped), "conventions": CONVENTIONS})


def seal(out: Path, recipe: Making, built: Built, rest: Mapping[str, Any]) -> None:
    """Write index and head, the latter with `rest`, and remove shards that an earlier build had more."""
    shards, samples = built
    index = index_bytes(samples)
    write_atomic(out / INDEX_NAME, index)
    keep = {shard.name for shard in shards}
    for path in recipe.tars(out):
        if path.name not in keep:
            path.unlink()
    head = {
        **rest,
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        **recipe.to_json(),
        "samples": len(samples),
        "frames": sum(sample.frames for sample in samples),
        "posed_frames": sum(int(sample.posed.sum()) for sample in samples),
        "bytes": sum(shard.size for shard in shards),
        "index": {"sha256": hashlib.sha256(index).hexdigest()},
        "shards": [
            {"name": shard.name, "bytes": shard.size, "sha256": shard.sha256, "samples": shard.samples}
            for shard in shards
        ],
    }
    write_atomic(out / SHARDS_NAME, json_bytes(head))


def _tidy(out: Path) -> None:
    """Take away what a build left that ended between its last file and its end; a folder nobody may write stays."""
    if any((out / name).exists() for name in (_LOCK, _SCRATCH, BUILDING_NAME)):
        with suppress(InputError, OSError), hold(out):
            take_away(out / BUILDING_NAME)


def _of_a_start(entry: Path) -> bool:
    """Whether a build that was killed before building.json appeared may have left this."""
    return entry.name in (_LOCK, _SCRATCH) or entry.name.startswith(f".{BUILDING_NAME}.")
