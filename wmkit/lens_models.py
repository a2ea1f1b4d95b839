"""COLMAP's radial lens models on the unit plane: rays of a pinhole to rays as the lens bends them, and back.

A model bends the distance t from the axis, t = r (tangent of the angle) or, fisheye, t = the angle in radians, into
g(t) = t (1 + k1 t² + k2 t⁴ + ...). It means something up to the fold, the smallest t with g'(t) = 0: beyond it the
picture would turn back on itself, so points there are NaN in both directions. Definitions: COLMAP's
`src/colmap/sensor/models.h`; OPENCV's tangential terms are Brown's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODELS", "LensModel", "distort", "undistort"]

Array = NDArray[np.float64]
NEGLIGIBLE = 1e-12  # a coefficient this small moves nothing, but would make the fold's polynomial ill-conditioned
NEWTON_STEPS = 60  # safeguarded by bisection: double precision needs 52 halvings at the very worst, 6 as a rule
CLOSE = 1e-9  # unit-plane distance at which a bent ray counts as hit: 1e-6 px at a focal length of 1000 px


@dataclass(frozen=True, slots=True, kw_only=True)
class LensModel:
    """How a model's parameters are laid out: focal lengths (1 or 2), cx, cy, radial terms, then p1 p2 if tangential."""

    focals: int
    radial: int
    tangential: bool = False
    fisheye: bool = False

    @property
    def count(self) -> int:
        """How many parameters the model has."""
        return self.focals + 2 + self.radial + 2 * self.tangential


MODELS = {
    "SIMPLE_RADIAL": LensModel(focals=1, radial=1),
    "RADIAL": LensModel(focals=1, radial=2),
    "OPENCV": LensModel(focals=2, radial=2, tangential=True),
    "SIMPLE_RADIAL_FISHEYE": LensModel(focals=1, radial=1, fisheye=True),
    "RADIAL_FISHEYE": LensModel(focals=1, radial=2, fisheye=True),
    "OPENCV_FISHEYE": LensModel(focals=2, radial=4, fisheye=True),
}


def distort(model: LensModel, coefficients: Array, ray: Array) -> Array:
    """Bent rays (K, 2) of pinhole rays x/z, y/z (K, 2); NaN beyond the fold."""
    radial, tangential = coefficients[: model.radial], coefficients[model.radial :]
    distance = np.hypot(ray[:, 0], ray[:, 1])
    t = np.arctan(distance) if model.fisheye else distance
    factor = np.divide(_bend(radial, t), distance, out=np.ones_like(distance), where=distance > 0)
    bent = ray * factor[:, None]
    good = t <= _fold(model, radial)
    if tangential.any():
        bent = bent + _tangential(tangential, ray)
        good &= np.linalg.det(_jacobian(radial, tangential, ray)) > 0
    bent[~good] = np.nan
    return bent


def undistort(model: LensModel, coefficients: Array, bent: Array) -> Array:
    """Pinhole rays (K, 2) whose bent rays are `bent` (K, 2); NaN where there is none short of the fold and of 90°."""
    radial, tangential = coefficients[: model.radial], coefficients[model.radial :]
    distance = np.hypot(bent[:, 0], bent[:, 1])
    t = _unbend(radial, distance, _fold(model, radial))
    with np.errstate(invalid="ignore"):
        reach = np.tan(t) if model.fisheye else t
    factor = np.divide(reach, distance, out=np.ones_like(distance), where=distance > 0)
    ray = bent * factor[:, None]
    return _undo_tangential(model, coefficients, bent, ray) if tangential.any() else ray


def _bend(radial: Array, t: Array) -> Array:
    """g(t)."""
    return np.asarray(t * np.polynomial.polynomial.polyval(t * t, np.array([1.0, *radial])), dtype=np.float64)


def _slope(radial: Array, t: Array) -> Array:
    """g'(t)."""
    odd = 2 * np.arange(len(radial) + 1) + 1
    return np.asarray(np.polynomial.polynomial.polyval(t * t, np.array([1.0, *radial]) * odd), dtype=np.float64)


def _fold(model: LensModel, radial: Array) -> float:
    """The largest t that means something: the smallest positive root of g', at most just short of 90° for a fisheye."""
    end = np.pi / 2 * (1 - 1e-9) if model.fisheye else np.inf
    slope = np.array([1.0, *radial]) * (2 * np.arange(len(radial) + 1) + 1)
    slope[np.abs(slope) < NEGLIGIBLE] = 0.0
    roots = np.roots(slope[::-1])
    squares = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return min(end, float(np.sqrt(squares.min()))) if len(squares) else end


def _unbend(radial: Array, bent: Array, fold: float) -> Array:
    """t in [0, fold] with g(t) = bent (K,): Newton's steps inside a bracket that halves when a step leaves it."""
    high = np.full_like(bent, fold) if np.isfinite(fold) else np.maximum(bent, 1e-3)
    if not np.isfinite(fold):  # g grows without end, though perhaps slower than t: widen until the root is inside
        for _ in range(NEWTON_STEPS):
            high = np.where(_bend(radial, high) < bent, 2 * high, high)
    reachable = bent <= _bend(radial, high)
    low, t = np.zeros_like(bent), np.minimum(bent, high)
    for _ in range(NEWTON_STEPS):
        excess = _bend(radial, t) - bent
        low, high = np.where(excess < 0, t, low), np.where(excess >= 0, t, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = t - excess / _slope(radial, t)
        t = np.where((step >= low) & (step <= high), step, (low + high) / 2)
    return np.where(reachable, t, np.nan)


def _tangential(p: Array, ray: Array) -> Array:
    x, y = ray[:, 0], ray[:, 1]
    square, cross = x * x + y * y, x * y
    return np.column_stack(
        [2 * p[0] * cross + p[1] * (square + 2 * x * x), 2 * p[1] * cross + p[0] * (square + 2 * y * y)]
    )


def _jacobian(radial: Array, p: Array, ray: Array) -> Array:
    """(K, 2, 2) derivative of the bent ray by the ray, of a perspective model with tangential terms."""
    x, y = ray[:, 0], ray[:, 1]
    square = x * x + y * y
    terms = np.array([1.0, *radial])
    factor = np.polynomial.polynomial.polyval(square, terms)
    growth = 2 * np.polynomial.polynomial.polyval(square, np.polynomial.polynomial.polyder(terms))  # d factor / d x / x
    cross = growth * x * y + 2 * p[0] * x + 2 * p[1] * y
    xx = factor + growth * x * x + 2 * p[0] * y + 6 * p[1] * x
    yy = factor + growth * y * y + 2 * p[1] * x + 6 * p[0] * y
    return np.stack([np.stack([xx, cross], axis=-1), np.stack([cross, yy], axis=-1)], axis=-2)


def _undo_tangential(model: LensModel, coefficients: Array, bent: Array, start: Array) -> Array:
    """Newton's method in two dimensions from the radial solution; where that has none, from just inside the fold."""
    radial, p = coefficients[: model.radial], coefficients[model.radial :]
    distance = np.maximum(np.hypot(bent[:, 0], bent[:, 1]), 1e-300)[:, None]
    ray = np.where(np.isfinite(start), start, bent / distance * min(0.99 * _fold(model, radial), 1e3))
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS // 2):
            residual = ray * np.polynomial.polynomial.polyval((ray**2).sum(1), np.array([1.0, *radial]))[:, None]
            residual = residual + _tangential(p, ray) - bent
            ((a, b), (_, d)) = np.moveaxis(_jacobian(radial, p, ray), 0, -1)
            determinant = a * d - b * b
            x, y = residual[:, 0], residual[:, 1]
            ray = ray - np.column_stack([d * x - b * y, a * y - b * x]) / determinant[:, None]
        again = distort(model, coefficients, np.where(np.isfinite(ray), ray, 0.0))
        hit = np.isfinite(ray).all(axis=1) & (np.abs(again - bent).max(axis=1) <= CLOSE)
    return np.where(hit[:, None], ray, np.nan)
