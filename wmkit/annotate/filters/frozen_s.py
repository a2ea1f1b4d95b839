"""Frozen picture: a stream that stalled, or a still that somebody held."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["FrozenSConfig"]

NAME, UNIT = "frozen_s", "s"
SAME = 0.35  # mean grey levels


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenSConfig:
    """Longest time, in seconds, during which the picture does not change by more than a codec's noise.

    A tripod shot of a live scene has sensor noise and is not frozen; a rendered or filmed still is.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _FrozenS()


class _FrozenS:
    def __init__(self) -> None:
        self.held: Picture | None = None
        self.last_s = self.longest_s = 0.0
        self.frames = 0

    def see(self, picture: Picture) -> None:
        self.frames += 1
        if self.held is None or np.abs(picture.small_grey.astype(np.int16) - self.held.small_grey).mean() >= SAME:
            self.held = picture
        self.longest_s = max(self.longest_s, picture.time_s - self.held.time_s)

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.frames < 2:
            return Verdict.unmeasured(NAME, UNIT, "too_few_frames")
        return Verdict.measured(NAME, self.longest_s, UNIT)
