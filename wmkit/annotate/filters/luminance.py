"""Luminance: footage too dark or too bright to learn from."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["LuminanceConfig"]

NAME = "luminance"


@dataclass(frozen=True, slots=True, kw_only=True)
class LuminanceConfig:
    """Mean luma of all frames, 0 black to 255 white."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _Luminance()


class _Luminance:
    def __init__(self) -> None:
        self.means: list[float] = []

    def see(self, picture: Picture) -> None:
        self.means.append(float(picture.small_grey.mean()))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.means:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        return Verdict.measured(NAME, float(np.mean(self.means)), "")
