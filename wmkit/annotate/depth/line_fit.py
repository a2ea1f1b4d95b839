"""A robust line through points, and numbers smoothed over a clip: what lays a network's depth onto sparse points."""

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array

__all__ = ["MIN_POINTS", "blended", "robust_line", "smoothed"]

MIN_POINTS = 20
HUBER = 1.345
ROUNDS = 20
MAX_SPREAD = 0.5  # of the residuals over the spread of y: beyond, the line explains nothing


def robust_line(x: Array, y: Array) -> Array | None:
    """(2,) slope and shift of y = slope * x + shift by Huber's M-estimator; x and y (M,).

    None with fewer than MIN_POINTS, a slope that is not positive, or residuals (median absolute) of more than
    MAX_SPREAD of what y itself spreads; a y of one value is explained by any x of one value.
    """
    if len(x) < MIN_POINTS:
        return None
    columns, weight = np.stack([x, np.ones_like(x)], axis=1), np.ones_like(y)
    line, spread = np.zeros(2), 0.0
    for _ in range(ROUNDS):
        root = np.sqrt(weight)
        line = np.asarray(np.linalg.lstsq(columns * root[:, None], y * root, rcond=None)[0], dtype=np.float64)
        off = np.abs(y - columns @ line)
        spread = 1.4826 * float(np.median(off))
        if spread == 0:
            break
        weight = np.minimum(1, HUBER * spread / np.maximum(off, 1e-300))
    own = 1.4826 * float(np.median(np.abs(y - np.median(y))))
    return line if line[0] > 0 and spread <= MAX_SPREAD * own else None


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
