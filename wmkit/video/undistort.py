"""A lens's frames as a pinhole would have taken them: a FrameSource over another one, each picture resampled once more.

The resampling comes after turning and shrinking, since those are what the lens was estimated on and shrinking needs its
area filter; it is bicubic, which keeps the detail that bilinear weights blur between pixels (2 dB
nearer to the true pinhole picture on rendered worlds; Lanczos is 0.2 dB nearer still, and rings at edges).
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Intrinsics, Lens
from wmkit.clip import Clip, SourceView
from wmkit.errors import InputError
from wmkit.video.frames import WINDOW_FRAMES, ClipFile, DecodeFacts, FrameSource, FrameWindow

__all__ = ["UndistortedSource", "source_map"]

SLACK_PX = 1e-5  # a pinhole of equal rays may fall this far out of the source by rounding


class UndistortedSource:
    """`FrameSource` of the frames of `frames`, taken with `lens`, as `pinhole` would show them."""

    __slots__ = ("_frames", "_map", "_view")

    def __init__(self, frames: FrameSource, lens: Lens, pinhole: Intrinsics) -> None:
        """Raises InputError when sizes differ, the frames are undistorted already, or the pinhole sees beyond them."""
        if frames.view.lens is not None:
            raise InputError("undistort: expected frames as decoded, got frames that are undistorted already")
        self._view = frames.view.undistorted(lens, pinhole)
        self._frames, self._map = frames, source_map(lens, pinhole)

    @property
    def file(self) -> ClipFile:
        """The clip on disk, as of the frames below."""
        return self._frames.file

    @property
    def clip(self) -> Clip:
        """The clip's identity, as of the frames below."""
        return self._frames.clip

    @property
    def facts(self) -> DecodeFacts:
        """What the decoder found, as of the frames below."""
        return self._frames.facts

    @property
    def view(self) -> SourceView:
        """The view of the frames below, with the lens and the pinhole."""
        return self._view

    def windows(self, size: int = WINDOW_FRAMES) -> Iterator[FrameWindow]:
        """See `FrameSource.windows`: decodes and resamples again on every call."""
        for window in self._frames.windows(size):
            rgb = np.empty_like(window.rgb)
            for picture, row in zip(window.rgb, rgb, strict=True):
                # the border only ever feeds the outermost kernels: no pixel's own place lies beyond it
                row[:] = cv2.remap(picture, *self._map, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            rgb.setflags(write=False)
            yield FrameWindow(start=window.start, rgb=rgb, time_s=window.time_s)


def source_map(lens: Lens, pinhole: Intrinsics) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and y (h, w) of each pixel of the pinhole's picture in the lens's, in cv2's px (centre of pixel 0 at 0).

    Raises InputError when one lies outside of it: a delivered frame has no pixel that the camera did not see.
    """
    x = np.arange(pinhole.width, dtype=np.float64) + 0.5
    y = np.arange(pinhole.height, dtype=np.float64) + 0.5
    centres = np.stack(np.meshgrid(x, y), axis=-1)
    at = lens.from_pinhole(centres.reshape(-1, 2), pinhole).reshape(centres.shape) - 0.5
    last = np.array([lens.width - 1, lens.height - 1])
    if not ((at >= -SLACK_PX) & (at <= last + SLACK_PX)).all():  # NaN is neither
        raise InputError(
            "undistort: expected a pinhole that shows nothing but the source picture, got fx fy cx cy "
            f"{pinhole.row.round(3).tolist()}; use the lens's default_pinhole() or a longer focal length"
        )
    x_map, y_map = np.ascontiguousarray(np.moveaxis(at, -1, 0), dtype=np.float32)
    return x_map, y_map
