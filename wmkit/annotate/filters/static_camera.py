"""Static camera: how fast the picture as a whole moves, from grid points followed by pyramidal Lucas-Kanade."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import median_motion_px
from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

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
    def __init__(self) -> None:
        self.before: Picture | None = None
        self.speed: list[float] = []

    def see(self, picture: Picture) -> None:
        before, self.before = self.before, picture
        if before is None:
            return
        moved_px = median_motion_px(before.small_grey, picture.small_grey)
        if moved_px is not None:
            diagonal_px = float(np.hypot(*picture.small_grey.shape))
            self.speed.append(moved_px / diagonal_px / (picture.time_s - before.time_s))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.speed:
            return Verdict.unmeasured(NAME, UNIT, "too_few_tracks")
        return Verdict.measured(NAME, float(np.mean(self.speed)), UNIT)
