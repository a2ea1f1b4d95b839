"""The corpus folder: its layout, the one rename that makes a clip appear, and its state as a function of its files.

::

    corpus.json               schema version, conventions in words, config, config hash
    sources.parquet           one row a source: path, name, size, mtime, content hash, clip id
    splits.parquet            where parts of long videos begin, by content; only with --clip-seconds
    ledger/part-*.parquet     append-only, atomic; one row per attempt; part-A-B holds the rows of parts A to B
    clips/<id[:2]>/<id>/      see `wmkit.corpus.clip_folder`
    dead-letter/<id>.json     one per failed clip, gone when a later attempt succeeds
    .tmp/  .lock              work in progress; empty and free when no run is alive

One process at a time appends ledger, sources and dead letters (`lock`); any number may `write` clips.
"""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wmkit.atomic import (
    fsync_folder,
    json_bytes,
    make_folder,
    move_away,
    put_in_place,
    sweep,
    take_away,
    write_atomic,
    write_synced,
)
from wmkit.clip import Annotation
from wmkit.corpus.clip_folder import annotation_files, read_annotation, read_record
from wmkit.corpus.columns import LedgerColumns, last_rows
from wmkit.corpus.ledger import (
    LEDGER_SCHEMA,
    OUTCOME,
    SOURCES_SCHEMA,
    SPLIT_SCHEMA,
    LedgerRow,
    SourceRow,
    config_hash_of_clip,
    ledger_rows,
    ledger_table,
    outcome_rows,
    source_rows,
    source_table,
)
from wmkit.errors import ConfigError, InputError

__all__ = ["CONVENTIONS", "SCHEMA_VERSION", "Corpus", "DeadLetter"]

# 2: a view holds lens and pinhole, not camera_model and distortion; quality, confidence, mask. 3: depth in 16 bits
SCHEMA_VERSION = 3
MERGED_PARTS = 256  # appended parts that become one: a resume reads hundreds of files, not thousands
CONVENTIONS = {
    "axes": "OpenCV: x right, y down, z forward",
    "world_from_cam": "4x4, maps a point in camera coordinates to world coordinates; NaN where posed is false",
    "translation": "metres if trajectory.scale is metric, else an unknown multiple of a metre",
    "covariance": "6x6, right-multiplied tangent, order rotation (rad), translation; gauge: the first posed frame",
    "intrinsics": "fx fy cx cy in px of undistorted output frames; pixel (0,0) covers [0,1)^2, its centre is (0.5,0.5)",
    "depth": "z-depth along the camera's z axis, in the trajectory's unit; meaningless where valid is false",
    "mask": "true where the picture moves on its own, in equal cells of the undistorted output frame",
    "time_s": "seconds since the first output frame; view.pts_s are the source's own seconds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Why a clip failed for good, and the shell command that reruns it alone."""

    clip_id: str
    source: str
    path: str
    stage: str
    code: str
    message: str
    traceback: str
    command: str
    attempt: int
    config_hash: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus folder on disk. Make it with `create_or_open` (to write) or `open` (to read or to add clips)."""

    path: Path

    @classmethod
    def create_or_open(cls, path: Path, config: Mapping[str, Any], config_hash: str, *, update: bool) -> "Corpus":
        """The corpus at `path`, made if there is none.

        With another config than the one on disk: ConfigError, unless `update`, which records the new one.
        InputError when the folder cannot be written or is not empty and no corpus.
        """
        corpus = cls.find(path, config, config_hash, update=update)
        if corpus is not None:
            if corpus.config_hash != config_hash:
                with corpus.lock():  # another run may be writing under the old config
                    write_atomic(corpus.path / "corpus.json", json_bytes(_new_head(config, config_hash)))
            return corpus
        path = Path(path).absolute()
        try:
            for folder in ("ledger", "clips", "dead-letter"):
                make_folder(path / folder)
            with cls(path).lock():
                if not (path / "corpus.json").exists():
                    write_atomic(path / "corpus.json", json_bytes(_new_head(config, config_hash)))
        except OSError as error:
            raise InputError(f"{path}: expected a folder that can be written, got {error.strerror}") from None
        return cls(path)

    @classmethod
    def find(cls, path: Path, config: Mapping[str, Any], config_hash: str, *, update: bool) -> "Corpus | None":
        """What `create_or_open` would open, with the same errors; None where it would make one. Writes nothing."""
        path = Path(path).absolute()
        if not (path / "corpus.json").exists():
            if path.exists() and (not path.is_dir() or any(not _ours(entry) for entry in path.iterdir())):
                raise InputError(f"{path}: expected a corpus, an empty folder or a new path; pass another --out")
            return None
        corpus = cls.open(path)
        if corpus.config_hash != config_hash and not update:
            raise ConfigError(
                f"{path}: was made with another config ({_difference(corpus.config, config)}); "
                "pass --update to annotate its clips again, or another --out"
            )
        return corpus

    @classmethod
    def open(cls, path: Path) -> "Corpus":
        """The corpus at `path`; InputError when it is none, ConfigError when its schema is another version's."""
        corpus = cls(Path(path).absolute())
        corpus._head()
        return corpus

    @property
    def config(self) -> dict[str, Any]:
        """The config of the last run."""
        return self._head()["config"]

    @property
    def config_hash(self) -> str:
        """The config hash of the last run."""
        return self._head()["config_hash"]

    # ---- clips

    def folder(self, clip_id: str) -> Path:
        """Where the clip's files are, whether or not they exist yet."""
        return self.path / "clips" / clip_id[:2] / clip_id

    def clip_ids(self) -> list[str]:
        """Ids of all clips that have a folder, sorted."""
        found: list[str] = []
        with suppress(FileNotFoundError), os.scandir(self.path / "clips") as shelves:
            for shelf in shelves:
                if len(shelf.name) == 2 and shelf.is_dir():
                    with os.scandir(shelf.path) as entries:  # which tells folders from files without asking of each
                        found += [entry.name for entry in entries if entry.is_dir()]
        return sorted(found)

    def write(self, annotation: Annotation) -> None:
        """Put one clip's folder in place by one rename, replacing an older one whole; safe in any process.

        InputError when the disk refuses.
        """
        clip_id = annotation.clip.id
        target, scratch = self.folder(clip_id), self.scratch(clip_id)
        try:
            scratch.mkdir(parents=True)
            for name, data in annotation_files(annotation).items():
                write_synced(scratch / name, data)
            fsync_folder(scratch)
            make_folder(target.parent)
            self.discard(clip_id)
            put_in_place(scratch, target)
        except OSError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            raise InputError(f"{target}: expected to write the clip's folder, got {error.strerror or error}") from error

    def read(self, clip_id: str) -> Annotation:
        """The annotation of one clip, exactly as written; InputError when there is none or it is damaged."""
        return read_annotation(self.folder(clip_id))

    def clip_config_hash(self, clip_id: str) -> str | None:
        """Config hash that the clip's folder was made with; None without a folder. Reads annotation.json alone."""
        folder = self.folder(clip_id)
        return read_record(folder)["provenance"]["config_hash"] if folder.exists() else None

    def discard(self, clip_id: str) -> None:
        """Remove a clip's folder, if there is one, by renaming it away first."""
        away = self.scratch(f"{clip_id}.old")
        if move_away(self.folder(clip_id), away):
            shutil.rmtree(away, ignore_errors=True)

    def scratch(self, name: str) -> Path:
        """A name in .tmp for a folder, that no other process takes; what this process left there before is removed.

        The next run sweeps away what is left.
        """
        path = self.path / ".tmp" / f"{name}.{socket.gethostname()}.{os.getpid()}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def corpus_hash(self) -> str:
        """sha256 over the sorted (clip id, sha256 of each of its files): equal iff the corpora are, byte for byte."""
        total = hashlib.sha256()
        for clip_id in self.clip_ids():
            total.update(f"{clip_id}\n".encode())
            for file in sorted(self.folder(clip_id).iterdir()):
                total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()

    # ---- ledger

    def append_ledger(self, rows: Sequence[LedgerRow]) -> None:
        """Add one part with these rows; they are on disk when it returns. Only the holder of `lock` may."""
        if not rows:
            return
        parts = self._parts()
        number = _numbers(parts[-1])[1] + 1 if parts else 0
        _write_table(self.path / "ledger" / f"part-{number:06d}.parquet", ledger_table(rows))
        merged = [index for index, part in enumerate(parts) if _numbers(part)[0] != _numbers(part)[1]]
        small = parts[merged[-1] + 1 if merged else 0 :]
        if len(small) >= MERGED_PARTS:
            self._merge(small)

    def _merge(self, parts: Sequence[Path]) -> None:
        """One part instead of many, whose rows are looked at on every resume. Those it stands for are no longer read
        once it is there, so that a run killed before they are removed has every row once."""
        first, last = _numbers(parts[0])[0], _numbers(parts[-1])[1]
        table = pa.concat_tables(_read_table(part, LEDGER_SCHEMA) for part in parts)
        _write_table(self.path / "ledger" / f"part-{first:06d}-{last:06d}.parquet", table)
        self._remove_merged()

    def _remove_merged(self) -> None:
        for part in set((self.path / "ledger").glob("part-*.parquet")).difference(self._parts()):
            part.unlink()

    def ledger(self) -> list[LedgerRow]:
        """Every attempt, in the order they were recorded."""
        return ledger_rows(self.ledger_table())

    def outcomes(self) -> list[LedgerRow]:
        """As `ledger`, each row's `outcome` alone: a tenth of the memory and time."""
        return outcome_rows(self._ledger_tables(only=OUTCOME))

    def ledger_table(self) -> pa.Table:
        """The whole ledger as an arrow table."""
        tables = self._ledger_tables()
        return pa.concat_tables(tables) if tables else LEDGER_SCHEMA.empty_table()

    def latest(self, history: Sequence[LedgerRow] | None = None) -> dict[str, LedgerRow]:
        """The last row of every clip, by clip id, sorted. `history` is the ledger, when the caller has read it.

        A failed clip that no source names any more (the file was replaced or became readable) is left out.
        """
        last = {row.clip_id: row for row in (self.ledger() if history is None else history)}
        named = self._named()
        return {key: row for key, row in sorted(last.items()) if row.done or not named or key in named}

    def columns(self) -> LedgerColumns:
        """What `latest` holds, as columns: for work on every clip of a large corpus at once."""
        return last_rows(self.ledger_table(), self._named())

    def _named(self) -> set[str]:
        """Ids of all clips that a source has."""
        table = self._sources_table()
        return set() if table is None else set(table.column("clip_id").to_pylist())

    def done_ids(self, config_hash: str, history: Sequence[LedgerRow] | None = None) -> set[str]:
        """Clips whose result under this config is recorded and whose folder is there: a rerun skips them."""
        rows, own = self.latest(history), self.config_hashes(config_hash)
        done = {key for key, row in rows.items() if row.done and row.config_hash in own.get(key, (config_hash,))}
        return done & set(self.clip_ids())

    def config_hashes(self, config_hash: str) -> dict[str, set[str]]:
        """Config hashes of the clips of which a manifest says something: as many as sources say different things."""
        table = self._sources_table()
        said = table.column("given").to_pylist() if table is not None else []
        if table is None or not any(said):
            return {}
        ids = table.column("clip_id").to_pylist()
        told = {clip_id for clip_id, given in zip(ids, said, strict=True) if given}
        hashes: dict[str, set[str]] = {clip_id: set() for clip_id in told}
        for clip_id, given in zip(ids, said, strict=True):
            if clip_id in told:
                hashes[clip_id].add(config_hash_of_clip(config_hash, given))
        return hashes

    # ---- sources and dead letters

    def sources(self) -> list[SourceRow]:
        """Every source ever given, sorted by path; empty before the first run."""
        table = self._sources_table()
        return [] if table is None else source_rows(table)

    def write_sources(self, rows: Sequence[SourceRow], known: Sequence[SourceRow] | None = None) -> None:
        """Replace the rows of these paths and keep the others. Only the holder of `lock` may.

        `known` is `sources()`, when the caller has read it. Nothing is written where nothing is new.
        """
        before = {row.path: row for row in (self.sources() if known is None else known)}
        merged = before | {row.path: row for row in rows}
        if merged == before:
            return
        _write_table(self.path / "sources.parquet", source_table(list(merged.values())))

    def splits(self, words: str) -> dict[str, tuple[float, ...]]:
        """Content hash -> where parts of the video begin, seconds, of those looked at under these settings."""
        path = self.path / "splits.parquet"
        table = _read_table(path, SPLIT_SCHEMA) if path.exists() else SPLIT_SCHEMA.empty_table()
        rows = zip(*(table[name].to_pylist() for name in ("content_hash", "settings", "begins_s")), strict=True)
        return {key: tuple(starts) for key, settings, starts in rows if settings == words}

    def write_splits(self, words: str, found: Mapping[str, Sequence[float]]) -> None:
        """Add these to what is known under the same settings, forget those of others. Only the holder of `lock` may."""
        merged = {**self.splits(words), **found}
        columns = [sorted(merged), [words] * len(merged), [list(merged[key]) for key in sorted(merged)]]
        _write_table(self.path / "splits.parquet", pa.table(columns, schema=SPLIT_SCHEMA))

    def write_dead_letter(self, letter: DeadLetter) -> None:
        """Record a clip that failed for good. An older annotation of it, of another config, goes with this."""
        self.discard(letter.clip_id)
        make_folder(self.path / "dead-letter")
        write_atomic(self.path / "dead-letter" / f"{letter.clip_id}.json", json_bytes(asdict(letter)))

    def remove_dead_letter(self, clip_id: str) -> None:
        """Forget an earlier failure, if there was one."""
        take_away(self.path / "dead-letter" / f"{clip_id}.json")

    def dead_letter_ids(self) -> set[str]:
        """Ids of all clips that failed for good."""
        return {path.stem for path in (self.path / "dead-letter").glob("[0-9a-f]*.json")}

    def dead_letters(self) -> list[DeadLetter]:
        """All dead letters, sorted by clip id."""
        return [_read_letter(path) for path in sorted((self.path / "dead-letter").glob("[0-9a-f]*.json"))]

    def dead_letter(self, clip_id: str) -> DeadLetter | None:
        """That of a clip; None when it has none."""
        path = self.path / "dead-letter" / f"{clip_id}.json"
        return _read_letter(path) if path.exists() else None

    # ---- one writer

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the corpus for one run; InputError, naming the holder, when another run has it.

        The kernel frees it however the holder ends. What a killed run left half-written is swept away.
        """
        import fcntl

        try:
            file = open(self.path / ".lock", "a+")  # noqa: SIM115 - closed by the `with` below
        except OSError as error:
            raise InputError(f"{self.path}: expected a folder that can be written, got {error.strerror}") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise InputError(
                    f"{self.path}: another run ({holder}) is writing this corpus; wait for it or pass another --out"
                ) from None
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {socket.gethostname()}")
            file.flush()
            shutil.rmtree(self.path / ".tmp", ignore_errors=True)
            (self.path / ".tmp").mkdir()
            for folder in (self.path, self.path / "ledger", self.path / "dead-letter"):
                sweep(folder)
            self._remove_merged()
            yield
            file.truncate(0)

    def _head(self) -> dict[str, Any]:
        path = self.path / "corpus.json"
        if not path.exists():
            raise InputError(f"{self.path}: expected a corpus (a folder with corpus.json); run wmkit annotate first")
        try:
            head = json.loads(path.read_bytes())
            version = head["schema_version"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: expected a corpus head with a schema_version; the file is damaged") from None
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{path}: expected schema version {SCHEMA_VERSION}, got {version}; "
                "use the wmkit that wrote it, or another --out"
            )
        return head

    def _sources_table(self) -> pa.Table | None:
        path = self.path / "sources.parquet"
        return _read_table(path, SOURCES_SCHEMA, added=("given",)) if path.exists() else None

    def _ledger_tables(self, only: Sequence[str] | None = None) -> list[pa.Table]:
        while True:
            parts = self._parts()
            try:
                return [_read_table(part, LEDGER_SCHEMA, only=only) for part in parts]
            except InputError:
                if all(part.exists() for part in parts):
                    raise  # else a run merged parts meanwhile: the rows are in another one now

    def _parts(self) -> list[Path]:
        """In the order of their rows, without those whose rows are in a merged one."""
        parts: list[Path] = []
        # Of parts with the same first number the one that reaches farthest comes first.
        found = ((*_numbers(path), path) for path in (self.path / "ledger").glob("part-*.parquet"))
        covered = -1
        for _, last, path in sorted(found, key=lambda entry: (entry[0], -entry[1])):
            if last > covered:
                parts.append(path)
                covered = last
        return parts


def _numbers(part: Path) -> tuple[int, int]:
    """The first and the last of the numbers whose rows a part holds; the same for one that was appended."""
    first, _, last = part.stem.removeprefix("part-").partition("-")
    return int(first), int(last or first)


def _new_head(config: Mapping[str, Any], config_hash: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "conventions": CONVENTIONS,
        "config": config,
        "config_hash": config_hash,
    }


def _ours(entry: Path) -> bool:
    """Whether a run that was killed before corpus.json appeared may have left this entry."""
    return entry.name in ("ledger", "clips", "dead-letter", ".tmp", ".lock") or entry.name.startswith(".corpus.json")


def _write_table(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def _read_table(
    path: Path, schema: pa.Schema, added: Sequence[str] = (), only: Sequence[str] | None = None
) -> pa.Table:
    """A table of this schema, or `only` some columns of it; of an older one, without the columns `added` since, they
    hold empty text."""
    try:
        file = pq.ParquetFile(path)
        if only is not None and file.schema_arrow.names == schema.names:
            return file.read(columns=list(only)).cast(pa.schema([schema.field(name) for name in only]))
        table = file.read()
        for name in added:
            if name not in table.column_names:
                table = table.append_column(name, pa.array([""] * len(table), pa.string()))
        return table.cast(schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a readable parquet table of this version, got {error}") from error


def _difference(old: Any, new: Any) -> str:
    """The first three settings that differ, as `name: old -> new`."""
    before, after = _flat("", json.loads(json_bytes(old))), _flat("", json.loads(json_bytes(new)))
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    shown = [f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}" for name in names[:3]]
    return "; ".join(shown + ([f"and {len(names) - 3} more"] if len(names) > 3 else [])) or "same values, other version"


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = {str(index): entry for index, entry in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key in value:
        flat |= _flat(f"{prefix}.{key}".lstrip("."), value[key])
    return flat


def _read_letter(path: Path) -> DeadLetter:
    return DeadLetter(**json.loads(path.read_bytes()))
