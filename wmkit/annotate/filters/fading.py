"""Details that come and go where they are: in a blend one shot's pale while the other's darken, in motion all stay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.filters.common import there_and_back
from wmkit.camera import Array

__all__ = ["contrast_change"]

Grey = NDArray[np.uint8]

CORNERS, APART_PX, QUALITY = 300, 5, 0.02
HALF_PX = 5  # patches of 11 px
BACK_PX, ALIKE = 1.0, 0.6  # tracked there and back; correlation of the patches
FEWEST = 12  # tracks, both ways together


def contrast_change(before: Grey, now: Grey) -> float | None:
    """How much the contrast of tracked details changes from one picture (h, w) to another, as a logarithm.

    Details that only move keep theirs, up to noise: 0.03 to 0.08. In the middle of a fade of eight frames it is log 0.8
    and 1.2. What all lose or gain together is told apart, since an exposure does so at once and a fade to black for
    several frames: the larger of the median deviation from the median, and of the median itself; of the half with more
    contrast, which noise moves less. None of fewer than 12 tracks (Lucas-Kanade, both ways).
    """
    ahead, back = _log_contrasts(before, now), _log_contrasts(now, before)
    logs = np.concatenate([ahead[0], -back[0]])
    if len(logs) < FEWEST:
        return None
    contrast = np.concatenate([ahead[1], back[1]])
    logs = logs[contrast >= np.median(contrast)]
    common = float(np.median(logs))
    return max(float(np.median(np.abs(logs - common))), abs(common))


def _log_contrasts(before: Grey, now: Grey) -> Array:
    """(2, n) of patches around corners of `before` and where they are in `now`: log ratio of contrast, mean power."""
    import cv2

    start = cv2.goodFeaturesToTrack(before, CORNERS, QUALITY, APART_PX, blockSize=APART_PX)
    if start is None:
        return np.zeros((2, 0))
    end, missed_px = there_and_back(before, now, np.asarray(start, np.float32), {"winSize": (15, 15), "maxLevel": 3})
    margin, (height, width) = HALF_PX + 1, now.shape
    kept = (missed_px < BACK_PX) & (end > margin).all(axis=1) & (end < (width - margin, height - margin)).all(axis=1)
    if not kept.any():
        return np.zeros((2, 0))
    first, second = _patches(before, start[kept, 0]), _patches(now, end[kept])
    power, other = (first**2).mean(axis=1), (second**2).mean(axis=1)
    mean_power = np.sqrt(power * other)
    alike = (first * second).mean(axis=1) > ALIKE * mean_power
    return np.stack([0.5 * np.log((other + 1) / (power + 1)), mean_power])[:, alike]  # a grey level squared is nothing


def _patches(picture: Grey, xy: NDArray[Any]) -> Array:
    """(n, 121) grey levels around points (n, 2) px, without their mean."""
    import cv2

    y, x = np.mgrid[-HALF_PX : HALF_PX + 1, -HALF_PX : HALF_PX + 1].reshape(2, 1, -1)
    columns, rows = (xy[:, :1] + x).astype(np.float32), (xy[:, 1:] + y).astype(np.float32)
    found = cv2.remap(picture.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found - found.mean(axis=1, keepdims=True)
