"""Cross-fades and fades: the picture in between is a sum of two, and no camera saw it."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import moved_onto
from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture
from wmkit.video.still import shrunk

__all__ = ["CrossFadeConfig"]

NAME, UNIT = "cross_fade", "frames"
SPANS = (2, 3, 4, 5, 6, 8, 10)  # frames on either side
NEAR, OTHERS = 3, 2  # a blend that fewer than two others within three frames confirm is chance
COARSE_PX, FINE_PX, TILES = 32, 64, (4, 3)
APART, SHARE, ALIKE, LEFT = 8.0, 0.2, 0.5, 0.3  # grey levels rms; of either; correlation; of the difference's power
DETAIL, DETAIL_TILE, NOISE, MOTION = (0.6, 1.5), 0.35, 4.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFadeConfig:
    """Frames that are a blend of what lies 2 to 10 frames before and after, with 20 to 80 % of either.

    A blend halves the detail of both pictures, wherever they move meanwhile: in twelve tiles its energy must be
    (1 - share)² of the one plus share² of the other. Camera motion keeps the detail, a whip pan smears all of it, and
    neither leaves so little of the difference unexplained; nor may dense flow from either side explain the frame.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _CrossFade()


class _CrossFade:
    def __init__(self) -> None:
        self.recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=2 * max(SPANS) + 1)
        self.seen = 0
        self.blended: set[int] = set()

    def see(self, picture: Picture) -> None:
        self.recent.append((shrunk(picture.small_grey, COARSE_PX), shrunk(picture.small_grey, FINE_PX)))
        self.seen += 1
        for span in SPANS:
            if len(self.recent) >= 2 * span + 1:
                before, middle, after = (self.recent[-1 - k * span] for k in (2, 1, 0))
                share = _share(before[0], middle[0], after[0])
                fine = before[1], middle[1], after[1]
                if share is not None and _detail_adds_up(*fine, share=share) and not _moved(*fine):
                    self.blended.add(self.seen - 1 - span)

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.seen < 2 * min(SPANS) + 1:
            return Verdict.unmeasured(NAME, UNIT, "too_few_frames")
        near = [step for step in range(-NEAR, NEAR + 1) if step]
        together = [index for index in self.blended if sum(index + step in self.blended for step in near) >= OTHERS]
        return Verdict.measured(NAME, float(len(together)), UNIT)


def _share(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> float | None:
    """How much of `after` is in the middle, where the two differ and their blend explains it; else None."""
    before, middle, after = (item.astype(np.float64) for item in (before, middle, after))
    across = after - before
    power = float((across**2).mean())
    if power < APART**2:
        return None
    a, b = before - before.mean(), after - after.mean()
    if float((a * b).mean()) > ALIKE * np.sqrt(float((a**2).mean() * (b**2).mean())):
        return None  # or both flat: no pictures
    share = float(((middle - before) * across).mean()) / power
    left = float(((middle - before - share * across) ** 2).mean())
    return share if SHARE <= share <= 1 - SHARE and left < LEFT * power else None


def _detail_adds_up(before: np.ndarray, middle: np.ndarray, after: np.ndarray, share: float) -> bool:
    import cv2

    a, m, b = (
        cv2.resize(cv2.Laplacian(item, cv2.CV_64F) ** 2, TILES, interpolation=cv2.INTER_AREA)
        for item in (before, middle, after)
    )
    blend = (1 - share) ** 2 * a + share**2 * b
    if not DETAIL[0] < m.sum() / max(float(blend.sum()), 1e-9) < DETAIL[1]:
        return False
    return float(np.median(np.abs(np.log((m + NOISE) / (blend + NOISE))))) < DETAIL_TILE


def _moved(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> bool:
    """Whether what moved explains the middle ten times better than the blend of the two does."""
    a, m, b = (item.astype(np.float64) for item in (before, middle, after))
    across = b - a
    share = float(((m - a) * across).mean()) / max(float((across**2).mean()), 1e-9)
    left = float(((m - a - share * across) ** 2).mean())
    guesses = (a, b, moved_onto(before, middle), moved_onto(after, middle))
    return left > MOTION * float(np.nanmin([(m - guess) ** 2 for guess in guesses], axis=0).mean())
