"""Variable frame rate: speeds are right only where timestamps are, and many tools ignore them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["FrameRateJitterConfig"]

NAME = "frame_rate_jitter"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRateJitterConfig:
    """Standard deviation over mean of the intervals between source frames; 0 for a constant rate."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _FrameRateJitter()


class _FrameRateJitter:
    def see(self, picture: Picture) -> None:
        """The source's own timestamps tell; the pictures do not."""

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if len(facts.pts_s) < 3:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        step = np.diff(facts.pts_s)
        return Verdict.measured(NAME, float(step.std() / step.mean()), "")
