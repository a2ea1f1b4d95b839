"""Saturation: washed-out or garish colour, graded or synthetic footage."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["SaturationConfig"]

NAME = "saturation"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationConfig:
    """Mean HSV saturation of all frames, 0 to 255: the scale of SANA-WM's limits (App. B.3, Table 6)."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _Saturation()


class _Saturation:
    def __init__(self) -> None:
        self.means: list[float] = []

    def see(self, picture: Picture) -> None:
        import cv2

        self.means.append(float(cv2.cvtColor(picture.thumbnail, cv2.COLOR_RGB2HSV)[:, :, 1].mean()))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.means:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        return Verdict.measured(NAME, float(np.mean(self.means)), "")
