"""What the rows of `wmkit bench worlds` amount to: counts by family, rates with intervals, reliability of p_good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmkit import __version__
from wmkit.annotate.confidence.reliability import (
    Bin,
    Rate,
    calibration_error,
    calibration_error_interval,
    rate,
    reliability_bins,
)
from wmkit.bench.table import aligned
from wmkit.worlds.families import FAMILIES, STILL_FAMILIES

__all__ = ["CALLED_GOOD", "Reliability", "WorldsReport"]

CALLED_GOOD = 0.9  # a trajectory is called good from this p_good on
POSED = 0.9  # and a clip counts as posed from this share of its frames on
RIGHT_NAMES = {"static": ("static",), "pure_rotation": ("pure_rotation",)}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How honest p_good was on some cases: the calibration error with its bootstrap 95 % interval, and its bins."""

    cases: int
    error: float
    low: float
    high: float
    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, probability: np.ndarray, good: np.ndarray) -> "Reliability":
        """From probabilities and truths (N,), at least one case."""
        low, high = calibration_error_interval(probability, good)
        error = calibration_error(probability, good)
        return cls(cases=len(good), error=error, low=low, high=high, bins=reliability_bins(probability, good))

    def lines(self) -> list[str]:
        """For people, and for LOG.md."""
        rows = [("p_good", "cases", "mean p_good", "good"), ("------", "-----", "-----------", "----")]
        for item in self.bins:
            rows.append(
                (f"{item.low:.1f}-{item.high:.1f}", str(item.observed.total), f"{item.mean:.3f}", str(item.observed))
            )
        return [f"ECE {self.error:.4f} [{self.low:.4f}, {self.high:.4f}] on {self.cases} cases", *aligned(rows, left=1)]

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        bins = [{"low": b.low, "high": b.high, "mean": b.mean, "observed": b.observed.to_json()} for b in self.bins]
        return {"cases": self.cases, "ece": self.error, "ece_interval": [self.low, self.high], "bins": bins}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldsReport:
    """The rows of one run."""

    rows: tuple[Row, ...]

    def called_good(self, rows: Sequence[Row]) -> list[Row]:
        """Those whose p_good is at least CALLED_GOOD."""
        return [row for row in rows if (row.get("p_good") or 0.0) >= CALLED_GOOD]

    def solved(self, rows: Sequence[Row]) -> list[Row]:
        """Those that are good, called good, and posed in at least nine frames of ten."""
        return [row for row in self.called_good(rows) if row["good"] and row["posed_share"] >= POSED]

    @property
    def well_posed(self) -> list[Row]:
        """Cases that the truth says a good engine should solve; see `wmkit.worlds.families.survey`."""
        return [row for row in self.rows if row.get("truth", {}).get("well_posed")]

    @property
    def exit_code(self) -> int:
        """1 when a case failed (the engine raised or ran out of time) or none got a trajectory; 0 otherwise."""
        outcomes = {row["outcome"] for row in self.rows}
        return 0 if "posed" in outcomes and "failed" not in outcomes else 1

    @property
    def rates(self) -> dict[str, Rate]:
        """The figures that the targets name."""
        called = self.called_good(self.rows)
        still = [row for row in self.rows if row["family"] in STILL_FAMILIES]
        well = self.well_posed
        return {
            "well_posed_good": rate(sum(bool(row.get("good")) for row in well), len(well)),
            "well_posed_good_and_called_good": rate(len(self.solved(well)), len(well)),
            "called_good_are_good": rate(sum(row["good"] for row in called), len(called)),
            "still_named_right": rate(sum(map(_named_right, still)), len(still)),
            "failed": rate(sum(row["outcome"] == "failed" for row in self.rows), len(self.rows)),
        }

    @property
    def reliability(self) -> Reliability | None:
        """Of every case with a p_good; None without any."""
        rows = [row for row in self.rows if row.get("p_good") is not None]
        if not rows:
            return None
        return Reliability.of(np.array([row["p_good"] for row in rows]), np.array([float(row["good"]) for row in rows]))

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        reliability = self.reliability
        return {
            "wmkit": __version__,
            "cases": len(self.rows),
            "families": {name: _family(self, rows) for name, rows in self._families().items()},
            "rates": {name: value.to_json() for name, value in self.rates.items()},
            "reliability": None if reliability is None else reliability.to_json(),
            "core_s": _core_s(self.rows),
        }

    def _families(self) -> dict[str, list[Row]]:
        parts = {name: [row for row in self.rows if row["family"] == name] for name in FAMILIES}
        return {name: rows for name, rows in parts.items() if rows}

    def lines(self) -> list[str]:
        """For people: a row a family, the rates with their 95 % intervals, the reliability of p_good."""
        head = (
            "family",
            "n",
            "posed",
            "good",
            "called",
            "both",
            "well-posed",
            "solved",
            "core-s",
            "without a trajectory",
        )
        table: list[tuple[str, ...]] = [head]
        for name, rows in self._families().items():
            one = _family(self, rows)
            cells = [
                one[key] for key in ("cases", "posed", "good", "called_good", "good_and_called_good", "well_posed")
            ]
            reasons = ", ".join(f"{count} {reason}" for reason, count in one["reasons"].items())
            cost = f"{one['core_s']['engine']:.2f}" if one["core_s"] else "-"
            table.append((name, *map(str, cells), one["solved"], cost, reasons))
        lines = aligned(table, left=1)
        lines += ["", f"called: p_good >= {CALLED_GOOD}; solved: of the well-posed, good, called good and posed (95 %)"]
        lines += [f"{name.replace('_', ' ')}: {value}" for name, value in self.rates.items()]
        reliability = self.reliability
        lines += ["", "p_good: none, no calibration"] if reliability is None else ["", *reliability.lines()]
        cost = _core_s(self.rows)
        return [*lines, "", "core-s a case: " + ", ".join(f"{stage} {value:.2f}" for stage, value in cost.items())]


def _named_right(row: Row) -> bool:
    """Whether a still camera's clip was said to be what it is."""
    return row["outcome"] == "no_trajectory" and row["reason"] in RIGHT_NAMES[row["family"]]


def _family(report: WorldsReport, rows: list[Row]) -> dict[str, Any]:
    called = report.called_good(rows)
    well = [row for row in rows if row.get("truth", {}).get("well_posed")]
    reasons = Counter(row["reason"] for row in rows if row["outcome"] != "posed")
    return {
        "cases": len(rows),
        "posed": sum(row.get("posed_share", 0.0) >= POSED for row in rows),
        "good": sum(bool(row.get("good")) for row in rows),
        "called_good": len(called),
        "good_and_called_good": sum(row["good"] for row in called),
        "well_posed": len(well),
        "solved": str(rate(len(report.solved(well)), len(well))),
        "reasons": dict(sorted(reasons.items())),
        "core_s": _core_s(rows),
    }


def _core_s(rows: Sequence[Row]) -> dict[str, float]:
    """Mean CPU seconds a case by stage, over the cases that ended."""
    spent = [row["core_s"] for row in rows if "core_s" in row]
    return {stage: float(np.mean([row[stage] for row in spent])) for stage in (spent[0] if spent else ())}
