"""A robust line through points, and numbers smoothed over a clip: what lays a network's depth onto sparse points."""

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array

__all__ = ["MIN_POINTS", "blended", "robust_line", "smoothed"]

MIN_POINTS = 20
TUKEY = 4.685
ROUNDS = 20
MAX_SPREAD = 0.5  # of the residuals over the spread of y: beyond, the line explains nothing


def robust_line(x: Array, y: Array) -> Array | None:
    """(2,) slope and shift of y = slope * x + shift, by Tukey's biweight from the median of slopes; x and y (M,).

    A point another surface hides is off in x, where Huber's estimator would let it pull. None with fewer than
    MIN_POINTS, a slope that is not positive, or residuals (median absolute) of more than MAX_SPREAD of what y itself
    spreads.
    """
    line = _median_line(x, y) if len(x) >= MIN_POINTS else None
    if line is None:
        return None
    columns = np.stack([x, np.ones_like(x)], axis=1)
    spread = 0.0
    for _ in range(ROUNDS):
        off = np.abs(y - columns @ line)
        spread = 1.4826 * float(np.median(off))
        if spread <= np.finfo(np.float32).eps * float(np.abs(y).max()):
            break
        root = np.maximum(1 - (off / (TUKEY * spread)) ** 2, 0)  # of the weight
        line = np.asarray(np.linalg.lstsq(columns * root[:, None], y * root, rcond=None)[0], dtype=np.float64)
    own = 1.4826 * float(np.median(np.abs(y - np.median(y))))
    return line if line[0] > 0 and spread <= MAX_SPREAD * own else None


def _median_line(x: Array, y: Array) -> Array | None:
    """Median slope of pairs half the sorted points apart, and the median of what it leaves; None where x is one value.

    Siegel's kind of estimate at a fraction of its pairs: breaks when more than 29 in 100 points are off.
    """
    order = np.argsort(x, kind="stable")
    half = len(x) // 2
    low, high = order[:half], order[half : 2 * half]
    apart = x[high] > x[low]
    if not apart.any():
        return None
    slope = float(np.median((y[high] - y[low])[apart] / (x[high] - x[low])[apart]))
    return np.array([slope, float(np.median(y - slope * x))])


def smoothed(rows: Array, frame: NDArray[np.int64], momentum: float) -> Array:
    """(K, c) exponential moving average of rows (K, c), starting at the first; frames apart decay by their distance."""
    out = np.array(rows, dtype=np.float64)
    for place in range(1, len(out)):
        out[place] = blended(out[place - 1], rows[place], int(frame[place] - frame[place - 1]), momentum)
    return out


def blended(before: Array, now: Array, frames_apart: int, momentum: float) -> Array:
    """One step of the moving average, `frames_apart` after `before`."""
    keep = momentum**frames_apart
    return keep * before + (1 - keep) * now
