"""Rows of the ledger (one per attempt) and of the sources table (one per source), and their parquet schemas."""

import hashlib
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pyarrow as pa

from wmkit.clip import Annotation, MeasureState, Verdict
from wmkit.clock import utc_now

__all__ = [
    "LEDGER_SCHEMA",
    "OUTCOME",
    "SOURCES_SCHEMA",
    "SPLIT_SCHEMA",
    "LedgerRow",
    "SourceRow",
    "Status",
    "config_hash_of_clip",
    "ledger_rows",
    "ledger_table",
    "outcome_rows",
    "source_rows",
    "source_table",
]

VERDICT = pa.struct(
    [
        ("name", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
    ]
)
LEDGER_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("source", pa.string()),
        ("status", pa.string()),
        ("stage", pa.string()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("frames", pa.int64()),
        ("posed_frames", pa.int64()),
        ("verdicts", pa.list_(VERDICT)),
        ("scale_value", pa.float64()),
        ("scale_low", pa.float64()),
        ("scale_high", pa.float64()),
        ("scale_cues", pa.list_(pa.string())),
        ("scale_absent", pa.list_(pa.string())),
        ("timings", pa.map_(pa.string(), pa.float64())),
        ("config_hash", pa.string()),
        ("attempt", pa.int32()),
        ("host", pa.string()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OUTCOME = tuple(name for name in LEDGER_SCHEMA.names if name not in ("verdicts", "timings", "message"))

SPLIT_SCHEMA = pa.schema(
    [("content_hash", pa.string()), ("settings", pa.string()), ("begins_s", pa.list_(pa.float64()))]
)
SOURCES_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("name", pa.string()),
        ("size_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("content_hash", pa.string()),
        ("clip_id", pa.string()),
        ("given", pa.string()),
    ]
)


class Status(StrEnum):
    """How an attempt at a clip ended. `no_trajectory` is a result: the clip is done, it has no cameras."""

    OK = "ok"
    NO_TRAJECTORY = "no_trajectory"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One attempt at one clip.

    stage, code, message  empty when ok; stage "pose" and the reason when there is no trajectory; for a failure
                          where it ended, a stable word to count by, and one line for people.
    frames, posed_frames  of the output; None when failed.
    verdicts              every filter's measurement; empty when failed.
    scale_*               metres per trajectory unit, its 95 % interval and the cues that voted; None without.
    scale_absent          "cue: reason" of each cue that did not count: it could not vote, was outvoted, or contradicts.
    timings               core-seconds by stage.
    attempt               1 for the first attempt at this clip in this corpus, counted over reruns.
    """

    clip_id: str
    source: str
    status: Status
    stage: str = ""
    code: str = ""
    message: str = ""
    frames: int | None = None
    posed_frames: int | None = None
    verdicts: tuple[Verdict, ...] = ()
    scale_value: float | None = None
    scale_low: float | None = None
    scale_high: float | None = None
    scale_cues: tuple[str, ...] = ()
    scale_absent: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    config_hash: str = ""
    attempt: int = 1
    host: str = field(default_factory=socket.gethostname)
    finished_at: datetime = field(default_factory=utc_now)

    @property
    def done(self) -> bool:
        """Whether the clip has its result, so that a rerun skips it."""
        return self.status is not Status.FAILED

    @property
    def outcome(self) -> "LedgerRow":
        """The row without what a run need not remember of 213,000 clips: verdicts, times, message."""
        return replace(self, verdicts=(), timings={}, message="")

    @classmethod
    def of(cls, annotation: Annotation, timings: dict[str, float], attempt: int = 1) -> "LedgerRow":
        """The row of an annotation that was written."""
        trajectory, none, scale = annotation.trajectory, annotation.no_trajectory, annotation.scale
        return cls(
            clip_id=annotation.clip.id,
            source=annotation.clip.source,
            status=Status.OK if none is None else Status.NO_TRAJECTORY,
            stage="" if none is None else "pose",
            code="" if none is None else none.reason,
            message="" if none is None else none.detail,
            frames=len(annotation.view),
            posed_frames=0 if trajectory is None else int(trajectory.posed.sum()),
            verdicts=annotation.verdicts,
            scale_value=None if scale is None else scale.value,
            scale_low=None if scale is None else scale.low,
            scale_high=None if scale is None else scale.high,
            scale_cues=() if scale is None else tuple(vote.cue for vote in scale.votes),
            scale_absent=tuple(f"{item.name}: {item.reason}" for item in annotation.absences if item.part == "scale"),
            timings=timings,
            config_hash=annotation.provenance.config_hash,
            attempt=attempt,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One source found on disk and the clip its content is; equal content shares one clip.

    path          absolute, or a URL; a part of a source has its span behind it (`wmkit.video.reference`).
    name          path below the input root, posix separators.
    size_bytes    of the file, or the sum over a folder's images.
    mtime_ns      of the file, or the newest of a folder and its images.
    content_hash  sha256; None when the source could not be read, and then `clip_id` is a hash of the path.
    given         what a manifest says of this clip alone, as canonical JSON; "" when nothing.
    """

    path: str
    name: str
    size_bytes: int
    mtime_ns: int
    content_hash: str | None
    clip_id: str
    given: str = ""


def config_hash_of_clip(config_hash: str, given: str) -> str:
    """The config hash of one clip: the run's, unless a manifest says more of this clip."""
    return hashlib.sha256(f"{config_hash}|{given}".encode()).hexdigest()[:32] if given else config_hash


def ledger_table(rows: Iterable[LedgerRow]) -> pa.Table:
    """Rows as a table of `LEDGER_SCHEMA`."""
    return pa.Table.from_pylist([_ledger_record(row) for row in rows], schema=LEDGER_SCHEMA)


def ledger_rows(table: pa.Table) -> list[LedgerRow]:
    """Rows of a table of `LEDGER_SCHEMA`."""
    return [_ledger_row(record) for record in table.to_pylist()]


def outcome_rows(tables: Iterable[pa.Table]) -> list[LedgerRow]:
    """The `outcome` of every row of tables that hold the columns `OUTCOME` alone."""
    tables = list(tables)
    if not tables:
        return []
    # Column by column: a dict a row would be most of what resuming a large corpus costs.
    whole = pa.concat_tables(tables)
    columns: dict[str, list[Any]] = {name: whole.column(name).to_pylist() for name in OUTCOME if name != "finished_at"}
    # Arrow's own conversion of times imports pandas.
    microseconds = whole.column("finished_at").cast(pa.int64()).to_pylist()
    columns["finished_at"] = [EPOCH + timedelta(microseconds=at) for at in microseconds]
    statuses = {str(status): status for status in Status}
    columns["status"] = [statuses[word] for word in columns["status"]]
    for name in ("scale_cues", "scale_absent"):
        columns[name] = list(map(tuple, columns[name]))
    return [LedgerRow(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def source_table(rows: Sequence[SourceRow]) -> pa.Table:
    """Rows as a table of `SOURCES_SCHEMA`, sorted by path."""
    ordered = sorted(rows, key=lambda row: row.path)
    columns = [[getattr(row, name) for row in ordered] for name in SOURCES_SCHEMA.names]
    return pa.table(columns, schema=SOURCES_SCHEMA)


def source_rows(table: pa.Table) -> list[SourceRow]:
    """Rows of a table of `SOURCES_SCHEMA`."""
    names = SOURCES_SCHEMA.names
    columns = [table.column(name).to_pylist() for name in names]
    return [SourceRow(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _ledger_record(row: LedgerRow) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(row, name) for name in LEDGER_SCHEMA.names}
    record["status"] = str(row.status)
    record["verdicts"] = [{key.name: getattr(verdict, key.name) for key in VERDICT} for verdict in row.verdicts]
    record["scale_cues"] = list(row.scale_cues)
    record["scale_absent"] = list(row.scale_absent)
    record["timings"] = sorted(row.timings.items())
    return record


def _ledger_row(record: dict[str, Any]) -> LedgerRow:
    verdicts = tuple(Verdict(**{**entry, "state": MeasureState(entry["state"])}) for entry in record["verdicts"])
    return LedgerRow(
        **{
            **record,
            "status": Status(record["status"]),
            "verdicts": verdicts,
            "scale_cues": tuple(record["scale_cues"]),
            "scale_absent": tuple(record["scale_absent"]),
            "timings": dict(record["timings"]),
        }
    )
