"""Where points go from one frame to the next, roughly: dense flow of shrunken frames, after a common shift if need be.

Dense flow by itself loses steps longer than about a twentieth of the frame, as fast turns make them, and what it then
finds is wrong but looks like tracks. The shift comes from phase correlation (Kuglin & Hines 1975).

The field is smooth because points are then refined on the next frame *seen along it*: LK knows no deformation, and what
grows or leans from frame to frame drags its windows along, always the same way.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PIXEL_CENTRE", "CoarseFlow", "sample"]

Gray = NDArray[np.uint8]
Shift = tuple[int, int]
PIXEL_CENTRE = np.float32(0.5)  # OpenCV puts the centre of the first pixel at 0, we at 0.5
LONG_STEP = 1 / 40  # of the long side: shorter ones need no shift
OUTSIDE = -1.0  # grey value of what a frame does not show
REMAP_STEPS = 32  # of a px: OpenCV's INTER_TAB_SIZE
THINNED = 4  # the blurred flow needs only every fourth px
MEDIAN_PX = 5  # takes single wild pixels out before the blur


class CoarseFlow:
    """Smooth dense flow: DIS (Kroeger et al., ECCV 2016) on frames shrunken to a long side of `side_px`, then blurred.

    As a first guess it keeps more points of fast motion than deeper LK pyramids do, at less cost (LOG.md).
    """

    def __init__(self, width: int, height: int, side_px: int, blur_px: float) -> None:
        shrink = min(1.0, side_px / max(width, height))
        self.full = (width, height)
        # OpenCV's DIS ends the process where one side is below 32 px and the other above 64.
        least = 32 if max(width, height) * shrink > 64 else 16
        self.size = (max(least, round(width * shrink)), max(least, round(height * shrink)))
        self.ratio = np.array([self.size[0] / width, self.size[1] / height], np.float32)
        self.blur_px = blur_px
        self.window = cv2.createHanningWindow(self.size, cv2.CV_32F)
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_FAST)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self.grid = np.stack([x, y], axis=-1)
        self._last: tuple[Gray, Gray] | None = (
            None  # a frame that was `after`, for it is `before` next; and its small one
        )

    def field(self, before: Gray, after: Gray, xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w, 2) px: how far each pixel of `before` (h, w) moves to `after`.

        The points `xy` (n, 2), OpenCV's pixel coordinates, decide whether there is a common shift.
        """
        first = self._small(before) if self._last is None or self._last[0] is not before else self._last[1]
        second = self._small(after)
        self._last = (after, second)
        flow = self._dis(first, second)
        shift = self._shift(first, second)
        if np.hypot(*shift) >= LONG_STEP * max(self.size):
            shifted = self._dis(first, _moved(second, shift)) + np.array(shift, np.float32)
            where = (xy + PIXEL_CENTRE) * self.ratio - PIXEL_CENTRE
            flow = _fitter(first, second, where, (flow, shifted))
        smooth = [cv2.medianBlur(np.ascontiguousarray(flow[..., axis]), MEDIAN_PX) for axis in (0, 1)]
        few = (max(4, self.size[0] // THINNED), max(4, self.size[1] // THINNED))  # a wide blur is dear at full size
        flow = cv2.resize(np.stack(smooth, axis=-1), few, interpolation=cv2.INTER_AREA)
        flow = cv2.GaussianBlur(flow, (0, 0), self.blur_px / THINNED) / self.ratio
        return np.asarray(cv2.resize(flow, self.full, interpolation=cv2.INTER_LINEAR), np.float32)

    def along(self, gray: Gray, field: NDArray[np.float32], window_px: int) -> tuple[Gray, NDArray[np.float32]]:
        """(h, w) the frame `gray` as it looks from where `field` (h, w, 2) starts; the field that a window then sees.

        OpenCV samples at multiples of 1/32 px: over twelve frames that is a third of a px, always the same way, if the
        window's mean of what was really sampled does not take the place of what was asked for.
        """
        there = self.grid + field
        there *= REMAP_STEPS
        np.rint(there, out=there)
        there /= REMAP_STEPS
        seen = cv2.remap(gray, there, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return np.asarray(seen, np.uint8), np.asarray(cv2.blur(there - self.grid, (window_px, window_px)), np.float32)

    def _small(self, gray: Gray) -> Gray:
        return np.asarray(cv2.resize(gray, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def _shift(self, first: Gray, second: Gray) -> Shift:
        (x, y), _ = cv2.phaseCorrelate(first.astype(np.float32), second.astype(np.float32), self.window)
        return (round(x), round(y)) if np.isfinite((x, y)).all() else (0, 0)

    def _dis(self, first: Gray, second: Gray) -> NDArray[np.float32]:
        return np.asarray(self.dis.calc(first, second, None), np.float32)  # pyright: ignore[reportArgumentType, reportCallIssue]


def sample(field: NDArray[np.float32], xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 2) the field at points `xy` (n, 2), OpenCV's pixel coordinates."""
    return cv2.remap(field, xy[:, None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]  # pyright: ignore[reportArgumentType, reportCallIssue]


def _moved(gray: Gray, shift: Shift) -> Gray:
    """The frame with what is at `shift` at the origin."""
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    size = (gray.shape[1], gray.shape[0])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(gray, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _fitter(
    first: Gray, second: Gray, where: NDArray[np.float32], flows: tuple[NDArray[np.float32], ...]
) -> NDArray[np.float32]:
    """The dense flow after which the median point looks more like itself; the earlier of equals."""
    blurred = [cv2.GaussianBlur(gray, (0, 0), 1.5).astype(np.float32) for gray in (first, second)]
    here = _look(blurred[0], where)
    there = [_look(blurred[1], where + sample(flow, where)) for flow in flows]
    seen = np.logical_and.reduce([values != OUTSIDE for values in there])
    if not seen.any():
        return flows[0]
    return flows[int(np.argmin([np.median(np.abs(here - values)[seen]) for values in there]))]


def _look(gray: NDArray, where: NDArray[np.float32]) -> NDArray[np.float32]:
    outside = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": OUTSIDE}
    return cv2.remap(gray, where[:, None], None, cv2.INTER_LINEAR, **outside)[:, 0]  # pyright: ignore[reportArgumentType, reportCallIssue]
