"""What a vision-language model is shown and asked: the scene as it stands, since motion is the cameras' to tell."""

import numpy as np
from numpy.typing import NDArray

from wmkit.spread import evenly_spread
from wmkit.video.frames import FrameSource

__all__ = ["SCENE_PROMPT", "spread_frames"]

SCENE_PROMPT = (
    "These are frames of one video, in order. Describe the scene itself in one paragraph of 60 to 120 words: the "
    "place, the objects and where they are relative to each other, materials, colours, weather and light, style. "
    "Write as if of a place that stands still. Do not mention the camera, the viewer, the frames, or any movement or "
    "change of the view."
)


def spread_frames(frames: FrameSource, count: int) -> list[NDArray[np.uint8]]:
    """At most `count` frames (h, w, 3), spread evenly, the first and the last among them."""
    wanted = set(evenly_spread(len(frames.view), count).tolist())
    return [
        np.array(rgb)
        for window in frames.windows()
        for offset, rgb in enumerate(window.rgb)
        if window.start + offset in wanted
    ]
