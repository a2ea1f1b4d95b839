"""The last row of every clip as columns: what thresholds and reports work on, also where there are 213,000 of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.clip import MeasureState, Verdict
from wmkit.corpus.ledger import Status

__all__ = ["LedgerColumns", "VerdictColumn", "last_rows"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VerdictColumn:
    """One filter on every clip.

    value   (N,) float64, NaN where it is unmeasured or the filter did not run.
    ran     (N,) bool.
    unit    (N,) index into `units`, 0 where it did not run.
    reason  (N,) index into `reasons`, 0 where it did not run.
    """

    name: str
    value: Array
    ran: NDArray[np.bool_]
    unit: NDArray[np.int32]
    reason: NDArray[np.int32]
    units: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """(N,) where there is a value."""
        return np.isfinite(self.value)

    def verdict(self, row: int) -> Verdict | None:
        """The verdict of one clip as the filter gave it; None where the filter did not run."""
        if not self.ran[row]:
            return None
        unit = self.units[self.unit[row]]
        if np.isfinite(self.value[row]):
            return Verdict.measured(self.name, float(self.value[row]), unit)
        return Verdict.unmeasured(self.name, unit, self.reasons[self.reason[row]])


class LedgerColumns:
    """`table`: the last ledger row of every clip, sorted by clip id; its columns, made when asked for."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()

    def __len__(self) -> int:
        return len(self.table)

    def words(self, column: str) -> list[str]:
        """A column of text: clip_id, source, status, stage, code, message, config_hash."""
        return self.table[column].to_pylist()

    def numbers(self, column: str) -> Array:
        """(N,) float64 of a column of numbers, NaN where it is null: frames, posed_frames, scale_value, ..."""
        return self.table[column].cast(pa.float64()).to_numpy(zero_copy_only=False)

    def is_status(self, status: Status) -> NDArray[np.bool_]:
        """(N,) where an attempt ended so."""
        return pc.equal(self.table["status"], str(status)).to_numpy(zero_copy_only=False).astype(bool)  # pyright: ignore[reportAttributeAccessIssue]

    def finished(self, config_hash: str, own: Mapping[str, Collection[str]]) -> "LedgerColumns":
        """The rows that a run with this config need not do again: ended, not failed, under this very config.

        `own` are config hashes of clips that have their own, by id (`Corpus.config_hashes`).
        """
        same = pc.equal(self.table["config_hash"], config_hash)  # pyright: ignore[reportAttributeAccessIssue]
        kept = same.to_numpy(zero_copy_only=False).astype(bool)
        if own:
            rows = zip(self.words("clip_id"), self.words("config_hash"), kept.tolist(), strict=True)
            kept = np.array([made in own[clip_id] if clip_id in own else same for clip_id, made, same in rows], bool)
        return LedgerColumns(self.table.filter(pa.array(kept & ~self.is_status(Status.FAILED))))

    @cached_property
    def verdicts(self) -> dict[str, VerdictColumn]:
        """Every filter that ran on any clip, in the order in which filters first ran."""
        lists = _one_chunk(self.table["verdicts"])
        flat: Any = lists.flatten()
        row = np.repeat(np.arange(len(self)), np.asarray(pc.list_value_length(lists).fill_null(0)))  # pyright: ignore[reportAttributeAccessIssue]
        name, names = _encoded(flat.field("name"))
        unit, units = _encoded(flat.field("unit"))
        reason, reasons = _encoded(flat.field("reason"))
        value = flat.field("value").to_numpy(zero_copy_only=False)
        measured = pc.equal(flat.field("state"), str(MeasureState.MEASURED)).to_numpy(zero_copy_only=False)  # pyright: ignore[reportAttributeAccessIssue]
        value = np.where(measured.astype(bool), value, np.nan)
        order = np.argsort(name, kind="stable")
        starts = np.searchsorted(name[order], np.arange(len(names) + 1))
        found = {}
        for place, word in enumerate(names):
            of = order[starts[place] : starts[place + 1]]
            column = {"value": np.full(len(self), np.nan), "ran": np.zeros(len(self), dtype=bool)}
            column |= {key: np.zeros(len(self), dtype=np.int32) for key in ("unit", "reason")}
            for key, filled in (("value", value[of]), ("ran", True), ("unit", unit[of]), ("reason", reason[of])):
                column[key][row[of]] = filled
            found[word] = VerdictColumn(name=word, units=tuple(units), reasons=tuple(reasons), **column)
        return found


def last_rows(table: pa.Table, named: Collection[str]) -> LedgerColumns:
    """Of a whole ledger, in the order in which it was written, the last row of every clip.

    A failed clip is left out when there are `named` clip ids and its own is none of them: its file was replaced.
    """
    ids = table["clip_id"].to_pylist()
    last = {clip_id: row for row, clip_id in enumerate(ids)}
    failed = pc.equal(table["status"], str(Status.FAILED)).to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
    known = set(named)
    kept = [row for key, row in sorted(last.items()) if not (failed[row] and known and key not in known)]
    if kept == list(range(len(ids))):
        return LedgerColumns(table)
    return LedgerColumns(table.take(pa.array(kept, type=pa.int64())))


def _one_chunk(column: pa.ChunkedArray) -> Any:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _encoded(column: Any) -> tuple[NDArray[np.int32], list[str]]:
    """Index of each value among the words, in the order in which they first appear."""
    coded = column.dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int32), coded.dictionary.to_pylist()
