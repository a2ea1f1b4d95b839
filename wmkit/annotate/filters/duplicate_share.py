"""Duplicated frames: a picture shown twice is a camera that stood still for one frame and then jumped."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["DuplicateShareConfig"]

NAME = "duplicate_share"
SAME, OF_USUAL, STILL = 0.35, 0.1, 1.0  # grey levels; share; usual difference of footage that does not move


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateShareConfig:
    """Share of frames that show the same picture as the one before, in footage that moves otherwise.

    Same: the mean difference is below 0.35 grey levels and below a tenth of the clip's 90th percentile; footage in
    which nothing ever moves has no duplicates to tell.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _DuplicateShare()


class _DuplicateShare:
    def __init__(self) -> None:
        self.before: Picture | None = None
        self.change: list[float] = []

    def see(self, picture: Picture) -> None:
        before, self.before = self.before, picture
        if before is not None:
            self.change.append(float(np.abs(picture.small_grey.astype(np.int16) - before.small_grey).mean()))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if len(self.change) < 2:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        usual = float(np.percentile(self.change, 90))
        if usual < STILL:
            return Verdict.unmeasured(NAME, "", "nothing_moves")
        return Verdict.measured(NAME, float(np.mean(np.array(self.change) < min(SAME, OF_USUAL * usual))), "")
