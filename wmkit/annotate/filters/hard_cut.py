"""Hard cuts: content change against its own rolling mean (PySceneDetect), and pictures that no motion leads to."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import unexplained
from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture
from wmkit.video.still import shrunk

__all__ = ["CutFinder", "HardCutConfig"]

NAME, UNIT = "hard_cut", "cuts"
WINDOW = 2  # PySceneDetect's own default: frames on either side that a cut must stand out from
SIDE_PX = 64  # long side
LEFT, STANDS_OUT = 35.0, 2.5  # equalised grey levels left by dense flow; times the window's mean


@dataclass(frozen=True, slots=True, kw_only=True)
class HardCutConfig:
    """Number of hard cuts; fast camera motion and changes of exposure are none, and a dissolve is not a hard cut.

    A cut is where PySceneDetect's adaptive detector sees one, or where dense flow from the frame before leaves 35
    equalised grey levels unexplained and 2.5 times what it leaves around; the second also sees those at either end.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _HardCut()


class CutFinder:
    """Looks at every frame of a clip in order and knows where a picture begins that nothing before leads to."""

    def __init__(self) -> None:
        from scenedetect.detectors import AdaptiveDetector

        self.detector = AdaptiveDetector(window_width=WINDOW, min_scene_len=WINDOW)
        self.content_cuts: list[int] = []
        self.before: np.ndarray | None = None
        self.left: list[float] = []  # of each frame but the first

    def see(self, picture: Picture) -> None:
        """Take in the next frame."""
        import cv2
        from scenedetect import FrameTimecode

        hsv = cv2.cvtColor(picture.thumbnail, cv2.COLOR_RGB2HSV)
        hsv[:, :, 2] = cv2.equalizeHist(hsv[:, :, 2])  # a flash or pumping exposure is no cut
        bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        found = self.detector.process_frame(FrameTimecode(picture.index, fps=25.0), bgr)  # frames, not time
        self.content_cuts += [cut.frame_num for cut in found]
        before, self.before = self.before, np.asarray(cv2.equalizeHist(shrunk(picture.small_grey, SIDE_PX)), np.uint8)
        if before is not None:
            self.left.append(unexplained(before, self.before))

    def cuts(self) -> list[int] | None:
        """First frames of new shots, in order; None of fewer than five frames."""
        return sorted({*self.content_cuts, *self._unled()}) if len(self.left) >= 2 * WINDOW else None

    def _unled(self) -> list[int]:
        """Frames that no motion leads to from the frame before."""
        cuts = []
        for index, left in enumerate(self.left):
            near = self.left[max(0, index - WINDOW) : index] + self.left[index + 1 : index + 1 + WINDOW]
            if left >= LEFT and left >= STANDS_OUT * float(np.mean(near)):
                cuts.append(index + 1)
        return cuts


class _HardCut(CutFinder):
    def verdict(self, facts: DecodeFacts) -> Verdict:
        cuts = self.cuts()
        if cuts is None:
            return Verdict.unmeasured(NAME, UNIT, "too_few_frames")
        return Verdict.measured(NAME, float(len(cuts)), UNIT)
