"""Many votes, one scale: the inverse-variance mean of log(metres per unit), the log-normal maximum likelihood."""

import itertools
import math
from collections.abc import Sequence

from wmkit.camera import ScaleEstimate, ScaleVote

__all__ = ["fuse"]

SIGMAS_95 = 1.959963984540054  # half width of a normal's central 95 %
EXACT_SIGMA_LOG = 1e-6  # two votes of sigma 0 are compared as if each were good to a millionth


def fuse(votes: Sequence[ScaleVote]) -> ScaleEstimate | None:
    """One ScaleEstimate of votes taken as independent, or None when there are none.

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
