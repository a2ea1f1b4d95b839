"""Blank frames: black, white or one colour; nothing can be tracked on them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["BlankShareConfig"]

NAME = "blank_share"
FLAT, BLACK = 6.0, 20.0  # grey levels


@dataclass(frozen=True, slots=True, kw_only=True)
class BlankShareConfig:
    """Share of frames whose luma lies within 6 grey levels, 2nd to 98th percentile, or below 20 altogether."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _BlankShare()


class _BlankShare:
    def __init__(self) -> None:
        self.blank: list[bool] = []

    def see(self, picture: Picture) -> None:
        low, high = np.percentile(picture.small_grey, (2, 98))
        self.blank.append(bool(high - low < FLAT or high < BLACK))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.blank:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        return Verdict.measured(NAME, float(np.mean(self.blank)), "")
