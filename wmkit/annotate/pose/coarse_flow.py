"""Where points go from one frame to the next, roughly: dense flow of shrunken frames, after a common shift if need be.

Dense flow by itself loses steps longer than about a twentieth of the frame, as fast turns make them, and what it then
finds is wrong but looks like tracks. The shift comes from phase correlation (Kuglin & Hines 1975).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PIXEL_CENTRE", "CoarseFlow"]

Shift = tuple[int, int]
PIXEL_CENTRE = np.float32(0.5)  # OpenCV puts the centre of the first pixel at 0, we at 0.5
LONG_STEP = 1 / 40  # of the long side: shorter ones need no shift
OUTSIDE = -1.0  # grey value of what a frame does not show


class CoarseFlow:
    """DIS flow (Kroeger et al., ECCV 2016) on frames shrunken to a long side of `side_px`.

    As LK's first guess it keeps more points of fast motion than deeper LK pyramids do, at less cost (LOG.md).
    """

    def __init__(self, width: int, height: int, side_px: int) -> None:
        shrink = min(1.0, side_px / max(width, height))
        self.size = (max(16, round(width * shrink)), max(16, round(height * shrink)))
        self.ratio = np.array([self.size[0] / width, self.size[1] / height], np.float32)
        self.window = cv2.createHanningWindow(self.size, cv2.CV_32F)
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_FAST)

    def at(self, before: NDArray[np.uint8], after: NDArray[np.uint8], xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 2) px: how far the points `xy` (n, 2), OpenCV's pixel coordinates, of `before` (h, w) move to `after`."""
        first, second = (cv2.resize(gray, self.size, interpolation=cv2.INTER_AREA) for gray in (before, after))
        where = (xy + PIXEL_CENTRE) * self.ratio - PIXEL_CENTRE
        flow = self._sampled(first, second, where)
        shift = self._shift(first, second)
        if np.hypot(*shift) >= LONG_STEP * max(self.size):
            shifted = self._sampled(first, _moved(second, shift), where) + np.array(shift, np.float32)
            flow = _fitter(first, second, where, (flow, shifted))
        return flow / self.ratio

    def _shift(self, first: NDArray, second: NDArray) -> Shift:
        (x, y), _ = cv2.phaseCorrelate(first.astype(np.float32), second.astype(np.float32), self.window)
        return (round(x), round(y)) if np.isfinite((x, y)).all() else (0, 0)

    def _sampled(self, first: NDArray, second: NDArray, where: NDArray[np.float32]) -> NDArray[np.float32]:
        flow = self.dis.calc(first, second, None)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return cv2.remap(flow, where[:, None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]  # pyright: ignore[reportArgumentType, reportCallIssue]


def _moved(gray: NDArray, shift: Shift) -> NDArray:
    """The frame with what is at `shift` at the origin."""
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    size = (gray.shape[1], gray.shape[0])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(gray, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _fitter(
    first: NDArray, second: NDArray, where: NDArray[np.float32], flows: tuple[NDArray[np.float32], ...]
) -> NDArray[np.float32]:
    """The flow after which the median point looks more like itself; the earlier of equals."""
    blurred = [cv2.GaussianBlur(gray, (0, 0), 1.5).astype(np.float32) for gray in (first, second)]
    here = _look(blurred[0], where)
    there = [_look(blurred[1], where + flow) for flow in flows]
    seen = np.logical_and.reduce([values != OUTSIDE for values in there])
    if not seen.any():
        return flows[0]
    return flows[int(np.argmin([np.median(np.abs(here - values)[seen]) for values in there]))]


def _look(gray: NDArray, where: NDArray[np.float32]) -> NDArray[np.float32]:
    outside = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": OUTSIDE}
    return cv2.remap(gray, where[:, None], None, cv2.INTER_LINEAR, **outside)[:, 0]  # pyright: ignore[reportArgumentType, reportCallIssue]
