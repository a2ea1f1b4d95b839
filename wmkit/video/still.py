"""A single picture: made smaller, and as JPEG."""

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import InputError

__all__ = ["jpeg_bytes", "shrunk"]


def shrunk(picture: NDArray[np.uint8], side_px: int, least_px: int = 1) -> NDArray[np.uint8]:
    """A picture (h, w) or (h, w, 3), area-filtered to a long side of at most `side_px`, never enlarged.

    The short side of a very long picture stays `least_px` or more. A picture that is small enough is itself returned.
    """
    import cv2

    height, width = picture.shape[:2]
    shrink = side_px / max(height, width)
    if shrink >= 1:
        return picture
    size = (max(least_px, round(width * shrink)), max(least_px, round(height * shrink)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def jpeg_bytes(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """A picture (h, w, 3) as JPEG of `quality` 0 to 100; InputError for one that JPEG cannot hold, above 65,500 px."""
    import cv2

    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise InputError(f"picture: expected one that JPEG can hold, got {rgb.shape}")
    return data.tobytes()
