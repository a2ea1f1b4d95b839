"""Positions as a csv file: one header line, one row a fix.

    when      time_s (or t_s): seconds since the clip's first frame; or utc: 2026-01-31T12:00:00Z; or file: image name
    where     lat_deg, lon_deg and perhaps alt_m (WGS 84); or east_m, north_m and perhaps up_m
    how well  sigma_m: standard deviation of one horizontal axis; or dop; neither: 5 m
    fix       0 none, 2 without altitude, 3 with one; absent: what the row holds

Other columns are left alone; an empty cell is an absent value.
"""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from wmkit.camera import Array
from wmkit.errors import InputError
from wmkit.telemetry.track import MAX_SAMPLES, enu_m

__all__ = ["METRES_PER_DOP", "UNKNOWN_SIGMA_M", "TableTrack", "read_table"]

METRES_PER_DOP = 2.0  # a phone-grade receiver, one horizontal axis
UNKNOWN_SIGMA_M = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableTrack:
    """Rows of a csv: exactly one of `time_s`, `utc_s` (M,) and `names` says when; the rest as in `GpsTrack`."""

    time_s: Array | None
    utc_s: Array | None
    names: tuple[str, ...] | None
    enu_m: Array
    sigma_m: Array
    fix: np.ndarray


def read_table(data: bytes) -> TableTrack:
    """The rows, as they stand; InputError names the row and column that is missing or no number."""
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), restval="", restkey="_beyond"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"csv: expected text in UTF-8 with a header line, got: {error}") from None
    if not 1 <= len(rows) <= MAX_SAMPLES:
        raise InputError(f"csv: expected a header line and 1 to {MAX_SAMPLES} rows, got {len(rows)}")
    header = {name.strip() for name in rows[0] if isinstance(name, str)}
    rows = [{(key or "").strip(): value for key, value in row.items() if isinstance(value, str)} for row in rows]
    position = _position(rows, header)
    known = np.isfinite(position[:, :2]).all(axis=1)
    fix = np.where(np.isfinite(position[:, 2]), 3, 2)
    if "fix" in header:
        stated = _column(rows, "fix")
        fix = np.where(np.isin(stated, (2, 3)), stated, 0)
    fix = np.where(known, fix, 0).astype(np.int64)
    sigma_m = _column(rows, "sigma_m") if "sigma_m" in header else np.full(len(rows), np.nan)
    if "dop" in header:
        sigma_m = np.where(np.isnan(sigma_m), METRES_PER_DOP * _column(rows, "dop"), sigma_m)
    sigma_m = np.where(np.isnan(sigma_m), UNKNOWN_SIGMA_M, sigma_m)
    if (sigma_m[known] <= 0).any():
        raise InputError("csv: expected sigma_m and dop above 0")
    time_s, utc_s, names = _when(rows, header)
    return TableTrack(time_s=time_s, utc_s=utc_s, names=names, enu_m=position, sigma_m=sigma_m, fix=fix)


def _position(rows: list[dict[str, str]], header: set[str]) -> Array:
    if {"lat_deg", "lon_deg"} <= header:
        lat, lon = _column(rows, "lat_deg"), _column(rows, "lon_deg")
        if (np.abs(lat) > 90).any() or (np.abs(lon) > 180).any():
            raise InputError("csv: expected lat_deg within 90 and lon_deg within 180 degrees")
        alt = _column(rows, "alt_m") if "alt_m" in header else np.full(len(rows), np.nan)
        return enu_m(lat, lon, alt)
    if {"east_m", "north_m"} <= header:
        up = _column(rows, "up_m") if "up_m" in header else np.full(len(rows), np.nan)
        return np.column_stack([_column(rows, "east_m"), _column(rows, "north_m"), up])
    raise InputError(
        f"csv: expected columns lat_deg, lon_deg or east_m, north_m, got {', '.join(sorted(header))[:200]}"
    )


def _when(rows: list[dict[str, str]], header: set[str]) -> tuple[Array | None, Array | None, tuple[str, ...] | None]:
    for name in ("time_s", "t_s"):
        if name in header:
            return _increasing(_finite(_column(rows, name), name), name), None, None
    if "utc" in header:
        utc_s = np.array([_utc_s(row.get("utc", ""), index) for index, row in enumerate(rows, start=1)])
        return None, _increasing(utc_s, "utc"), None
    if "file" in header:
        names = tuple(row.get("file", "").rpartition("/")[2] for row in rows)
        if len(set(names)) != len(names):
            raise InputError("csv: expected one row an image in column file, got a name twice")
        return None, None, names
    raise InputError(f"csv: expected a column time_s, utc or file, got {', '.join(sorted(header))[:200]}")


def _column(rows: list[dict[str, str]], name: str) -> Array:
    values = np.full(len(rows), np.nan)
    for index, row in enumerate(rows):
        text = row.get(name, "").strip()
        if not text:
            continue
        try:
            values[index] = float(text)
        except ValueError:
            raise InputError(f"csv row {index + 1}: expected a number in {name}, got {text[:40]!r}") from None
        if not np.isfinite(values[index]):
            raise InputError(f"csv row {index + 1}: expected a finite number in {name}, got {text[:40]!r}")
    return values


def _finite(values: Array, name: str) -> Array:
    if np.isnan(values).any():
        raise InputError(
            f"csv row {int(np.flatnonzero(np.isnan(values))[0]) + 1}: expected a number in {name}, got none"
        )
    return values


def _increasing(values: Array, name: str) -> Array:
    if (np.diff(values) <= 0).any():
        row = int(np.flatnonzero(np.diff(values) <= 0)[0]) + 2
        raise InputError(f"csv row {row}: expected {name} to increase from row to row, got one no later; sort the rows")
    return values


def _utc_s(text: str, row: int) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"csv row {row}: expected utc like 2026-01-31T12:00:00Z, got {text[:40]!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
