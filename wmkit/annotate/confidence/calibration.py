"""The calibrated model behind p_good: a monotone additive score of the evidence, then a logistic map.

Every term reads one feature of `PoseQuality.features`, bends it (mostly by a logarithm) so that more is better, and
adds a piecewise linear, never falling function of it, flat beyond the outermost knots: nothing is extrapolated. So
p_good can only fall when the reprojection error, a covariance or a disagreement grows, all else equal.

A feature that is NaN is not filled in: its term has a value of its own for "missing", fitted like the rest. Where the
calibration cases never missed it, a missing feature counts as its worst value.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.errors import ConfigError, InputError

__all__ = ["SHIPPED", "TRANSFORMS", "Calibration", "Term", "bent", "read_calibration"]

SHIPPED = Path(__file__).with_name("p_good.json")
TRANSFORMS = ("log", "rest", "plain", "off_one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One feature's part in the score.

    feature    its name.
    transform  log: ln(x + floor);  rest: -ln(1 - x + floor), for shares near 1;  plain: x;  off_one: |ln x|.
    better     +1 when more of the feature is better, -1 when less is.
    floor      keeps logarithms finite; below it differences stop to matter.
    knots      (K,) of the bent feature, increasing; the term is flat outside.
    weights    (K - 1,) >= 0: slope between neighbouring knots.
    missing    what a NaN adds to the score; 0 is the worst value's.
    """

    feature: str
    transform: str
    better: int
    floor: float
    knots: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    missing: float = 0.0

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS or self.better not in (-1, 1) or self.floor < 0:
            raise InputError(f"calibration term {self.feature}: expected a known transform, +1 or -1, and floor >= 0")
        if self.knots and not (np.diff(self.knots) > 0).all():
            raise InputError(f"calibration term {self.feature}: expected increasing knots, got {self.knots}")
        if len(self.weights) != max(0, len(self.knots) - 1) or min(self.weights, default=0.0) < 0:
            raise InputError(f"calibration term {self.feature}: expected a weight >= 0 between neighbouring knots")

    def basis(self, value: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Of feature values (N,): how far each is into every span (N, K - 1), 0 where missing; missing (N,) bool."""
        x, knots = bent(self, value), np.array(self.knots)
        missing = np.isnan(x)
        low, high = knots[:-1], knots[1:]
        reached = np.clip(np.where(missing, low[0], x)[:, None], low, high) - low
        reached[missing] = 0.0
        return reached, missing

    def contribution(self, value: float) -> float:
        """What one feature value adds to the score."""
        reached, missing = self.basis(np.array([value]))
        return self.missing if missing[0] else float(reached[0] @ np.array(self.weights))


def bent(term: Term, value: Array) -> Array:
    """Feature values (N,) on the term's own scale, where more is better; NaN stays NaN."""
    value = np.asarray(value, dtype=np.float64)
    if term.transform == "log":
        x = np.log(np.maximum(value, 0.0) + term.floor)
    elif term.transform == "rest":
        x = -np.log(np.maximum(1.0 - value, 0.0) + term.floor)
    elif term.transform == "off_one":
        x = np.abs(np.log(np.maximum(value, 1e-9)))
    else:
        x = value
    return term.better * x


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """score = intercept + sum of the terms; p_good = the map of the score.

    backend      name of the pose backend whose evidence it was fitted to.
    engine       hash of that backend's settings and code, as `wmkit bench worlds` writes it into its rows.
    scores, p    (M,) knots of the map, both never falling; linear between them, constant outside.
    fitted_on    what it was fitted on: cases, families, seeds; for people.
    """

    backend: str
    engine: str
    intercept: float
    terms: tuple[Term, ...]
    scores: tuple[float, ...]
    p: tuple[float, ...]
    fitted_on: Mapping[str, Any]

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.p) or not self.scores:
            raise InputError("calibration: expected as many probabilities as scores, at least one")
        if not (np.diff(self.scores) > 0).all() or not (np.diff(self.p) >= 0).all():
            raise InputError("calibration: expected increasing scores and probabilities that never fall")
        if not 0 <= self.p[0] <= self.p[-1] <= 1:
            raise InputError("calibration: expected probabilities in [0, 1]")

    def score(self, features: Mapping[str, float]) -> float:
        """The additive score; a feature that is not given counts as missing."""
        return self.intercept + sum(term.contribution(features.get(term.feature, math.nan)) for term in self.terms)

    def probability(self, features: Mapping[str, float]) -> float:
        """p_good of a clip's features."""
        return float(np.interp(self.score(features), self.scores, self.p))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "backend": self.backend,
            "engine": self.engine,
            "intercept": self.intercept,
            "terms": [
                {
                    "feature": term.feature,
                    "transform": term.transform,
                    "better": term.better,
                    "floor": term.floor,
                    "knots": list(term.knots),
                    "weights": list(term.weights),
                    "missing": term.missing,
                }
                for term in self.terms
            ],
            "scores": list(self.scores),
            "p": list(self.p),
            "fitted_on": dict(self.fitted_on),
        }


def read_calibration(path: Path = SHIPPED) -> tuple[Calibration, str] | None:
    """The calibration in a JSON file and the sha256 of its bytes; None when there is no such file.

    Raises ConfigError when the file is not a calibration.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        record = json.loads(data)
        terms = tuple(
            Term(**{**term, "knots": tuple(term["knots"]), "weights": tuple(term["weights"])})
            for term in record["terms"]
        )
        plain = {**record, "terms": terms, "scores": tuple(record["scores"]), "p": tuple(record["p"])}
        return Calibration(**plain), hashlib.sha256(data).hexdigest()
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise ConfigError(
            f"{path}: expected a calibration, got {error}; write it again with benchmarks/calibrate_p_good.py"
        ) from None
