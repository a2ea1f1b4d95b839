"""Hard cuts, counted by PySceneDetect's adaptive detector: content change against its own rolling mean."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["HardCutConfig"]

NAME, UNIT = "hard_cut", "cuts"
WINDOW = 2  # the detector's own default: frames on either side that a cut must stand out from


@dataclass(frozen=True, slots=True, kw_only=True)
class HardCutConfig:
    """Number of hard cuts; fast camera motion and changes of exposure are none.

    A dissolve is not a hard cut, and a cut within 2 frames of either end goes unseen.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _HardCut()


class _HardCut:
    def __init__(self) -> None:
        from scenedetect.detectors import AdaptiveDetector

        self.detector = AdaptiveDetector(window_width=WINDOW, min_scene_len=WINDOW)
        self.frames = self.cuts = 0

    def see(self, picture: Picture) -> None:
        import cv2
        from scenedetect import FrameTimecode

        hsv = cv2.cvtColor(picture.thumbnail, cv2.COLOR_RGB2HSV)
        hsv[:, :, 2] = cv2.equalizeHist(hsv[:, :, 2])  # a flash or pumping exposure is no cut
        bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        self.cuts += len(self.detector.process_frame(FrameTimecode(picture.index, fps=25.0), bgr))  # frames, not time
        self.frames += 1

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.frames < 2 * WINDOW + 1:
            return Verdict.unmeasured(NAME, UNIT, "too_few_frames")
        return Verdict.measured(NAME, float(self.cuts), UNIT)
