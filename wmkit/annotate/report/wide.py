"""What the report says of all clips at once, from the ledger's columns: 213,000 of them are seconds, not objects."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wmkit.annotate.report.data import NAMED_CODES, Histogram, Step, histogram
from wmkit.camera import Array
from wmkit.corpus import DeadLetter, LedgerRow, Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import ledger_rows
from wmkit.thresholds import ThresholdRow, Thresholds, first_failing

__all__ = [
    "Correlation",
    "LetterGroup",
    "ReviewSize",
    "SourceGroup",
    "all_histograms",
    "correlations",
    "failing",
    "full_rows",
    "letter_groups",
    "light_rows",
    "review_sizes",
    "source_groups",
    "threshold_steps",
]

CARD_ORDER = "reprojection_px"  # the one verdict that decides which clips get a card
GROUPS = 30
SAMPLED, FEWEST, WEAKEST, PAIRS = 20_000, 30, 0.3, 15


def light_rows(columns: LedgerColumns) -> dict[str, LedgerRow]:
    """The last row of every clip by clip id, with no verdict but the one that orders cards."""
    table, place = columns.table, columns.table.column_names.index("verdicts")
    none = pa.array([[]] * len(table), type=table.schema.field(place).type)
    rows = ledger_rows(table.set_column(place, table.schema.field(place), none))
    order = columns.verdicts.get(CARD_ORDER)
    verdicts = (None if order is None else order.verdict(row) for row in range(len(rows)))
    return {
        row.clip_id: row if verdict is None else dataclasses.replace(row, verdicts=(verdict,))
        for row, verdict in zip(rows, verdicts, strict=True)
    }


def full_rows(columns: LedgerColumns, chosen: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The rows of these clips with all their verdicts."""
    place = {clip_id: row for row, clip_id in enumerate(columns.words("clip_id"))}
    return [ledger_rows(columns.table.slice(place[row.clip_id], 1))[0] for row in chosen]


def all_histograms(columns: LedgerColumns) -> tuple[Histogram, ...]:
    """One per verdict and unit over all rows, in the order in which the filters ran."""
    found = []
    for column in columns.verdicts.values():
        units = sorted({column.units[unit] for unit in np.unique(column.unit[column.ran])})
        for word in units:
            rows = column.ran & (column.unit == column.units.index(word))
            missing = column.reason[rows & ~column.measured]
            counts = np.bincount(missing, minlength=len(column.reasons))
            reasons = {text: int(count) for text, count in zip(column.reasons, counts, strict=True) if count}
            found.append(histogram(column.name, word, column.value[rows & column.measured], reasons))
    return tuple(found)


def failing(columns: LedgerColumns, thresholds: Thresholds) -> NDArray[np.int64]:
    """(N,) index of the first threshold that a clip with a trajectory fails, -1 where none, -2 without one."""
    values = {name: column.value for name, column in columns.verdicts.items()}
    first = first_failing(thresholds, values, len(columns))
    return np.where(columns.is_status(Status.OK), first, -2)


def threshold_steps(
    steps: Sequence[Step], columns: LedgerColumns, thresholds: Thresholds, first: NDArray[np.int64]
) -> tuple[Step, ...]:
    """The waterfall `steps`, ending with the clips with a trajectory, and how many each threshold takes of them.

    Each clip leaves at the first row of the file that rejects it, a value outside and UNMEASURED told apart.
    """
    losses: Counter[str] = Counter()
    for index, row in enumerate(thresholds.rows):
        here = first == index
        column = columns.verdicts.get(row.filter)
        measured = int(np.count_nonzero(here & column.measured)) if column is not None else 0
        losses[_words(row)] += measured
        losses[f"{row.filter} unmeasured"] += int(np.count_nonzero(here)) - measured
    left = [*steps]
    ordered = sorted(((word, n) for word, n in losses.items() if n), key=lambda item: (-item[1], item[0]))
    shown, rest = ordered[: 2 * NAMED_CODES], ordered[2 * NAMED_CODES :]
    if rest:
        shown.append((f"{len(rest)} other thresholds", sum(count for _, count in rest)))
    for word, count in shown:
        after = left[-1].after - count
        left.append(Step(label="Threshold", detail=word, count=count, after=after, kind="loss", tone="neutral"))
    after = left[-1].after
    left.append(Step(label="Pass the thresholds", detail="", count=after, after=after, kind="total", tone="ok"))
    return tuple(left)


def _words(row: ThresholdRow) -> str:
    limits = [
        f"below {row.low:g}" if row.low is not None else "",
        f"above {row.high:g}" if row.high is not None else "",
    ]
    return f"{row.filter} {' or '.join(filter(None, limits))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGroup:
    """Clips whose source lies in one folder below the input root; "" are those in none."""

    name: str
    clips: int
    ok: int
    failed: int
    metric: int
    passed: int
    frames: int
    posed_frames: int


def source_groups(columns: LedgerColumns, first: NDArray[np.int64]) -> tuple[SourceGroup, ...]:
    """By the first folder of each source's name, the largest first; beyond thirty the rest together as "others"."""
    names = [name.split("/")[0] if "/" in name else "" for name in columns.words("source")]
    order = [name for name, _ in Counter(names).most_common(GROUPS)]
    index = {name: place for place, name in enumerate(order)}
    group = np.array([index.get(name, len(order)) for name in names], dtype=np.int64)
    labels = [*order, "others"]
    ok = columns.is_status(Status.OK)
    sums = {
        "clips": np.ones(len(names)),
        "ok": ok,
        "failed": columns.is_status(Status.FAILED),
        "metric": ok & np.isfinite(columns.numbers("scale_value")),
        "passed": first == -1,
        "frames": np.nan_to_num(columns.numbers("frames")),
        "posed_frames": np.nan_to_num(columns.numbers("posed_frames")),
    }
    counted = {word: np.bincount(group, weights=values, minlength=len(labels)) for word, values in sums.items()}
    return tuple(
        SourceGroup(name=label, **{word: int(counts[place]) for word, counts in counted.items()})
        for place, label in enumerate(labels)
        if counted["clips"][place]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of two verdicts over the `clips` that have both."""

    one: str
    other: str
    rho: float
    clips: int


def correlations(columns: LedgerColumns) -> tuple[Correlation, ...]:
    """The strongest pairs, of at least 0.3 and 30 clips: two filters that say the same, or a defect that shows twice.

    Of larger corpora every k-th clip, 20,000 at most; ids are hashes, so that is a sample.
    """
    step = max(1, -(-len(columns) // SAMPLED))
    values = {name: column.value[::step] for name, column in columns.verdicts.items()}
    found = []
    for one, other in itertools.combinations(values, 2):
        both = np.isfinite(values[one]) & np.isfinite(values[other])
        if np.count_nonzero(both) < FEWEST:
            continue
        a, b = _ranks(values[one][both]), _ranks(values[other][both])
        spread = float(np.linalg.norm(a) * np.linalg.norm(b))
        rho = float(a @ b) / spread if spread > 0 else 0.0
        if abs(rho) >= WEAKEST:
            found.append(Correlation(one=one, other=other, rho=rho, clips=int(np.count_nonzero(both))))
    return tuple(sorted(found, key=lambda pair: (-abs(pair.rho), pair.one, pair.other))[:PAIRS])


def _ranks(values: Array) -> Array:
    """Ranks less their mean, equal values at the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[inverse]
    return rank - rank.mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """Dead letters of one stage and code: how many, and a few with the command that reruns each."""

    stage: str
    code: str
    count: int
    shown: tuple[DeadLetter, ...]


def letter_groups(letters: Sequence[DeadLetter], shown: int = 5) -> tuple[LetterGroup, ...]:
    """By stage and code, the most frequent first; of each the first few by source."""
    kinds: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in sorted(letters, key=lambda letter: (letter.source, letter.clip_id)):
        kinds.setdefault((letter.stage, letter.code), []).append(letter)
    ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        LetterGroup(stage=stage, code=code, count=len(found), shown=tuple(found[:shown]))
        for (stage, code), found in ordered
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSize:
    """To be 95 % sure that at most `bound` of all clips are wrong: review `clips[k]` at random, find at most k wrong.

    An entry is None where even a review of all clips cannot say so.
    """

    bound: float
    clips: tuple[int | None, ...]


def review_sizes(population: int, bounds: Sequence[float] = (0.1, 0.05, 0.02, 0.01, 0.005)) -> tuple[ReviewSize, ...]:
    """For up to two wrong ones found, by the hypergeometric distribution: drawn without putting back."""
    return tuple(
        ReviewSize(bound=bound, clips=tuple(_review_size(population, bound, found) for found in range(3)))
        for bound in bounds
    )


def _review_size(population: int, bound: float, found: int, doubt: float = 0.05) -> int | None:
    """The smallest sample in which `found` or fewer wrong ones are unlikely if more than `bound` of all are wrong."""
    wrong = math.floor(bound * population) + 1
    if wrong > population or wrong <= found:
        return None
    from scipy.stats import hypergeom

    low, high = found + 1, population
    while low < high:
        middle = (low + high) // 2
        if hypergeom.cdf(found, population, wrong, middle) <= doubt:
            high = middle
        else:
            low = middle + 1
    return low
