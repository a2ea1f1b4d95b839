"""Letterbox and pillarbox: bars that belong to no camera, and move the principal point with the crop."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["LetterboxShareConfig"]

NAME = "letterbox_share"
STAYS = 12  # grey levels between the darkest and the brightest pixel a bar ever has


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterboxShareConfig:
    """Share of the picture taken by bars.

    Bars are the rows and columns from an edge inwards that stay within 12 grey levels over all frames, where the
    picture inside does not. A dark sky moves with the camera, or has noise; a bar does neither.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _LetterboxShare()


class _LetterboxShare:
    def __init__(self) -> None:
        self.low: np.ndarray | None = None
        self.high: np.ndarray | None = None

    def see(self, picture: Picture) -> None:
        grey = picture.small_grey
        if self.low is None or self.high is None:
            self.low, self.high = grey.copy(), grey.copy()
        else:
            np.minimum(self.low, grey, out=self.low)
            np.maximum(self.high, grey, out=self.high)

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.low is None or self.high is None:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        inner = []
        for axis in (1, 0):
            same = self.high.max(axis=axis).astype(int) - self.low.min(axis=axis) <= STAYS
            if same.all():
                return Verdict.unmeasured(NAME, "", "blank")
            inside = np.flatnonzero(~same)
            inner.append((inside[-1] - inside[0] + 1) / len(same))
        return Verdict.measured(NAME, float(1 - inner[0] * inner[1]), "")
