"""Optical flow: how far things move in the picture in half a second."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import dense_flow
from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["FlowMagnitudeConfig"]

NAME, UNIT = "flow_magnitude", "px"
APART_S, LONG_PX = 0.5, 640


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMagnitudeConfig:
    """Mean over pairs half a second apart of the mean flow, px of a picture 640 px long (DIS, OpenCV's fast preset).

    SANA-WM measures UniMatch flow of such pairs; DIS needs no weights and reads lower where things move very far.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _FlowMagnitude()


class _FlowMagnitude:
    def __init__(self) -> None:
        self.before: Picture | None = None
        self.length: list[float] = []

    def see(self, picture: Picture) -> None:
        if self.before is None:
            self.before = picture
        if picture.time_s - self.before.time_s < APART_S:
            return
        flow = dense_flow(self.before.small_grey, picture.small_grey)
        if flow is not None:
            stretch = LONG_PX / max(picture.small_grey.shape)
            self.length.append(stretch * float(np.linalg.norm(flow, axis=2).mean()))
        self.before = picture

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if not self.length:
            return Verdict.unmeasured(NAME, UNIT, "shorter_than_half_a_second")
        return Verdict.measured(NAME, float(np.mean(self.length)), UNIT)
