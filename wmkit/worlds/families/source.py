"""A filmed case as the frames of a clip, in memory: what a pose backend is given, and nothing else."""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wmkit.clip import Clip, SourceView
from wmkit.video.frames import WINDOW_FRAMES, ClipFile, DecodeFacts, FrameWindow

__all__ = ["MemorySource"]


class MemorySource:
    """A FrameSource over frames (N, h, w, 3) uint8 at `fps`; its identity is the hash of their bytes."""

    def __init__(self, rgb: NDArray[np.uint8], fps: float) -> None:
        count, height, width = rgb.shape[:3]
        digest = hashlib.sha256(rgb.tobytes()).hexdigest()
        pts_s = np.arange(count) / fps
        self._rgb = rgb
        self.file = ClipFile(path="", name="memory", content_hash=digest, clip_id=digest[:32])
        self.clip = Clip(
            id=digest[:32], source="memory", span_s=(0.0, count / fps), width=width, height=height, fps=fps
        )
        self.view = SourceView(
            decoder="memory",
            decoded_width=width,
            decoded_height=height,
            rotation_deg=0,
            sample_aspect_ratio=1.0,
            width=width,
            height=height,
            pts_s=pts_s,
        )
        self.facts = DecodeFacts(
            decoder="memory",
            codec="none",
            pixel_format="rgb24",
            decoded_width=width,
            decoded_height=height,
            rotation_deg=0,
            sample_aspect_ratio=1.0,
            pts_s=pts_s,
            corrupt=np.zeros(count, dtype=np.bool_),
        )

    def windows(self, size: int = WINDOW_FRAMES) -> Iterator[FrameWindow]:
        """The frames in order, at most `size` at a time."""
        for start in range(0, len(self._rgb), size):
            part = slice(start, start + size)
            yield FrameWindow(start=start, rgb=self._rgb[part], time_s=self.view.time_s[part])
