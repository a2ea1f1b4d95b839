"""What a vision-language model is shown and asked: the scene as it stands, since motion is the cameras' to tell."""

import numpy as np
from numpy.typing import NDArray

from wmkit.video.frames import FrameSource

__all__ = ["SCENE_PROMPT", "jpeg", "spread_frames"]

SCENE_PROMPT = (
    "These are frames of one video, in order. Describe the scene itself in one paragraph of 60 to 120 words: the "
    "place, the objects and where they are relative to each other, materials, colours, weather and light, style. "
    "Write as if of a place that stands still. Do not mention the camera, the viewer, the frames, or any movement or "
    "change of the view."
)


def spread_frames(frames: FrameSource, count: int) -> list[NDArray[np.uint8]]:
    """At most `count` frames (h, w, 3), spread evenly, the first and the last among them."""
    length = len(frames.view)
    wanted = set(np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist())
    return [
        np.array(rgb)
        for window in frames.windows()
        for offset, rgb in enumerate(window.rgb)
        if window.start + offset in wanted
    ]


def jpeg(rgb: NDArray[np.uint8], side_px: int, quality: int = 90) -> bytes:
    """A frame as JPEG, shrunk to a long side of at most `side_px`."""
    import cv2

    height, width = rgb.shape[:2]
    shrink = min(1.0, side_px / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    flags = (cv2.IMWRITE_JPEG_QUALITY, quality)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), flags)
    return data.tobytes()
