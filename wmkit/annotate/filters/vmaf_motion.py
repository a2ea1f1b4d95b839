"""VMAF's motion score: how much the picture changes from frame to frame, as ffmpeg's vmafmotion computes it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["VmafMotionConfig"]

NAME = "vmaf_motion"
KERNEL = np.array([3571, 16004, 26386, 16004, 3571]) / 65536  # vf_vmafmotion.c
LUMA = np.array([65.738, 129.057, 25.064]) / 256  # BT.601 limited range, what a video's own Y plane holds


@dataclass(frozen=True, slots=True, kw_only=True)
class VmafMotionConfig:
    """Mean over frames of the mean absolute difference of blurred luma (5 x 5 Gaussian), the first frame counting 0.

    Of the output frames, so at the corpus's frame rate and size. Source: libavfilter/vf_vmafmotion.c.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _VmafMotion()


class _VmafMotion:
    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.score: list[float] = []

    def see(self, picture: Picture) -> None:
        import cv2

        luma = np.rint(cv2.transform(picture.rgb, LUMA[None]) + 16).astype(np.float32)
        now = cv2.sepFilter2D(luma, cv2.CV_32F, KERNEL, KERNEL, borderType=cv2.BORDER_REFLECT_101)
        before, self.before = self.before, now
        self.score.append(0.0 if before is None else float(cv2.absdiff(now, before).mean()))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if len(self.score) < 2:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        return Verdict.measured(NAME, float(np.mean(self.score)), "")
