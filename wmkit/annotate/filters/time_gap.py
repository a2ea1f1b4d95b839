"""Time gaps: frames that are missing make the camera jump."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["TimeGapConfig"]

NAME = "time_gap"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeGapConfig:
    """Longest interval between two source frames, over the median interval; 1 in footage without gaps."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _TimeGap()


class _TimeGap:
    def see(self, picture: Picture) -> None:
        """The source's own timestamps tell; the pictures do not."""

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if len(facts.pts_s) < 3:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        step = np.diff(facts.pts_s)
        return Verdict.measured(NAME, float(step.max() / np.median(step)), "")
