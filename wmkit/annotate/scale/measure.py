"""What cues that go by a measured length share: reading `M`, `M±SIGMA` and `M,SIGMA`, and how sure a position is."""

import math

import numpy as np

from wmkit.camera import Array, Trajectory
from wmkit.errors import InputError

__all__ = ["SHAPE_SIGMA", "distance_sigma_log", "parse_length"]

SHAPE_SIGMA = 0.005  # of a distance: a bundle's covariance knows noise, not a lens that is a little off
UNKNOWN_SHAPE_SIGMA = 0.02  # of a distance between two cameras of a trajectory that came without covariance


def parse_length(text: str, flag: str, default_sigma: float) -> tuple[float, float]:
    """Metres and relative sigma of "1.65", "1.65±0.05" or "1.65,0.05" (sigma in metres); InputError names `flag`."""
    value, separator, spread = text.replace("±", ",").replace("+-", ",").partition(",")
    try:
        metres = float(value)
        sigma = float(spread) / metres if separator and metres else default_sigma
    except ValueError:
        metres = sigma = math.nan
    if not (math.isfinite(metres) and metres > 0 and math.isfinite(sigma) and 0 <= sigma < 1):
        expected = "a positive number of metres, or one with its sigma (1.65±0.05)"
        raise InputError(f"{flag}: expected {expected}, got {text!r}")
    return metres, sigma


def distance_sigma_log(trajectory: Trajectory, first: int, second: int) -> float:
    """Sigma of the logarithm of the distance between two posed frames' centres, by the trajectory's own covariance.

    The two are taken as independent: of what they share, the gauge, neither has any.
    """
    apart = trajectory.position[second] - trajectory.position[first]
    distance = float(np.linalg.norm(apart))
    if trajectory.covariance is None:
        return UNKNOWN_SHAPE_SIGMA
    variance = sum(_variance_along(trajectory, index, apart / distance) for index in (first, second))
    return float(np.hypot(np.sqrt(variance) / distance, SHAPE_SIGMA))


def _variance_along(trajectory: Trajectory, index: int, direction: Array) -> float:
    """Variance of one centre along a world direction; the covariance's tangent is the camera's own axes."""
    assert trajectory.covariance is not None
    local = trajectory.rotation[index].T @ direction
    return float(local @ trajectory.covariance[index, 3:, 3:] @ local)
