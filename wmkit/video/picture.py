"""One frame as footage filters look at it: what several of them need is made once."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wmkit.video.frames import FrameSource
from wmkit.video.still import shrunk

__all__ = ["THUMBNAIL_SIDE_PX", "Picture", "pictures"]

THUMBNAIL_SIDE_PX = 256  # enough for camera motion and cuts; about 2 core-ms a 720p frame against 5 to decode it


class Picture:
    """An output frame, and smaller and grey versions of it on demand. None of them may be written to.

    index   of the frame in the clip.
    time_s  on the clip's own clock.
    rgb     (h, w, 3) uint8.
    """

    def __init__(self, index: int, time_s: float, rgb: NDArray[np.uint8]) -> None:
        self.index, self.time_s, self.rgb = index, time_s, rgb

    @cached_property
    def thumbnail(self) -> NDArray[np.uint8]:
        """(h', w', 3) uint8, area-filtered to a long side of at most 256 px."""
        return shrunk(self.rgb, THUMBNAIL_SIDE_PX)

    @cached_property
    def small_grey(self) -> NDArray[np.uint8]:
        """(h', w') uint8 luma of the thumbnail."""
        import cv2

        return np.asarray(cv2.cvtColor(self.thumbnail, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """(h, w) uint8 luma of the frame."""
        import cv2

        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def pictures(frames: FrameSource) -> Iterator[Picture]:
    """Every output frame in order, in one pass."""
    for window in frames.windows():
        for offset, (time_s, rgb) in enumerate(zip(window.time_s, window.rgb, strict=True)):
            yield Picture(window.start + offset, float(time_s), rgb)
