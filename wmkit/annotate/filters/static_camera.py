"""Static camera: how fast the picture as a whole moves, from grid points followed by pyramidal Lucas-Kanade."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import median_motion_px, thumbnails
from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts, FrameSource

__all__ = ["StaticCameraConfig"]

NAME, UNIT = "static_camera", "diagonal/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticCameraConfig:
    """Median motion of the picture's points as a share of its diagonal a second, averaged over frame pairs.

    Small is static: the grid gives every part of the picture one vote, so a moving subject does not carry the
    median. A pair in which fewer than 8 points survive the forward-backward check (a cut, black) has no say.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _StaticCamera()


class _StaticCamera:
    def measure(self, frames: FrameSource, facts: DecodeFacts) -> Verdict:
        import cv2

        speed, before = [], None
        for time_s, rgb in thumbnails(frames):
            now = (time_s, np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8))
            moved_px = None if before is None else median_motion_px(before[1], now[1])
            if before is not None and moved_px is not None:
                speed.append(moved_px / float(np.hypot(*now[1].shape)) / (time_s - before[0]))
            before = now
        if not speed:
            return Verdict.unmeasured(NAME, UNIT, "too_few_tracks")
        return Verdict.measured(NAME, float(np.mean(speed)), UNIT)
