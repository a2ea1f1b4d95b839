"""What the rows of `wmkit bench filters` amount to: recall by defect, false rejects by filter, with intervals."""

from collections import Counter
from dataclasses import dataclass

from wmkit import __version__
from wmkit.annotate.confidence.reliability import Rate, rate
from wmkit.annotate.filters import FOOTAGE_FILTERS
from wmkit.bench.filters import NEEDS, SOUND
from wmkit.bench.filters_material import SEEDS
from wmkit.bench.rows import Row
from wmkit.bench.table import aligned
from wmkit.clip import Verdict
from wmkit.thresholds import Thresholds, apply
from wmkit.worlds.defects import DEFECTS, Defect

__all__ = ["FALSE_REJECTS", "RECALL", "FiltersReport"]

RECALL, FALSE_REJECTS = 0.99, 0.02
"""The limits: of planted defects at least, of sound clips at most."""

FOOTAGE_NAMES = frozenset(config.name for config in FOOTAGE_FILTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FiltersReport:
    """The rows of one run under some thresholds.

    A clip is *kept back* when it failed, has no trajectory, or a threshold rejects it. A defect is *caught* when it is
    kept back and its sound twin is not; cases whose twin is kept back too say nothing and are void. A sound clip that
    is kept back is a *false reject*, unless its cameras are wrong by the truth: then it was rejected rightly.
    """

    rows: tuple[Row, ...]
    thresholds: Thresholds

    def reasons(self, row: Row) -> tuple[str, ...]:
        """Why the clip is kept back, every reason; () when it is let through."""
        if row["outcome"] != "measured":
            return (f"{row['outcome']}:{row['reason']}",)
        verdicts = [
            Verdict.unmeasured(name, "", "unmeasured") if value is None else Verdict.measured(name, value, "")
            for name, value in row["verdicts"].items()
        ]
        seen = [r for r in self.thresholds.rows if row["needs"] != "footage" or r.filter in FOOTAGE_NAMES]
        alone = [Thresholds(rows=(item,), packaged=True) for item in seen]
        return tuple(item.rows[0].filter for item in alone if apply(item, verdicts) is not None)

    def recall(self, defect: str) -> tuple[Rate, int, Counter[str]]:
        """Share caught, void cases, and by what the caught ones were, each reason counted."""
        twins = {_twin(row): self.reasons(row) for row in self.rows if row["defect"] == SOUND}
        planted = [row for row in self.rows if row["defect"] == defect]
        valid = [row for row in planted if not twins.get(_twin(row), ()) or _own_family(defect)]
        found = [self.reasons(row) for row in valid]
        by = Counter(reason for reasons in found for reason in reasons)
        return rate(sum(bool(reasons) for reasons in found), len(valid)), len(planted) - len(valid), by

    def false_rejects(self, needs: str) -> tuple[Rate, Counter[str]]:
        """Share of the sound clips of a need that are kept back, and by what."""
        sound = [row for row in self.rows if row["defect"] == SOUND and row["needs"] == needs]
        if needs == "cameras":
            sound = [row for row in sound if row.get("good")]
        found = [self.reasons(row) for row in sound]
        by = Counter(reason for reasons in found for reason in reasons)
        return rate(sum(bool(reasons) for reasons in found), len(sound)), by

    @property
    def overall(self) -> Rate:
        """Recall over all cases of the defects that must be caught."""
        rates = [self.recall(defect.name)[0] for defect in self._run() if not defect.outside]
        return rate(sum(item.hits for item in rates), sum(item.total for item in rates))

    @property
    def exit_code(self) -> int:
        """1 when the overall recall, a counted defect's, or the false rejects of any need miss their limit."""
        recalls = [self.overall, *(self.recall(d.name)[0] for d in self._run() if not d.outside)]
        wrong = [self.false_rejects(needs)[0] for needs in NEEDS]
        missed = any(item.total and item.value < RECALL for item in recalls)
        return int(missed or any(item.total and item.value > FALSE_REJECTS for item in wrong))

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        defects = {}
        for defect in self._run():
            share, void, by = self.recall(defect.name)
            defects[defect.name] = {
                "what": defect.what,
                "needs": defect.needs,
                "outside": defect.outside,
                "recall": share.to_json(),
                "void": void,
                "by": dict(by.most_common()),
            }
        sound = {}
        for needs in NEEDS:
            share, by = self.false_rejects(needs)
            sound[needs] = {"false_rejects": share.to_json(), "by": dict(by.most_common())}
        return {
            "wmkit": __version__,
            "seeds": sorted({row["use"] for row in self.rows}),
            "cases": len(self.rows),
            "defects": defects,
            "overall": self.overall.to_json(),
            "sound": sound,
            "thresholds": self.thresholds.to_json(),
            "passes": self.exit_code == 0,
        }

    def lines(self) -> list[str]:
        """For people: a row a defect, then the sound clips."""
        table: list[tuple[str, ...]] = [("defect", "severity", "caught", "void", "", "by")]
        for defect in self._run():
            share, void, by = self.recall(defect.name)
            judged = "outside" if defect.outside else "MISSED" if share.total and share.value < RECALL else ""
            table.append((defect.name, defect.what, str(share), str(void), judged, _told(by)))
        lines = [line.rstrip() for line in aligned(table, left=6)]
        lines += ["", f"caught in all: {self.overall}, wanted {100 * RECALL:.0f} % of each and of all"]
        for needs in NEEDS:
            share, by = self.false_rejects(needs)
            if share.total:
                told = f": {_told(by)}" if by else ""
                lines.append(
                    f"sound clips rejected, {needs}: {share}{told}; wanted {100 * FALSE_REJECTS:.0f} % at most"
                )
        lines += [
            f"seeds: {use} {SEEDS[use].first} to {SEEDS[use].first + SEEDS[use].count - 1}" for use in self._uses()
        ]
        return lines

    def _uses(self) -> list[str]:
        return sorted({row["use"] for row in self.rows})

    def _run(self) -> list[Defect]:
        names = {row["defect"] for row in self.rows}
        return [defect for defect in DEFECTS if defect.name in names]


def _twin(row: Row) -> tuple[str, str, str]:
    """What a case and its sound twin share."""
    return row["needs"], row["kind"], row["case"].rsplit("-", 1)[1]


def _own_family(name: str) -> bool:
    return any(defect.name == name and defect.family for defect in DEFECTS)


def _told(by: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in by.most_common(4))
