"""Clips closest to a threshold, by verdict: where a person sees whether the limit is in the right place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wmkit.corpus import Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.thresholds import ThresholdRow, Thresholds

__all__ = ["Borderline", "Near", "borderline", "by_turns"]

A_SIDE = 2  # clips on either side of a row's limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """One clip near a limit: its value in the filter's unit, and whether this row lets it pass."""

    clip_id: str
    source: str
    value: float
    passes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Borderline:
    """The clips nearest to the limits of one row: those that pass first, each side nearest first."""

    row: ThresholdRow
    unit: str
    near: tuple[Near, ...]


def borderline(columns: LedgerColumns, thresholds: Thresholds) -> tuple[Borderline, ...]:
    """For every row that was measured on clips with a trajectory, two clips a side.

    A side whose nearest value is most clips' own (no cut, no black frame) has nothing borderline and is left out; of
    equally near clips the first by id are taken.
    """
    posed = columns.is_status(Status.OK)
    ids, sources = columns.table["clip_id"], columns.table["source"]
    found = []
    for row in thresholds.rows:
        column = columns.verdicts.get(row.filter)
        if column is None or not (posed & column.measured).any():
            continue
        places = np.flatnonzero(posed & column.measured)
        value = column.value[places]
        low, high = -np.inf if row.low is None else row.low, np.inf if row.high is None else row.high
        passes = (value >= low) & (value <= high)
        distance = np.minimum(np.abs(value - low), np.abs(value - high))
        near = []
        for side in (True, False):
            own = np.flatnonzero(passes == side)
            nearest = own[np.argsort(distance[own], kind="stable")[:A_SIDE]]
            if len(nearest) and np.count_nonzero(value == value[nearest[0]]) > max(1, len(value) // 2):
                continue
            near += [
                Near(
                    clip_id=ids[int(places[index])].as_py(),
                    source=sources[int(places[index])].as_py(),
                    value=float(value[index]),
                    passes=side,
                )
                for index in nearest
            ]
        if near:
            unit = column.units[column.unit[places[0]]]
            found.append(Borderline(row=row, unit=unit, near=tuple(near)))
    return tuple(found)


def by_turns(rows: Sequence[Borderline]) -> list[str]:
    """Clip ids, each once: the nearest of every row on either side, then the second nearest of each."""
    turns = [
        (turn, index, near.clip_id)
        for index, row in enumerate(rows)
        for side in (True, False)
        for turn, near in enumerate(near for near in row.near if near.passes is side)
    ]
    return list(dict.fromkeys(clip_id for _, _, clip_id in sorted(turns)))
