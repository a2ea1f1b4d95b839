"""`wmkit bench scale`: do the cues' 95 % intervals hold the true scale 92 to 98 times in 100?

Each cue votes on random situations of known scale (`wmkit.bench.scale_draws`). A draw on which it has no vote counts
as unmeasured, not as covered. The fused row gives `fuse_votes` two cues or more of the same draw number.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.annotate.confidence.reliability import rate
from wmkit.annotate.scale import fuse_votes
from wmkit.annotate.scale.fuse import SIGMAS_95
from wmkit.bench.out import write_figures
from wmkit.bench.scale_draws import DRAWS
from wmkit.bench.table import aligned
from wmkit.camera import ScaleVote
from wmkit.clip import rng_for
from wmkit.errors import InputError

__all__ = ["Coverage", "ScaleBench", "ScaleBenchOptions", "bench_scale"]

LOW, HIGH = 0.92, 0.98
FUSED = "fused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleBenchOptions:
    """draws of each cue, the seed of all of them, the cues (() is every one), where the JSON is also written."""

    draws: int = 1000
    seed: int = 0
    cues: tuple[str, ...] = ()
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"--draws: expected a positive number, got {self.draws}")
        unknown = [cue for cue in self.cues if cue not in DRAWS]
        if unknown:
            raise InputError(f"--cue: expected one of {', '.join(DRAWS)}, got {', '.join(unknown)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often one cue's interval held the truth.

    votes of `draws` (for the fused row, of the draws with two votes or more); covered of them; contradicted: fused
    draws left without a scale. sigma: median of the votes' sigma_log; bias: mean log error; spread: root mean square
    of log error over sigma_log, 1 when sigma is right.
    """

    cue: str
    draws: int
    votes: int
    covered: int
    sigma: float
    bias: float
    spread: float
    contradicted: int = 0

    @property
    def rate(self) -> float:
        """Share of the votes whose 95 % interval holds the truth; 0 without a vote."""
        return self.covered / self.votes if self.votes else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The rate's 95 % interval, all of it without a vote."""
        found = rate(self.covered, self.votes)
        return (found.low, found.high) if self.votes else (0.0, 1.0)

    @property
    def passes(self) -> bool:
        """Whether the rate lies in the target's band."""
        return LOW <= self.rate <= HIGH

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the rate and its 95 % interval."""
        low, high = self.interval
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**own, "rate": self.rate, "rate_low": low, "rate_high": high, "passes": self.passes}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleBench:
    """Every row of one run."""

    rows: tuple[Coverage, ...]

    @property
    def exit_code(self) -> int:
        """1 when a rate lies outside the band."""
        return 0 if all(row.passes for row in self.rows) else 1

    def to_json(self) -> dict[str, Any]:
        """{"band": [low, high], "cues": [...]}"""
        return {"band": [LOW, HIGH], "cues": [row.to_json() for row in self.rows]}

    def lines(self) -> list[str]:
        """The table for people."""
        header = ("cue", "draws", "votes", "covered %", "95 % of it", "sigma %", "bias %", "spread", "contradict", "")
        rows: list[tuple[str, ...]] = [header]
        for row in self.rows:
            low, high = row.interval
            rows.append(
                (
                    row.cue,
                    str(row.draws),
                    str(row.votes),
                    f"{100 * row.rate:.1f}",
                    f"{100 * low:.1f}-{100 * high:.1f}",
                    f"{100 * row.sigma:.1f}",
                    f"{100 * row.bias:+.1f}",
                    f"{row.spread:.2f}",
                    str(row.contradicted) if row.cue == FUSED else "-",
                    "" if row.passes else "MISSED",
                )
            )
        return [*aligned(rows, left=1), f"target: each covered {100 * LOW:.0f} to {100 * HIGH:.0f} % of the time"]


def bench_scale(options: ScaleBenchOptions, progress: Callable[[str], None] | None = None) -> ScaleBench:
    """Draw, vote, count; the same options give the same figures. InputError when `out` cannot be written."""
    cues = options.cues or tuple(DRAWS)
    errors: dict[str, list[ScaleVote | None]] = {}
    for number, cue in enumerate(cues, start=1):
        if progress is not None:
            progress(f"[{number}/{len(cues)}] {cue}")
        errors[cue] = [_error_vote(cue, options.seed, index) for index in range(options.draws)]
    rows = [_coverage(cue, options.draws, [(v,) for v in votes if v is not None]) for cue, votes in errors.items()]
    if len(cues) > 1:
        rows.append(_fused(errors, options))
    bench = ScaleBench(rows=tuple(rows))
    write_figures(options.out, bench.to_json())
    return bench


def _error_vote(cue: str, seed: int, index: int) -> ScaleVote | None:
    """One draw's vote over the truth, so that 1 is right; None when the cue had none."""
    true, vote = DRAWS[cue](rng_for(seed, f"{index:08x}", f"bench.scale.{cue}"))
    if not isinstance(vote, ScaleVote):
        return None
    return ScaleVote(cue=cue, value=vote.value / true, sigma_log=vote.sigma_log)


def _fused(errors: dict[str, list[ScaleVote | None]], options: ScaleBenchOptions) -> Coverage:
    """Two cues or more of each draw number, as many and as good as it happens."""
    groups = []
    for index in range(options.draws):
        rng = rng_for(options.seed, f"{index:08x}", "bench.scale.fused")
        some = rng.permutation(list(errors))[: int(rng.integers(2, len(errors) + 1))]
        votes = tuple(vote for cue in some if (vote := errors[str(cue)][index]) is not None)
        if len(votes) >= 2:
            groups.append(votes)
    return _coverage(FUSED, options.draws, groups)


def _coverage(cue: str, draws: int, groups: Sequence[tuple[ScaleVote, ...]]) -> Coverage:
    estimates = [fuse_votes(votes).estimate for votes in groups]
    found = [estimate for estimate in estimates if estimate is not None]
    log_error = np.array([math.log(estimate.value) for estimate in found])
    sigma = np.array([math.log(estimate.high / estimate.low) / 2 / SIGMAS_95 for estimate in found])
    return Coverage(
        cue=cue,
        draws=draws,
        votes=len(found),
        covered=sum(estimate.low <= 1 <= estimate.high for estimate in found),
        sigma=float(np.median(sigma)) if found else 0.0,
        bias=float(log_error.mean()) if found else 0.0,
        spread=float(np.sqrt(np.mean((log_error / np.maximum(sigma, 1e-12)) ** 2))) if found else 0.0,
        contradicted=len(groups) - len(found),
    )
