"""How honest probabilities are: reliability bins, expected calibration error, intervals of rates. numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, frozen_array
from wmkit.errors import InputError

__all__ = ["Bin", "Rate", "calibration_error", "calibration_error_interval", "rate", "reliability_bins"]

Z_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`hits` of `total` as a share with its Wilson 95 % interval (Wilson 1927); NaN of nothing."""

    hits: int
    total: int
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.total == 0:
            return "-"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] ({self.hits}/{self.total})"

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; null where there is nothing to count."""
        if self.total == 0:
            return {"hits": 0, "total": 0, "value": None, "low": None, "high": None}
        return {"hits": self.hits, "total": self.total, "value": self.value, "low": self.low, "high": self.high}


def rate(hits: int, total: int) -> Rate:
    """A share and its Wilson interval; InputError unless 0 <= hits <= total."""
    if not 0 <= hits <= total:
        raise InputError(f"rate: expected 0 <= hits <= total, got {hits} of {total}")
    if total == 0:
        return Rate(hits=0, total=0, value=float("nan"), low=float("nan"), high=float("nan"))
    share, weight = hits / total, Z_95**2 / total
    middle = (share + weight / 2) / (1 + weight)
    half = Z_95 * np.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return Rate(
        hits=hits, total=total, value=share, low=max(0.0, float(middle - half)), high=min(1.0, float(middle + half))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Cases whose probability lies in [low, high) (the last bin: <= high): how many, their mean, how many were true."""

    low: float
    high: float
    mean: float
    observed: Rate


def _checked(probability: Array, truth: Array) -> tuple[Array, Array]:
    probability = frozen_array(probability, np.float64, (None,), "probability")
    truth = frozen_array(truth, np.float64, (len(probability),), "truth")
    if not ((probability >= 0) & (probability <= 1)).all() or not np.isin(truth, (0, 1)).all():
        raise InputError("calibration: expected probabilities in [0, 1] and truths of 0 or 1")
    if len(probability) == 0:
        raise InputError("calibration: expected at least one case, got none")
    return probability, truth


def _slot(probability: Array, bins: int) -> NDArray[np.int64]:
    return np.minimum((probability * bins).astype(int), bins - 1)


def reliability_bins(probability: Array, truth: Array, bins: int = 10) -> tuple[Bin, ...]:
    """Equal-width bins of probability (N,) against what came true (N,), 0 or 1; empty bins are left out."""
    probability, truth = _checked(probability, truth)
    slot = _slot(probability, bins)
    return tuple(
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            mean=float(probability[slot == index].mean()),
            observed=rate(int(truth[slot == index].sum()), int((slot == index).sum())),
        )
        for index in range(bins)
        if (slot == index).any()
    )


def calibration_error(probability: Array, truth: Array, bins: int = 10) -> float:
    """Expected calibration error: mean over cases of |mean probability - observed share| of their bin.

    Naeini, Cooper & Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015. Bins of
    equal width. It is biased upwards: honest probabilities of n cases in b bins give about sqrt(b / n) / 4, not 0.
    """
    probability, truth = _checked(probability, truth)
    gap = np.bincount(_slot(probability, bins), weights=probability - truth, minlength=bins)
    return float(np.abs(gap).sum() / len(probability))


def calibration_error_interval(
    probability: Array, truth: Array, bins: int = 10, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """2.5 and 97.5 % points of the calibration error over `draws` bootstrap samples of the cases."""
    probability, truth = _checked(probability, truth)
    rng = np.random.default_rng(seed)
    errors = [
        calibration_error(probability[pick], truth[pick], bins)
        for pick in (rng.integers(len(truth), size=len(truth)) for _ in range(draws))
    ]
    low, high = np.percentile(errors, [2.5, 97.5])
    return float(low), float(high)
