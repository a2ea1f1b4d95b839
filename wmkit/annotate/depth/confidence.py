"""How far each pixel of plane-sweep stereo can be trusted: a logistic model on what the stereo saw of itself.

The probability that a pixel's depth is within 5 % of the truth, once the clip's scale is right and if its cameras are
(`p_good` speaks of those). Fitted by `benchmarks/fit_depth_confidence.py` on synthetic clips posed by the default
engine, which are not those of `wmkit bench depth`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.depth.stereo import Winner

__all__ = ["EVIDENCE", "VOTES", "WEIGHTS", "evidence", "log_odds", "probability"]

Image = NDArray[np.float32]
EVIDENCE = ("one", "log_unique", "agree", "disagree", "log_sigma", "photo", "jump", "jump_beside")
VOTES = ("confirmed", "contradicted")
WEIGHTS = (-0.483, 0.168, 0.0, -0.555, -0.644, 0.0, -0.994, -2.766, 1.17, -1.061)
CELL = np.ones((3, 3), dtype=np.uint8)


def evidence(found: Winner, checks: NDArray[np.int8], sigma: Image, inverse: NDArray) -> Image:
    """(h, w, 8) in the order of `EVIDENCE`.

    found    the winner; of it the log of uniqueness less 1, and the photo-cost.
    checks   (n, h, w) of each neighbour's left-right check: how many agree, how many do not.
    sigma    (h, w) relative standard deviation of depth by parallax; its log.
    inverse  (h, w) inverse depth; how far its log spreads over 3x3 px, at most 1, and the largest such beside it.
    """
    log_inverse = np.log(inverse).astype(np.float32)
    jump = np.minimum(cv2.dilate(log_inverse, CELL) - cv2.erode(log_inverse, CELL), np.float32(1))
    columns = (
        np.ones_like(jump),
        np.clip(np.log(np.maximum(found.unique - 1, 1e-2)), -4, 2),
        (checks > 0).sum(axis=0),
        (checks < 0).sum(axis=0),
        np.clip(np.log(sigma), -6, 0),
        found.photo,
        jump,
        cv2.dilate(jump, CELL),
    )
    return np.stack([column.astype(np.float32) for column in columns], axis=-1)


def log_odds(rows: Image) -> Image:
    """(h, w) log odds by `evidence` alone."""
    return rows @ np.array(WEIGHTS[: len(EVIDENCE)], dtype=np.float32)


def probability(odds: Image, votes: NDArray[np.int8]) -> Image:
    """(h, w) 0 to 1, of log odds and the sum of what other keyframes say; see `stereo.agreement`."""
    confirmed, contradicted = np.array(WEIGHTS[len(EVIDENCE) :], dtype=np.float32)
    odds = odds + confirmed * (votes > 0) + contradicted * (votes < 0)
    return (1 / (1 + np.exp(-np.clip(odds, -30, 30)))).astype(np.float32)
