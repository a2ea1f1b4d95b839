"""Letterbox and pillarbox: bars that belong to no camera, and move the principal point with the crop."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["LetterboxShareConfig"]

NAME = "letterbox_share"
STAYS = 12  # grey levels between the darkest and the brightest pixel a bar ever has
LINE, BEHIND = 0.5, 6  # share of the columns that leave a bar's levels at some time within six rows behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterboxShareConfig:
    """Share of the picture taken by bars.

    Bars are the rows and columns from an edge inwards that stay within 12 grey levels over all frames, where the
    picture inside does not, over most of its width. A dark sky moves with the camera, or has noise; a bar does neither,
    and ends in a straight line, where a dark corner or a plain wall ends here and there.
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
        for low, high in ((self.low, self.high), (self.low.T, self.high.T)):
            same = high.max(axis=1).astype(int) - low.min(axis=1) <= STAYS
            if same.all():
                return Verdict.unmeasured(NAME, "", "blank")
            bars = _bar(low, high, int(np.argmin(same))) + _bar(low[::-1], high[::-1], int(np.argmin(same[::-1])))
            inner.append(1 - bars / len(same))
        return Verdict.measured(NAME, float(1 - inner[0] * inner[1]), "")


def _bar(low: NDArray[np.uint8], high: NDArray[np.uint8], rows: int) -> int:
    """`rows` where a bar of so many first rows ends in a line, else 0."""
    if not rows:
        return 0
    behind = slice(rows, rows + BEHIND)
    brighter = high[behind].max(axis=0) > low[:rows].min() + float(STAYS)
    darker = low[behind].min(axis=0) < high[:rows].max() - float(STAYS)
    return rows if (brighter | darker).mean() >= LINE else 0
