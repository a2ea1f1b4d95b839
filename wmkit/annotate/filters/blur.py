"""Blur: out of focus, or smeared by motion for most of the clip."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture
from wmkit.video.still import shrunk

__all__ = ["BlurConfig"]

NAME = "blur"
EVERY_S, SIDE_PX, FLAT = 0.5, 640, 6.0  # FLAT: grey levels; a blank picture is neither sharp nor blurred


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurConfig:
    """Median, over two frames a second, of the perceptual blur of Crete et al. 2007, 0 sharp to 1 (scikit-image).

    Measured at a long side of 640 px, so that a clip does not become sharper by being small.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _Blur()


class _Blur:
    def __init__(self) -> None:
        self.due_s = float("-inf")
        self.values: list[float] = []

    def see(self, picture: Picture) -> None:
        if picture.time_s < self.due_s or min(picture.grey.shape) < 16:
            return
        self.due_s = picture.time_s + EVERY_S
        from skimage.measure import blur_effect

        grey = shrunk(picture.grey, SIDE_PX, least_px=16)
        low, high = np.percentile(grey, (2, 98))
        if high - low >= FLAT:
            self.values.append(float(np.asarray(blur_effect(grey / 255.0, h_size=11))))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.values:
            return Verdict.unmeasured(NAME, "", "blank")
        return Verdict.measured(NAME, float(np.median(self.values)), "")
