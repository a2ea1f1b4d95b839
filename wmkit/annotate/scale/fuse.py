"""Many votes, one scale: the inverse-variance mean of log(metres per unit), the log-normal maximum likelihood.

Cues that contradict one another are not averaged. Two votes contradict when they lie more than 3 of their joint
sigmas apart; the largest such distance is the clip's `scale_disagreement`, whatever becomes of the scale. With a
contradiction, the one largest group of votes without any, if more than half of them belong to it, is fused and the
others are outvoted, by name; without such a majority there is no scale.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from wmkit.camera import ScaleEstimate, ScaleVote

__all__ = ["CONTRADICTION", "Fusion", "fuse", "fuse_votes"]

SIGMAS_95 = 1.959963984540054  # half width of a normal's central 95 %
EXACT_SIGMA_LOG = 1e-6  # two votes of sigma 0 are compared as if each were good to a millionth
CONTRADICTION = 3.0  # joint sigmas


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What came of the votes.

    estimate      None without a vote, or when the votes contradict and no majority agrees.
    disagreement  largest |log ratio| of two votes in joint sigmas; None with fewer than two votes.
    outvoted      votes that a majority contradicts.
    problem       one line that names the cues which contradict, when there is no estimate for that reason; else "".
    """

    estimate: ScaleEstimate | None
    disagreement: float | None
    outvoted: tuple[ScaleVote, ...] = ()
    problem: str = ""


def fuse_votes(votes: Sequence[ScaleVote]) -> Fusion:
    """One scale of votes taken as independent, or the reason why there is none."""
    pairs = tuple(itertools.combinations(votes, 2))
    worst = max((_disagreement(a, b) for a, b in pairs), default=None)
    if worst is None or worst <= CONTRADICTION:
        return Fusion(estimate=fuse(votes), disagreement=worst)
    agreed = _majority(votes)
    if agreed is None:
        told = ", ".join(f"{vote.cue} {vote.value:.4g} (±{100 * vote.sigma_log:.2g} %)" for vote in votes)
        return Fusion(
            estimate=None,
            disagreement=worst,
            problem=f"cues_contradict: {told}, {worst:.1f} sigma apart; metres a unit",
        )
    outvoted = tuple(vote for vote in votes if not any(vote is kept for kept in agreed))
    return Fusion(estimate=fuse(agreed), disagreement=worst, outvoted=outvoted)


def fuse(votes: Sequence[ScaleVote]) -> ScaleEstimate | None:
    """One ScaleEstimate of votes that agree, taken as independent, or None when there are none.

    The interval is value · exp(±1.96 sigma). Votes with sigma 0 are exact: they alone make the value, with an
    interval of no width; where exact votes differ, their log mean and the span between them are given.
    `disagreement` is the largest |log ratio| of two votes over their joint sigma (at least 1e-6).
    """
    if not votes:
        return None
    exact = tuple(vote.value for vote in votes if vote.sigma_log == 0)
    value, low, high = _exact_mean(exact) if exact else _weighted_mean(votes)
    pairs = tuple(itertools.combinations(votes, 2))
    return ScaleEstimate(
        value=value,
        low=min(low, value),  # exp(log(v)) may miss v by one rounding
        high=max(high, value),
        votes=tuple(votes),
        disagreement=max(_disagreement(a, b) for a, b in pairs) if pairs else None,
    )


def _majority(votes: Sequence[ScaleVote]) -> tuple[ScaleVote, ...] | None:
    """The one largest group in which no two contradict, if it is more than half of all; None when two are as large."""
    for size in range(len(votes) - 1, len(votes) // 2, -1):
        groups = [
            group
            for group in itertools.combinations(votes, size)
            if all(_disagreement(a, b) <= CONTRADICTION for a, b in itertools.combinations(group, 2))
        ]
        if groups:
            return groups[0] if len(groups) == 1 else None
    return None


def _exact_mean(values: tuple[float, ...]) -> tuple[float, float, float]:
    if min(values) == max(values):
        return values[0], values[0], values[0]
    mean = math.exp(math.fsum(map(math.log, values)) / len(values))
    return mean, min(values), max(values)


def _weighted_mean(votes: Sequence[ScaleVote]) -> tuple[float, float, float]:
    finest = min(vote.sigma_log for vote in votes)
    weight = [(finest / vote.sigma_log) ** 2 for vote in votes]  # relative: no overflow at a tiny sigma
    total = math.fsum(weight)
    mean = math.fsum(w * math.log(vote.value) for w, vote in zip(weight, votes, strict=True)) / total
    reach = SIGMAS_95 * finest / math.sqrt(total)
    return math.exp(mean), math.exp(mean - reach), math.exp(mean + reach)


def _disagreement(a: ScaleVote, b: ScaleVote) -> float:
    joint = max(math.hypot(a.sigma_log, b.sigma_log), EXACT_SIGMA_LOG)
    return abs(math.log(a.value / b.value)) / joint
