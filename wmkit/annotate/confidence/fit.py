"""Fit the calibration to cases whose truth is known: a robust ridge regression with signs, then a logistic map.

The score is regressed on how far off a case is (the logarithm of its error), which tells more than whether it is good:
one that is off by twice the limit and one that is off by a hundredth of it speak as well as one on the verge. Knots are
quantiles of the calibration cases. The logistic map (Platt 1999) is fitted to scores that each group of cases gets from
a model that never saw the group, so that it corrects what the model believes of itself, not what it remembers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.confidence.calibration import Calibration, Term, bent
from wmkit.camera import Array
from wmkit.errors import InputError

__all__ = ["ATE_LIMIT_PERCENT", "ROTATION_LIMIT_DEG", "TERMS", "Cases", "fit_calibration", "logistic_map"]

ROTATION_LIMIT_DEG, ATE_LIMIT_PERCENT = 1.5, 2.0
"""What makes a trajectory good; p_good is the probability of both."""

TERMS: tuple[Term, ...] = (
    Term(feature="reprojection_px", transform="log", better=-1, floor=0.02),
    Term(feature="reprojection_px_high", transform="log", better=-1, floor=0.02),
    Term(feature="inlier_ratio", transform="rest", better=1, floor=0.01),
    Term(feature="inlier_ratio_low", transform="rest", better=1, floor=0.01),
    Term(feature="track_error_px", transform="log", better=-1, floor=0.02),
    Term(feature="weakest_link", transform="log", better=1, floor=1.0),
    Term(feature="parallax_deg", transform="log", better=1, floor=0.1),
    Term(feature="depth_spread", transform="log", better=1, floor=0.01),
    Term(feature="fastest_turn_deg", transform="log", better=-1, floor=0.1),
    Term(feature="posed_share", transform="plain", better=1, floor=0.0),
    Term(feature="path_depth", transform="log", better=1, floor=0.01),
    Term(feature="track_length", transform="log", better=1, floor=0.1),
    Term(feature="points_per_frame", transform="log", better=1, floor=1.0),
    Term(feature="covariance_rotation_deg", transform="log", better=-1, floor=1e-3),
    Term(feature="covariance_position", transform="log", better=-1, floor=1e-5),
    Term(feature="disagreement_rotation_deg", transform="log", better=-1, floor=1e-2),
    Term(feature="disagreement_position", transform="log", better=-1, floor=1e-4),
    Term(feature="disagreement_rotation_deg_high", transform="log", better=-1, floor=1e-2),
    Term(feature="disagreement_position_high", transform="log", better=-1, floor=1e-4),
    Term(feature="disagreement_focal", transform="log", better=-1, floor=1e-3),
    Term(feature="second_posed_share", transform="plain", better=1, floor=0.0),
    Term(feature="disjoint", transform="plain", better=1, floor=0.0),
    Term(feature="focal_sigma_log", transform="log", better=-1, floor=1e-4),
    Term(feature="focal_share", transform="off_one", better=-1, floor=0.0),
)
"""What may be read. A term whose feature no calibration case has, or that is the same for all, is left out of a fit."""

QUANTILES = (0.02, 0.5, 0.98)
RIDGE = 3.0  # weight of 1/2 |w|^2, features in units of their spread, against the sum over cases: mild for thousands
WORTH = (0.08, 4.5)  # errors, of the limit, between which it matters by how much a case is better or worse
WIDTH = 0.5  # of the logarithm: from there on the loss grows with the residual, not with its square
KNOTS = 49  # of the map, over the scores that it was fitted to; p is flat beyond
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cases:
    """N trajectories with their evidence and how far off each was.

    features  name to (N,) float64, NaN where missing.
    error     (N,) error over its limit, the larger of rotation's and ATE's; inf where neither could be told.
    group     (N,) what must not be on both sides of a fold: the motion family or the real sequence.
    """

    features: Mapping[str, Array]
    error: Array
    group: NDArray[np.str_]

    @property
    def good(self) -> NDArray[np.bool_]:
        """(N,) within both limits."""
        return self.error < 1

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> "Cases":
        """The posed rows of `wmkit bench worlds` that carry evidence; InputError when there are none."""
        kept = [row for row in rows if row["outcome"] == "posed" and row.get("features")]
        if not kept:
            raise InputError("calibration: expected rows of posed cases with features, got none")
        names = [term.feature for term in TERMS]
        table = {name: np.array([_number(row["features"].get(name)) for row in kept]) for name in names}
        error = np.array([_error(row) for row in kept])
        return cls(features=table, error=error, group=np.array([row["family"] for row in kept]))

    def __len__(self) -> int:
        return len(self.error)

    def pick(self, mask: NDArray[np.bool_]) -> "Cases":
        """The cases of a mask (N,)."""
        table = {name: column[mask] for name, column in self.features.items()}
        return Cases(features=table, error=self.error[mask], group=self.group[mask])

    def probability(self, calibration: Calibration) -> Array:
        """(N,) p_good of every case."""
        return np.interp(_scores(self, calibration.terms, calibration.intercept), calibration.scores, calibration.p)


def fit_calibration(cases: Cases, *, backend: str, engine: str, fitted_on: Mapping[str, Any]) -> Calibration:
    """Fit terms, then the map to a probability from scores by models that did not see a case's group."""
    if cases.good.all() or not cases.good.any():
        raise InputError("calibration: expected both good and bad cases; run more seeds")
    terms = _knotted(cases)
    unseen = np.full(len(cases), np.nan)
    groups = np.unique(cases.group)
    for fold in range(min(FOLDS, len(groups))):
        held = np.isin(cases.group, groups[fold::FOLDS])
        rest = cases.pick(~held)
        if rest.good.all() or not rest.good.any():
            continue
        fitted, intercept = _weighted(rest, terms)
        unseen[held] = _scores(cases.pick(held), fitted, intercept)
    known = np.isfinite(unseen)
    if not known.any():
        raise InputError("calibration: expected cases of more than one family or sequence")
    scores, p = logistic_map(unseen[known], cases.good[known])
    fitted, intercept = _weighted(cases, terms)
    return Calibration(
        backend=backend,
        engine=engine,
        intercept=intercept,
        terms=fitted,
        scores=tuple(scores.tolist()),
        p=tuple(p.tolist()),
        fitted_on=fitted_on,
    )


def logistic_map(score: Array, good: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Knots (scores, p) of the logistic curve that makes `good` (N,) most likely given `score` (N,).

    The aims are Platt's, (good + 1) / (good + 2) and 1 / (bad + 2), so that no finite number of cases gives certainty.
    A score that says nothing, or the opposite, gets a curve that hardly rises.
    """
    from scipy.optimize import minimize

    hits = int(good.sum())
    aim = np.where(good, (hits + 1) / (hits + 2), 1 / (len(good) - hits + 2))

    def loss(unknown: Array) -> tuple[float, Array]:
        logit = unknown[0] + unknown[1] * score
        off = 1 / (1 + np.exp(-np.clip(logit, -50, 50))) - aim
        return float((np.logaddexp(0, logit) - aim * logit).sum()), np.array([off.sum(), off @ score])

    found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (1e-3, None)])
    knots = np.linspace(score.min(), score.max(), KNOTS)
    return knots, 1 / (1 + np.exp(-(found.x[0] + found.x[1] * knots)))


def _error(row: Mapping[str, Any]) -> float:
    """The larger error over its limit of a row of `wmkit bench worlds`."""
    if row["rotation_deg"] is None or row["ate_percent"] is None:
        return float("inf")
    return max(row["rotation_deg"] / ROTATION_LIMIT_DEG, row["ate_percent"] / ATE_LIMIT_PERCENT)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _knotted(cases: Cases) -> tuple[Term, ...]:
    """The terms that can be read, with knots at the cases' quantiles."""
    terms = []
    for term in TERMS:
        x = bent(term, cases.features[term.feature])
        x = x[np.isfinite(x)]
        knots = np.unique(np.quantile(x, QUANTILES).round(9)) if len(x) else np.zeros(0)
        if len(knots) >= 2:
            terms.append(replace(term, knots=tuple(knots.tolist()), weights=(0.0,) * (len(knots) - 1)))
    return tuple(terms)


def _design(cases: Cases, terms: tuple[Term, ...]) -> tuple[Array, Array]:
    """Columns (N, D): every term's spans in units of their width, then its "missing"; and each column's unit (D,)."""
    columns, units = [], []
    for term in terms:
        reached, missing = term.basis(cases.features[term.feature])
        width = np.diff(term.knots)
        columns += [reached / width, missing[:, None].astype(np.float64)]
        units += [*width.tolist(), 1.0]
    return np.concatenate(columns, axis=1), np.array(units)


def _weighted(cases: Cases, terms: tuple[Term, ...]) -> tuple[tuple[Term, ...], float]:
    """Terms with the weights, none negative, and the intercept whose score is nearest to minus the log error.

    Nearest by a pseudo-Huber loss, under the ridge.
    """
    from scipy.optimize import minimize

    design, units = _design(cases, terms)
    aim = -np.log(np.clip(cases.error, *WORTH))

    def loss(unknown: Array) -> tuple[float, Array]:
        residual = (design @ unknown[1:] + unknown[0] - aim) / WIDTH
        size = np.sqrt(1 + residual**2)
        pull = residual / size / WIDTH
        value = (size - 1).sum() + RIDGE / 2 * float(unknown[1:] @ unknown[1:])
        return value, np.concatenate([[pull.sum()], design.T @ pull + RIDGE * unknown[1:]])

    start = np.zeros(design.shape[1] + 1)
    bounds = [(None, None)] + [(0.0, None)] * design.shape[1]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    weights = found.x[1:] / units
    fitted, at = [], 0
    for term in terms:
        spans = len(term.knots) - 1
        part, missing = weights[at : at + spans], float(weights[at + spans])
        fitted.append(replace(term, weights=tuple(part.tolist()), missing=missing))
        at += spans + 1
    return tuple(fitted), float(found.x[0])


def _scores(cases: Cases, terms: tuple[Term, ...], intercept: float) -> Array:
    total = np.full(len(cases), intercept)
    for term in terms:
        reached, missing = term.basis(cases.features[term.feature])
        total += reached @ np.array(term.weights) + missing * term.missing
    return total
