"""What the report counts: the waterfall of outcomes, a histogram of every verdict, and which clips get a card."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wmkit.camera import Array
from wmkit.clip import rng_for
from wmkit.corpus import LedgerRow, SourceRow, Status

__all__ = ["NAMED_CODES", "Choice", "Histogram", "Step", "Totals", "choose_cards", "histogram", "totals", "waterfall"]

NAMED_CODES = 8  # a waterfall names this many codes and reasons of a kind and adds up the rest
BINS = 20
FENCE = 3.0  # values further than this many interquartile ranges from the quartiles go into an end bin of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the waterfall.

    kind   "total": `count` stand here; "gain" or "loss": `count` join or leave.
    after  how many are left after this line; a total has count == after.
    tone   which outcome it is about, for its colour: neutral, failed, no_trajectory or ok.
    """

    label: str
    detail: str
    count: int
    after: int
    kind: str
    tone: str = "neutral"


def waterfall(sources: Sequence[SourceRow], latest: Mapping[str, LedgerRow]) -> tuple[Step, ...]:
    """From the sources found to the clips with a trajectory; every line's `after` follows from the one before.

    `latest` is the last row of every clip, by clip id. A clip whose source was replaced since is still a result
    and joins on a line of its own; a source that no attempt has reached yet leaves on one.
    """
    named = {row.clip_id for row in sources}
    rows = list(latest.values())
    steps = [Step(label="Sources found", detail="", count=len(sources), after=len(sources), kind="total")]

    def add(kind: str, label: str, count: int, detail: str = "", tone: str = "neutral") -> None:
        after = steps[-1].after + (count if kind == "gain" else -count)
        steps.append(Step(label=label, detail=detail, count=count, after=after, kind=kind, tone=tone))

    def add_total(label: str, tone: str) -> None:
        after = steps[-1].after
        steps.append(Step(label=label, detail="", count=after, after=after, kind="total", tone=tone))

    replaced = len(latest.keys() - named)
    if replaced:
        add("gain", "Earlier clips", replaced, "their source was replaced or is not listed")
    add("loss", "Duplicates", len(sources) - len(named), "same content as another source")
    add_total("Distinct clips", "neutral")
    waiting = len(named - latest.keys())
    if waiting:
        add("loss", "Not annotated yet", waiting, "run the same command again")
    failed = Counter(f"{row.stage}/{row.code}" for row in rows if row.status is Status.FAILED)
    for detail, count in _named(failed):
        add("loss", "Failed", count, detail, tone="failed")
    without = Counter(row.code for row in rows if row.status is Status.NO_TRAJECTORY)
    for detail, count in _named(without):
        add("loss", "No trajectory", count, detail, tone="no_trajectory")
    add_total("With a trajectory", "ok")
    return tuple(steps)


def _named(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """(word, count), the most frequent first, the rest together; one line of zero when there are none."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if not ordered:
        return [("none", 0)]
    rest = ordered[NAMED_CODES:]
    if len(rest) < 2:
        return ordered
    return [*ordered[:NAMED_CODES], (f"{len(rest)} other codes", sum(count for _, count in rest))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The figures at the top of the page, over the last row of every clip.

    frames, posed_frames  of the clips that are ok or have no trajectory.
    metric                clips whose trajectory is in metres, out of `ok`.
    core_s                core-seconds by stage, as the ledger names them.
    """

    clips: int
    ok: int
    no_trajectory: int
    failed: int
    frames: int
    posed_frames: int
    metric: int
    core_s: dict[str, float]


def totals(rows: Collection[LedgerRow]) -> Totals:
    """Add up the rows."""
    status = Counter(row.status for row in rows)
    core_s: dict[str, float] = {}
    for row in rows:
        for stage, seconds in row.timings.items():
            core_s[stage] = core_s.get(stage, 0.0) + seconds
    return Totals(
        clips=len(rows),
        ok=status[Status.OK],
        no_trajectory=status[Status.NO_TRAJECTORY],
        failed=status[Status.FAILED],
        frames=sum(row.frames or 0 for row in rows),
        posed_frames=sum(row.posed_frames or 0 for row in rows),
        metric=sum(row.status is Status.OK and row.scale_value is not None for row in rows),
        core_s=core_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """All values of one verdict in one unit.

    edges     (B + 1,) increasing; empty when nothing was measured.
    counts    (B,) values in [edge, next edge), the last bin closed; below and above count the values outside, so
              that below + sum(counts) + above == measured.
    quantile  5th, 50th and 95th percentile of all measured values; None when there are none.
    reasons   why the others are UNMEASURED, with counts, the most frequent first; they add up to `unmeasured`.
    """

    name: str
    unit: str
    measured: int
    unmeasured: int
    edges: Array
    counts: tuple[int, ...]
    below: int
    above: int
    quantile: tuple[float, float, float] | None
    reasons: tuple[tuple[str, int], ...]


def histogram(name: str, unit: str, values: Array, reasons: Mapping[str, int]) -> Histogram:
    """Bin `values` (n,) between Tukey's far fences, so that one outlier does not flatten all the others."""
    edges = _edges(values)
    inside = values[(values >= edges[0]) & (values <= edges[-1])] if len(edges) else values
    counts = np.histogram(inside, bins=edges)[0].tolist() if len(edges) else []
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist() if len(values) else (0.0, 0.0, 0.0)
    return Histogram(
        name=name,
        unit=unit,
        measured=len(values),
        unmeasured=sum(reasons.values()),
        edges=edges,
        counts=tuple(counts),
        below=int((values < edges[0]).sum()) if len(edges) else 0,
        above=int((values > edges[-1]).sum()) if len(edges) else 0,
        quantile=(low, middle, high) if len(values) else None,
        reasons=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )


def _edges(values: Array) -> Array:
    if len(values) == 0:
        return np.empty(0)
    low, high = float(values.min()), float(values.max())
    if (values == np.round(values)).all() and high - low < BINS:
        return np.arange(low - 0.5, high + 1)  # counts: one bin a whole number
    first, third = np.percentile(values, (25, 75))
    if third > first:
        reach = FENCE * (third - first)
        inside = values[(values >= first - reach) & (values <= third + reach)]
        low, high = float(inside.min()), float(inside.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # one value, or rounding around it
        reach = 0.05 * abs(low) or 0.5
        low, high = low - reach, high + reach
    return np.linspace(low, high, BINS + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which clips get a card: `rows` in the order of the page; `note` says what was left out, "" when nothing."""

    rows: tuple[LedgerRow, ...]
    note: str = ""


def choose_cards(latest: Mapping[str, LedgerRow], limit: int, config_hash: str, near: Sequence[str] = ()) -> Choice:
    """All clips, failed and worst first; beyond `limit`: half failed, a quarter worst, a fifth near a threshold
    (the first of `near`, clip ids), the rest drawn by chance.

    Failures take turns by code, so that a rare one is not crowded out. Worst is: no trajectory, then the smallest
    share of posed frames, then the largest reprojection error. Places that a group does not fill go to the draw,
    and what the draw cannot fill goes back to the failures. The draw is a function of the config hash.
    """
    failed = _by_turns([row for row in latest.values() if row.status is Status.FAILED])
    done = sorted((row for row in latest.values() if row.done), key=_badness)
    if len(latest) <= limit:
        return Choice(rows=(*failed, *done))
    shown_failed = failed[: limit // 2]
    worst = done[: limit // 4]
    shown = {row.clip_id for row in worst}
    close = [latest[clip_id] for clip_id in near if clip_id not in shown][: limit // 5]
    shown |= {row.clip_id for row in close}
    rest = [row for row in done if row.clip_id not in shown]
    free = limit - len(shown_failed) - len(worst) - len(close)
    rng = rng_for(0, config_hash, "report.cards")
    drawn = sorted(rng.permutation(len(rest))[:free].tolist())
    shown_failed = failed[: len(shown_failed) + free - len(drawn)]
    note = (
        f"Cards of {len(shown_failed) + len(worst) + len(close) + len(drawn):,} of {len(latest):,} clips: "
        f"{len(shown_failed):,} of {len(failed):,} failed, the {len(worst):,} worst of {len(done):,} others, "
        + (f"{len(close):,} nearest to a threshold, " if close else "")
        + f"{len(drawn):,} drawn at random. Waterfall and histograms count all clips."
    )
    return Choice(rows=(*shown_failed, *worst, *close, *(rest[index] for index in drawn)), note=note)


def _by_turns(rows: list[LedgerRow]) -> list[LedgerRow]:
    turn: Counter[tuple[str, str]] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: (row.stage, row.code, row.source, row.clip_id)):
        ranked.append((turn[row.stage, row.code], row.stage, row.code, row.source, row.clip_id, row))
        turn[row.stage, row.code] += 1
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])]


def _badness(row: LedgerRow) -> tuple[float, float, str, str]:
    posed = (row.posed_frames or 0) / row.frames if row.frames else 0.0
    error_px = next((v.value for v in row.verdicts if v.name == "reprojection_px" and v.value is not None), 0.0)
    return (-1.0 if row.status is Status.NO_TRAJECTORY else posed, -error_px, row.source, row.clip_id)
