"""Which clips of a corpus become samples, and the one reason why each of the others does not. Reads the ledger only."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from wmkit.corpus import Corpus, LedgerRow, SourceRow, Status
from wmkit.thresholds import Thresholds, apply, check_filters

__all__ = ["Candidate", "Dropped", "Plan", "count_reasons", "plan_clips"]


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
    """Every clip of the corpus once, by clip id: passed or dropped."""

    passed: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]

    @property
    def clips(self) -> int:
        """Clips in the corpus."""
        return len(self.passed) + len(self.dropped)


def count_reasons(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Reason -> number of clips, by reason."""
    return dict(sorted(Counter(drop.reason for drop in dropped).items()))


def plan_clips(store: Corpus, thresholds: Thresholds, scale: Literal["any", "metric"]) -> Plan:
    """Judge every clip by its last ledger row.

    In this order, one reason a clip: unfinished, failed, other_config, no_trajectory, no_posed_frame, up_to_scale
    (with `scale` "metric"), the first threshold. Raises InputError when a threshold names a filter that never ran.
    """
    latest, config_hash = store.latest(), store.config_hash
    check = [verdict.name for row in latest.values() for verdict in row.verdicts]
    if check:
        check_filters(thresholds, check)
    by_clip: dict[str, list[SourceRow]] = {}
    for source in store.sources():  # sorted by path
        by_clip.setdefault(source.clip_id, []).append(source)
    passed: list[Candidate] = []
    dropped: list[Dropped] = []
    for clip_id in sorted(latest.keys() | by_clip.keys() | set(store.clip_ids())):
        row, sources = latest.get(clip_id), tuple(by_clip.get(clip_id, ()))
        name = row.source if row else sources[0].name if sources else ""
        verdict = _reason(row, config_hash, thresholds, scale)
        if verdict is None:
            passed.append(Candidate(clip_id=clip_id, name=name, sources=sources))
        else:
            dropped.append(Dropped(clip_id=clip_id, source=name, reason=verdict[0], detail=verdict[1]))
    return Plan(passed=tuple(passed), dropped=tuple(dropped))


def _reason(
    row: LedgerRow | None, config_hash: str, thresholds: Thresholds, scale: Literal["any", "metric"]
) -> tuple[str, str] | None:
    """(reason, detail) to drop a clip, or None."""
    if row is None:
        return "unfinished", "not annotated yet; run wmkit annotate again"
    if row.status is Status.FAILED:
        return f"failed:{row.stage}/{row.code}", row.message
    if row.config_hash != config_hash:
        return "other_config", "annotated with another config than the corpus's; run wmkit annotate again"
    if row.status is Status.NO_TRAJECTORY:
        return f"no_trajectory:{row.code}", row.message
    if not row.posed_frames:
        return "no_posed_frame", f"none of {row.frames} frames has a pose"
    if scale == "metric" and row.scale_value is None:
        return "up_to_scale", "no scale cue voted, and --scale metric was asked for"
    rejection = apply(thresholds, row.verdicts)
    return None if rejection is None else (rejection.reason, rejection.detail)
