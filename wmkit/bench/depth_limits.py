"""The limits file of `wmkit bench depth`: what is demanded of a clip's maps; `[worlds]` is all worlds together.

[icl_livingroom]
abs_rel_percent_max = 3.0
delta_percent_min = 97.0      # share of pixels within a factor of 1.25
coverage_percent_min = 75.0   # of the reference's pixels
core_s_max = 1.0              # a map, without pose
confidence_monotone = true    # no more confident fifth of the pixels errs more than the one before, by 0.1 % of depth

[icl_livingroom.given]        # what the reference's own files leave out
colour_from_depth_m = [-0.025, 0.0, 0.0]   # the depth camera's place in the colour camera's axes
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wmkit.bench.limits import Check, limit_tables
from wmkit.errors import ConfigError

if TYPE_CHECKING:
    from wmkit.bench.depth import DepthScore

__all__ = ["DepthLimits", "judge_depth", "read_depth_limits"]

# limit -> the figure it bounds, and what the figure is multiplied by
BOUNDS = {
    "abs_rel_percent_max": ("depth_abs_rel", 100.0),
    "delta_percent_min": ("depth_delta_1_25", 100.0),
    "coverage_percent_min": ("depth_coverage", 100.0),
}
SLACK = 0.001  # of depth: the measured references and a scale of a clip are no finer
COST, MONOTONE = "core_s_max", "confidence_monotone"


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthLimits:
    """Limits of one clip by name; whether confidence must sort errors; where the depth camera stands, if told."""

    limits: dict[str, float]
    monotone: bool = False
    colour_from_depth_m: tuple[float, ...] | None = None


def read_depth_limits(path: Path) -> dict[str, DepthLimits]:
    """Limits by clip name; InputError when the file cannot be read, ConfigError when it says something else."""
    return {name: _clip_limits(path, name, table) for name, table in limit_tables(path).items()}


def _clip_limits(path: Path, name: str, table: object) -> DepthLimits:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: expected a table [{name}], got {table!r}")
    given, monotone = table.get("given", {}), table.get(MONOTONE, False)
    numbers = {key: value for key, value in table.items() if key not in ("given", MONOTONE)}
    unknown = set(numbers) - {*BOUNDS, COST}
    if unknown or not isinstance(monotone, bool) or not isinstance(given, dict):
        allowed = ", ".join((*BOUNDS, COST, MONOTONE))
        raise ConfigError(f"{path}: [{name}]: expected some of {allowed}, got {', '.join(sorted(table))}")
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{path}: [{name}] {key}: expected a number >= 0, got {value!r}")
    place = given.get("colour_from_depth_m")
    if set(given) - {"colour_from_depth_m"} or not (place is None or (isinstance(place, list) and len(place) == 3)):
        raise ConfigError(f"{path}: [{name}.given]: expected colour_from_depth_m, three metres, alone, got {given!r}")
    return DepthLimits(
        limits={key: float(value) for key, value in numbers.items()},
        monotone=monotone,
        colour_from_depth_m=None if place is None else tuple(float(value) for value in place),
    )


def judge_depth(row: "DepthScore", limits: DepthLimits) -> tuple[Check, ...]:
    """Every limit against one clip's figures; one that was not measured is missed."""
    checks = []
    for limit, bound in limits.limits.items():
        if limit == COST:
            value, words = row.core_s, "core-s a map"
        else:
            figure, factor = BOUNDS[limit]
            found = row.value(figure)
            value, words = None if found is None else factor * found, f"% {figure}"
        least = limit.endswith("_min")
        held = value is not None and (value >= bound if least else value <= bound)
        told = "not measured:" if value is None else f"{value:.3g}"
        line = f"{row.name}: {told} {words}, limit {'at least ' if least else ''}{bound:g}"
        checks.append(Check(sequence=row.name, limit=limit, held=held, line=line))
    if limits.monotone:
        held = len(row.groups) > 1 and all(b <= a + SLACK for a, b in zip(row.groups, row.groups[1:], strict=False))
        told = " ".join(f"{100 * value:.2f}" for value in row.groups) or "not measured"
        line = f"{row.name}: AbsRel % by confidence {told}, expected never to rise by more than {100 * SLACK:g}"
        checks.append(Check(sequence=row.name, limit=MONOTONE, held=held, line=line))
    return tuple(checks)
