"""The limits file: per sequence, what is demanded of its figures, and what the engine is told beforehand.

[kitti06_gray]
posed_ratio_min = 1.0
ate_percent_max = 0.5         # ATE limits are either-or: one of the two is enough
ate_m_max = 0.02
rotation_deg_max = 1.5
pose_core_s_max = 0.15        # a frame, of the first estimate
peer_ratio_min = 4.0          # what the peer costs over the first estimate; not judged where no peer ran

[kitti06_gray.given]          # optional: cues the user of `annotate` would name
camera_height_m = 1.65
sidecars = "auto"             # the clip's own telemetry
"""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wmkit.bench.score import Score
from wmkit.errors import ConfigError, InputError

__all__ = ["Check", "Cost", "SequenceLimits", "judge", "limit_tables", "read_limits"]

# limit -> the figure it bounds from above
UPPER = {
    "ate_percent_max": "ate_percent",
    "ate_m_max": "ate_sim3",
    "rotation_deg_max": "rotation_error",
    "focal_percent_max": "focal_error",
    "scale_percent_max": "scale_error",
    "net_displacement_percent_max": "net_displacement_error",
    "path_percent_max": "path_length_error",
    "scale_interval_max": "scale_interval",
}
COSTS = ("pose_core_s_max", "second_share_max", "peer_ratio_min")
EITHER = ("ate_percent_max", "ate_m_max")
POSED = "posed_ratio_min"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceLimits:
    """Limits of one sequence by name, and what the engine is told: the camera's height in metres, telemetry."""

    limits: dict[str, float]
    camera_height_m: float | None = None
    sidecars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an engine cost: CPU seconds a frame of its first estimate, and what comes on top.

    second_share  of the first estimate's seconds that the second takes; None when there is no second.
    peer_ratio    the peer's seconds over those of the first estimate, decoding included; None without a peer.
    """

    pose_core_s: float
    second_share: float | None
    peer_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit held against one sequence; `line` says it in words."""

    sequence: str
    limit: str
    held: bool
    line: str


def read_limits(path: Path) -> dict[str, SequenceLimits]:
    """Limits by sequence name; InputError when the file cannot be read, ConfigError when it says something else."""
    loaded = limit_tables(path)
    if not loaded:
        raise ConfigError(f"--limits: expected at least one table [sequence] in {path}, got none")
    return {name: _sequence_limits(path, name, table) for name, table in loaded.items()}


def limit_tables(path: Path) -> dict[str, object]:
    """What the TOML file holds; InputError when it cannot be read, ConfigError when it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--limits: expected a readable file at {path}, got: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--limits: expected TOML in {path}, got: {error}") from error


def _sequence_limits(path: Path, name: str, table: object) -> SequenceLimits:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: expected a table [{name}], got {table!r}")
    given = table.get("given", {})
    limits = {key: value for key, value in table.items() if key != "given"}
    allowed = (POSED, *UPPER, *COSTS)
    if not limits or set(limits) - set(allowed):
        raise ConfigError(f"{path}: [{name}]: expected some of {', '.join(allowed)}, got {', '.join(limits) or 'none'}")
    if not isinstance(given, dict) or set(given) - {"camera_height_m", "sidecars"}:
        raise ConfigError(f"{path}: [{name}.given]: expected camera_height_m and sidecars alone, got {given!r}")
    if given.get("sidecars", "auto") != "auto":
        raise ConfigError(f"{path}: [{name}.given] sidecars: expected auto, got {given['sidecars']!r}")
    numbers = (*limits.items(), *((key, value) for key, value in given.items() if key != "sidecars"))
    for key, value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{path}: [{name}] {key}: expected a number >= 0, got {value!r}")
    height = given.get("camera_height_m")
    return SequenceLimits(
        limits={key: float(value) for key, value in limits.items()},
        camera_height_m=None if height is None else float(height),
        sidecars="sidecars" in given,
    )


def judge(
    sequence: str, limits: SequenceLimits, posed_ratio: float, score: Score, cost: Cost | None = None
) -> tuple[Check, ...]:
    """Every limit of a sequence against its figures; one that was not measured is missed.

    The exception is the peer's cost, which is only judged where a peer ran. `cost` is None when nothing ran.

    Where both ATE limits are given they are one check, held when either is. Distances in a reference's own units
    (a reference that is not metric) never meet `ate_m_max`.
    """
    checks = []
    if POSED in limits.limits:
        held = posed_ratio >= limits.limits[POSED]
        line = f"{sequence}: posed ratio {posed_ratio:.3f}, limit at least {limits.limits[POSED]:g}"
        checks.append(Check(sequence=sequence, limit=POSED, held=held, line=line))
    groups = [tuple(name for name in EITHER if name in limits.limits)]
    groups += [(name,) for name in UPPER if name not in EITHER and name in limits.limits]
    checks += [_upper(sequence, group, limits.limits, score) for group in groups if group]
    checks += _costs(sequence, limits.limits, cost)
    return tuple(checks)


def _costs(sequence: str, limits: dict[str, float], cost: Cost | None) -> list[Check]:
    figures = {
        "pose_core_s_max": (None if cost is None else cost.pose_core_s, "core-s a frame, first estimate"),
        "second_share_max": (None if cost is None else cost.second_share, "of the first estimate's cost on top"),
        "peer_ratio_min": (None if cost is None else cost.peer_ratio, "times the first estimate's cost by the peer"),
    }
    checks = []
    for limit, (value, words) in figures.items():
        if limit not in limits or (limit == "peer_ratio_min" and value is None):
            continue
        least = limit.endswith("_min")
        held = value is not None and (value >= limits[limit] if least else value <= limits[limit])
        told = "not measured:" if value is None else f"{value:.3g}"
        line = f"{sequence}: {told} {words}, limit {'at least ' if least else ''}{limits[limit]:g}"
        checks.append(Check(sequence=sequence, limit=limit, held=held, line=line))
    return checks


def _upper(sequence: str, group: Sequence[str], limits: dict[str, float], score: Score) -> Check:
    parts, held = [], False
    for limit in group:
        metric = score.metrics.get(UPPER[limit])
        if metric is None:
            why = score.unmeasured.get(UPPER[limit], "not measured")
            parts.append(f"{UPPER[limit]} not measured ({why}), limit {limits[limit]:g}")
        elif limit == "ate_m_max" and metric.unit != "m":
            parts.append(f"{metric.name} {metric.value:.4g} {metric.unit}, limit {limits[limit]:g} m cannot be held")
        else:
            held = held or abs(metric.value) <= limits[limit]
            parts.append(f"{metric.name} {metric.value:.4g} {metric.unit}, limit {limits[limit]:g}")
    return Check(sequence=sequence, limit=" or ".join(group), held=held, line=f"{sequence}: " + "; or ".join(parts))
