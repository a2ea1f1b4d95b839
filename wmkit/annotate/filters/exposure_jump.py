"""Exposure jumps: a step in brightness breaks brightness constancy, on which trackers stand."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["ExposureJumpConfig"]

NAME, UNIT = "exposure_jump", "stops"
DARK, BRIGHT, GAMMA = 16, 240, 2.2
SIDE_PX = 32
LEAST = 0.1  # share of the picture that must be neither black nor burnt out


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureJumpConfig:
    """Largest step in exposure from one frame to the next, in stops: median ratio of the blurred pictures, gamma 2.2.

    Parts that are black or burnt out in either have no say; a hard cut counts too.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _ExposureJump()


class _ExposureJump:
    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.step: list[float] = []

    def see(self, picture: Picture) -> None:
        import cv2

        height, width = picture.small_grey.shape
        size = (min(SIDE_PX, width), min(SIDE_PX, height))
        now = cv2.resize(picture.small_grey, size, interpolation=cv2.INTER_AREA).astype(np.float64)
        before, self.before = self.before, now
        if before is None:
            return
        seen = (np.minimum(before, now) > DARK) & (np.maximum(before, now) < BRIGHT)
        if seen.mean() >= LEAST:
            self.step.append(GAMMA * abs(float(np.median(np.log2(now[seen] / before[seen])))))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.step:
            return Verdict.unmeasured(NAME, UNIT, "too_dark_or_too_bright")
        return Verdict.measured(NAME, max(self.step), UNIT)
