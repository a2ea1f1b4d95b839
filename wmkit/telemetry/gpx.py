"""GPX 1.0 and 1.1 tracks (topografix.com): `trkpt` with its position, height, time, fix and dilution.

Read by expat directly: a document type, and with it every entity, is refused before it can expand.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.parsers.expat import ExpatError, ParserCreate

import numpy as np

from wmkit.errors import InputError
from wmkit.telemetry.track import MAX_SAMPLES

__all__ = ["Fixes", "read_gpx"]

_MAX_DEPTH = 64
_FIXES = {"none": 0, "2d": 2, "3d": 3, "dgps": 3, "pps": 3}
_TEXTS = frozenset({"ele", "time", "fix", "hdop", "pdop"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixes:
    """Positions with absolute times, before they are put on a clip's clock.

    utc_s (M,) seconds since 1970; lat_deg, lon_deg, alt_m (M,), altitude NaN where absent; dop (M,) NaN where absent;
    fix (M,) 0, 2 or 3.
    """

    utc_s: np.ndarray
    lat_deg: np.ndarray
    lon_deg: np.ndarray
    alt_m: np.ndarray
    dop: np.ndarray
    fix: np.ndarray


@dataclass(slots=True)
class _Reader:
    rows: list[tuple[float, float, float, float, float, int]] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    point: dict[str, str] | None = None
    text: list[str] = field(default_factory=list)
    untimed: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(" ")[2]
        self.path.append(name)
        if len(self.path) > _MAX_DEPTH:
            raise InputError(f"GPX: expected at most {_MAX_DEPTH} levels, got more")
        if name == "trkpt":
            self.point = {"lat": attributes.get("lat", ""), "lon": attributes.get("lon", "")}
        self.text.clear()

    def characters(self, data: str) -> None:
        if self.point is not None and self.path[-1] in _TEXTS and sum(map(len, self.text)) < 256:
            self.text.append(data)

    def end(self, name: str) -> None:
        name = self.path.pop()
        if self.point is not None and name in _TEXTS and self.path and self.path[-1] == "trkpt":
            self.point[name] = "".join(self.text).strip()
        if name == "trkpt" and self.point is not None:
            self._add(self.point)
            self.point = None
        self.text.clear()

    def _add(self, point: dict[str, str]) -> None:
        if len(self.rows) >= MAX_SAMPLES:
            raise InputError(f"GPX: expected at most {MAX_SAMPLES} track points, got more")
        if "time" not in point:
            self.untimed += 1
            return
        place = len(self.rows) + 1
        lat, lon = (_number(point[key], key, place) for key in ("lat", "lon"))
        if not (abs(lat) <= 90 and abs(lon) <= 180):
            raise InputError(f"GPX point {place}: expected degrees of latitude and longitude, got {lat}, {lon}")
        alt = _number(point["ele"], "ele", place) if "ele" in point else float("nan")
        dop = next((_number(point[key], key, place) for key in ("hdop", "pdop") if key in point), float("nan"))
        fix = _FIXES.get(point.get("fix", "3d" if "ele" in point else "2d"), 0)
        self.rows.append((_utc_s(point["time"], place), lat, lon, alt, dop, fix))


def read_gpx(data: bytes) -> Fixes:
    """Every timed track point, by time; of two with one time the first counts.

    Raises InputError when it is no well-formed XML, has a document type, no timed track point, or a bad number.
    """
    reader = _Reader()
    parser = ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except ExpatError as error:
        raise InputError(f"GPX: expected well-formed XML, got: {error}") from None
    if not reader.rows:
        what = f"{reader.untimed} without a time" if reader.untimed else "none"
        raise InputError(f"GPX: expected track points with times (trkpt, time), got {what}")
    table = np.array(reader.rows)
    table = table[np.unique(table[:, 0], return_index=True)[1]]
    utc_s, lat, lon, alt, dop, fix = table.T
    return Fixes(utc_s=utc_s, lat_deg=lat, lon_deg=lon, alt_m=alt, dop=dop, fix=fix.astype(np.int64))


def _refuse(*_: object) -> None:
    raise InputError("GPX: expected plain XML, got a document type or an entity; remove it")


def _number(text: str, key: str, place: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"GPX point {place}: expected a number in {key}, got {text[:40]!r}")
    return value


def _utc_s(text: str, place: int) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"GPX point {place}: expected a time like 2026-01-31T12:00:00Z, got {text[:40]!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()  # GPX: "in UTC"
