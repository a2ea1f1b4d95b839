"""Which clips of a corpus become samples, and the one reason why each of the others does not. Reads the ledger only."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from wmkit.corpus import Corpus, SourceRow, Status
from wmkit.corpus.columns import LedgerColumns, VerdictColumn
from wmkit.dataset.scores import NO_SCORES, Scores
from wmkit.errors import InputError
from wmkit.thresholds import ThresholdRow, Thresholds, apply, check_filters, first_failing

__all__ = ["Candidate", "Dropped", "Plan", "PlanSummary", "count_reasons", "idle_words", "plan_clips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """One clip that does not become a sample: `reason` is stable, to count by; `detail` is for people."""

    clip_id: str
    source: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A clip that passed; `sources` are the files with its content, one of which must still be there."""

    clip_id: str
    name: str
    sources: tuple[SourceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every clip of the corpus once, by clip id: passed or dropped.

    `idle` are the thresholds on what no clip has, filters that never ran and scores that nobody brought: what they say
    of UNMEASURED decided for every clip.
    """

    passed: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
    idle: tuple[str, ...] = ()

    @property
    def clips(self) -> int:
        """Clips in the corpus."""
        return len(self.passed) + len(self.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What thresholds would do to a corpus: clips = passed + the sum of `dropped`, reason -> clips."""

    clips: int
    passed: int
    dropped: dict[str, int]
    idle: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> "PlanSummary":
        """Count a plan."""
        return cls(clips=plan.clips, passed=len(plan.passed), dropped=count_reasons(plan.dropped), idle=plan.idle)

    @property
    def exit_code(self) -> int:
        """1 when nothing would pass, else 0."""
        return 0 if self.passed else 1

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The counts for people, the most frequent reason first."""
        share = f" ({100 * self.passed / self.clips:.1f} %)" if self.clips else ""
        lines = [f"{self.passed} of {self.clips} clips pass{share}; nothing was written"]
        most = sorted(self.dropped.items(), key=lambda item: (-item[1], item[0]))
        lines += [f"{count:>9} {reason}" for reason, count in most]
        return [*lines, *idle_words(self.idle)]


def idle_words(idle: Sequence[str]) -> list[str]:
    """One line on thresholds that had nothing to judge, none where there are none."""
    if not idle:
        return []
    return [f"no clip has {', '.join(idle)}: these thresholds only said what UNMEASURED means"]


def count_reasons(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Reason -> number of clips, by reason."""
    return dict(sorted(Counter(drop.reason for drop in dropped).items()))


def plan_clips(
    store: Corpus, thresholds: Thresholds, scale: Literal["any", "metric"], scores: Scores = NO_SCORES
) -> Plan:
    """Judge every clip by its last ledger row.

    In this order, one reason a clip: unfinished, failed, other_config, no_trajectory, no_posed_frame, up_to_scale
    (with `scale` "metric"), the first threshold. Raises InputError when a threshold names a filter that never ran, or
    a score has the name of one that did.
    """
    columns, all_sources = store.columns(), store.sources()
    ids, names = columns.words("clip_id"), columns.words("source")
    verdicts = columns.verdicts
    twice = verdicts.keys() & scores.values.keys()
    if twice:
        raise InputError(f"--scores: expected names that no filter has, got {', '.join(sorted(twice))}")
    if verdicts:
        check_filters(thresholds, [*verdicts, *scores.values])
    verdicts = verdicts | scores.columns(ids, names)
    first = first_failing(thresholds, {name: column.value for name, column in verdicts.items()}, len(columns))
    fates = _fates(columns, store, scale)
    by_clip: dict[str, list[SourceRow]] = {}
    for source in all_sources:  # sorted by path
        by_clip.setdefault(source.clip_id, []).append(source)
    place = {clip_id: row for row, clip_id in enumerate(ids)}
    passed: list[Candidate] = []
    dropped: list[Dropped] = []
    for clip_id in sorted(place.keys() | by_clip.keys() | set(store.clip_ids())):
        row, sources = place.get(clip_id), tuple(by_clip.get(clip_id, ()))
        name = names[row] if row is not None else sources[0].name if sources else ""
        if row is None:
            why = ("unfinished", "not annotated yet; run wmkit annotate again")
        else:
            why = fates[row]
            if why is None and first[row] >= 0:
                why = _rejection(thresholds.rows[first[row]], verdicts, row)
        if why is None:
            passed.append(Candidate(clip_id=clip_id, name=name, sources=sources))
        else:
            dropped.append(Dropped(clip_id=clip_id, source=name, reason=why[0], detail=why[1]))
    idle = [row.filter for row in thresholds.rows if row.filter not in verdicts]
    return Plan(passed=tuple(passed), dropped=tuple(dropped), idle=tuple(idle))


def _fates(columns: LedgerColumns, store: Corpus, scale: Literal["any", "metric"]) -> list[tuple[str, str] | None]:
    """(reason, detail) to drop a clip whatever was measured of it, or None."""
    config_hash = store.config_hash
    own = store.config_hashes(config_hash)
    fates: list[tuple[str, str] | None] = []
    names = ("status", "stage", "code", "message", "config_hash", "clip_id")
    words = zip(*(columns.words(name) for name in names), strict=True)
    numbers = zip(*(columns.numbers(name) for name in ("frames", "posed_frames", "scale_value")), strict=True)
    for (status, stage, code, message, made_by, clip_id), (frames, posed, metres) in zip(words, numbers, strict=True):
        if status == Status.FAILED:
            fates.append((f"failed:{stage}/{code}", message))
        elif made_by not in own.get(clip_id, (config_hash,)):
            fates.append(("other_config", "annotated with another config than the corpus's; run wmkit annotate again"))
        elif status == Status.NO_TRAJECTORY:
            fates.append((f"no_trajectory:{code}", message))
        elif not posed > 0:
            fates.append(("no_posed_frame", f"none of {frames:.0f} frames has a pose"))
        elif scale == "metric" and np.isnan(metres):
            fates.append(("up_to_scale", "no scale cue voted, and --scale metric was asked for"))
        else:
            fates.append(None)
    return fates


def _rejection(row: ThresholdRow, verdicts: Mapping[str, VerdictColumn], clip: int) -> tuple[str, str]:
    column = verdicts.get(row.filter)
    verdict = None if column is None else column.verdict(clip)
    found = apply(Thresholds(rows=(row,)), [] if verdict is None else [verdict])
    if found is None:
        raise AssertionError(f"{row} rejects a clip by columns and not by its verdict {verdict}")
    return found.reason, found.detail
