"""The thresholds file: which measured values a clip may have to be trained on. Filters measure, this decides.

::

    [fov_x]                   # name of a filter
    low = 25.0                # smallest value that passes, in the filter's unit; left out: no limit
    high = 120.0              # largest value that passes
    unmeasured = "reject"     # or "keep": what UNMEASURED means here; must be said
    from = "scores"           # only for a value that no filter measures: build-shards --scores brings it

The default file and the presets, published limits by name, are package data beside this module.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.clip import MeasureState, Verdict
from wmkit.errors import InputError

__all__ = [
    "DEFAULT_THRESHOLDS",
    "PRESETS",
    "Rejection",
    "ThresholdRow",
    "Thresholds",
    "apply",
    "check_filters",
    "first_failing",
    "parse_thresholds",
    "preset_names",
    "read_thresholds",
]

DEFAULT_THRESHOLDS = Path(__file__).with_name("default_thresholds.toml")
PRESETS = Path(__file__).with_name("threshold_presets")
_KEYS = ("low", "high", "unmeasured", "from")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRow:
    """One filter's limits, both inclusive and in its own unit; None is no limit.

    `source` "scores": no filter of this name exists, the value comes from a file of scores.
    """

    filter: str
    low: float | None
    high: float | None
    unmeasured: Literal["keep", "reject"]
    source: Literal["filter", "scores"] = "filter"

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.low, self.high) if limit is not None]
        if not limits or not all(math.isfinite(limit) for limit in limits):
            raise InputError(f"threshold {self.filter}: expected low, high or both, finite")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"threshold {self.filter}: expected low <= high, got {self.low} and {self.high}")
        if self.unmeasured not in ("keep", "reject"):
            raise InputError(
                f'threshold {self.filter}: expected unmeasured = "keep" or "reject", got {self.unmeasured!r}'
            )
        if self.source not in ("filter", "scores"):
            raise InputError(f'threshold {self.filter}: expected from = "scores" or no from, got {self.source!r}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Rows in the order they are applied. `packaged`: ours, whose names a test has checked."""

    rows: tuple[ThresholdRow, ...]
    packaged: bool = False

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, one object a row, as shards.json records them."""
        return [asdict(row) for row in self.rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The first row that did not let a clip pass: `reason` to count by (`threshold:fov_x` for a value outside,
    `unmeasured:fov_x` for none), `detail` for people.
    """

    filter: str
    reason: str
    detail: str


def preset_names() -> tuple[str, ...]:
    """What `--thresholds` takes besides a file: `sana-wm/spatialvid-hq`, ..."""
    return tuple(sorted(file.relative_to(PRESETS).with_suffix("").as_posix() for file in PRESETS.rglob("*.toml")))


def read_thresholds(asked: Path | str | None = None) -> Thresholds:
    """The thresholds in a TOML file or of a preset, the default ones without; a file counts before a preset.

    Raises InputError, one line, for anything wrong with it.
    """
    file = DEFAULT_THRESHOLDS if asked is None else Path(asked)
    if not file.exists() and file.as_posix() in preset_names():
        file = PRESETS / f"{file.as_posix()}.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = error.strerror if isinstance(error, OSError) else "other bytes"
        presets = ", ".join(preset_names())
        raise InputError(f"--thresholds {file}: expected a readable TOML file or one of {presets}, got {got}") from None
    try:
        packaged = file == DEFAULT_THRESHOLDS or PRESETS in file.parents
        return replace(parse_thresholds(text), packaged=packaged)
    except InputError as error:
        raise InputError(f"--thresholds {file}: {error}") from None


def parse_thresholds(text: str) -> Thresholds:
    """The thresholds in TOML text; InputError names the row and key that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"expected TOML, got {error}") from None
    return Thresholds(rows=tuple(_row(name, table) for name, table in document.items()))


def check_filters(thresholds: Thresholds, measured: Iterable[str]) -> None:
    """InputError when a row names a filter that is none of `measured`: a typing error must not let clips pass.

    A row from scores, or of a packaged file, need not be there: what it says of UNMEASURED counts.
    """
    if thresholds.packaged:
        return
    known = sorted(set(measured))
    unknown = [row.filter for row in thresholds.rows if row.filter not in known and row.source == "filter"]
    if unknown:
        raise InputError(
            f"thresholds: expected filters that ran on this corpus ({', '.join(known) or 'none did'}), "
            f"got {', '.join(unknown)}; pass another --thresholds"
        )


def apply(thresholds: Thresholds, verdicts: Sequence[Verdict]) -> Rejection | None:
    """The first row that rejects a clip with these verdicts, None when all let it pass.

    A filter that did not run on the clip is unmeasured.
    """
    by_name = {verdict.name: verdict for verdict in verdicts}
    for row in thresholds.rows:
        verdict = by_name.get(row.filter)
        if verdict is None or verdict.state is MeasureState.UNMEASURED or verdict.value is None:
            if row.unmeasured == "reject":
                why = "the filter did not run" if verdict is None else verdict.reason
                return Rejection(filter=row.filter, reason=f"unmeasured:{row.filter}", detail=why)
        elif not _passes(row, verdict.value):
            too_low = row.low is not None and verdict.value < row.low
            limit = f"below {row.low:g}" if too_low else f"above {row.high:g}"
            detail = " ".join(f"{verdict.value:.6g} {verdict.unit} is {limit}".split())
            return Rejection(filter=row.filter, reason=f"threshold:{row.filter}", detail=detail)
    return None


def first_failing(thresholds: Thresholds, values: Mapping[str, Array], count: int) -> NDArray[np.int64]:
    """(count,) index of the first row that rejects each clip, -1 where none does: `apply` to all clips at once.

    values  filter -> (count,) float64, NaN where it is unmeasured; a filter that is not there never ran.
    """
    first = np.full(count, -1, dtype=np.int64)
    for index, row in enumerate(thresholds.rows):
        value = values.get(row.filter, np.full(count, np.nan))
        low, high = -np.inf if row.low is None else row.low, np.inf if row.high is None else row.high
        passes = np.isnan(value) if row.unmeasured == "keep" else np.zeros(count, dtype=bool)
        first[(first < 0) & ~(passes | ((value >= low) & (value <= high)))] = index
    return first


def _passes(row: ThresholdRow, value: float) -> bool:
    return (row.low is None or value >= row.low) and (row.high is None or value <= row.high)


def _row(name: str, table: Any) -> ThresholdRow:
    if not isinstance(table, dict):
        raise InputError(f"expected a table [{name}] with {', '.join(_KEYS)}, got {table!r}")
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise InputError(f"threshold {name}: expected {', '.join(_KEYS)}, got {', '.join(unknown)}")
    if table.get("from", "scores") != "scores":
        raise InputError(f'threshold {name}: expected from = "scores" or no from, got {table["from"]!r}')
    if "unmeasured" not in table:
        raise InputError(f'threshold {name}: expected unmeasured = "keep" or "reject", it says neither')
    return ThresholdRow(
        filter=name,
        low=_limit(name, "low", table),
        high=_limit(name, "high", table),
        unmeasured=table["unmeasured"],
        source=table.get("from", "filter"),
    )


def _limit(name: str, key: str, table: dict[str, Any]) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"threshold {name}: expected a number as {key}, got {value!r}")
    return float(value)
