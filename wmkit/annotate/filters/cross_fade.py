"""Cross-fades and fades: the picture in between is a sum of two, and no camera saw it."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["CrossFadeConfig"]

NAME, UNIT = "cross_fade", "frames"
SPANS = (4, 8)  # frames on either side
LEFT, SHARE, ALIKE, APART = 0.4, 0.2, 0.6, 8.0  # of the difference; of either; correlation; grey levels rms
SIDE_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFadeConfig:
    """Frames that are a blend of what lies 4 or 8 frames before and after, where those two show different things.

    A frame counts when the best blend of the two leaves less than 40 % of their difference (rms), with 20 to
    80 % of either, and the two correlate by less than 0.6: a change of exposure keeps the picture, and motion does not
    blend.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _CrossFade()


class _CrossFade:
    def __init__(self) -> None:
        self.recent: deque[np.ndarray] = deque(maxlen=2 * max(SPANS) + 1)
        self.seen = 0
        self.blended: set[int] = set()

    def see(self, picture: Picture) -> None:
        import cv2

        height, width = picture.small_grey.shape
        shrink = min(1.0, SIDE_PX / max(height, width))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        self.recent.append(cv2.resize(picture.small_grey, size, interpolation=cv2.INTER_AREA).astype(np.float64))
        self.seen += 1
        for span in SPANS:
            if len(self.recent) >= 2 * span + 1:
                before, middle, after = (self.recent[-1 - k * span] for k in (2, 1, 0))
                if _is_blend(before, middle, after):
                    self.blended.add(self.seen - 1 - span)

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.seen < 2 * min(SPANS) + 1:
            return Verdict.unmeasured(NAME, UNIT, "too_few_frames")
        return Verdict.measured(NAME, float(len(self.blended)), UNIT)


def _is_blend(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> bool:
    across = after - before
    power = float((across**2).mean())
    if power < APART**2:
        return False
    a, b = before - before.mean(), after - after.mean()
    spread = np.sqrt(float((a**2).mean() * (b**2).mean()))
    if spread > 0 and float((a * b).mean()) > ALIKE * spread:
        return False
    share = float(((middle - before) * across).mean()) / power
    left = float(((middle - before - share * across) ** 2).mean())
    return SHARE <= share <= 1 - SHARE and left < (LEFT**2) * power
