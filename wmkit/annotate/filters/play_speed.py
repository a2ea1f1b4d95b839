"""Slow motion and time-lapse, where the camera wrote down how fast it recorded."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["PlaySpeedConfig"]

NAME, UNIT = "play_speed", "x"
CAPTURE_RATE = "com.android.capture.fps"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySpeedConfig:
    """How fast the file plays against life: 0.125 for 240 frames a second played as 30, 30 for one a second.

    The file's own frame rate over the rate of recording (Android's tag). UNMEASURED when that is not written down;
    nothing is guessed from the pictures, which may show a slow hand as well as a slowed one.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _PlaySpeed()


class _PlaySpeed:
    def see(self, picture: Picture) -> None:
        """The file tells; the pictures do not."""

    def verdict(self, facts: DecodeFacts) -> Verdict:
        try:
            recorded = float(dict(facts.tags).get(CAPTURE_RATE, ""))
        except ValueError:
            return Verdict.unmeasured(NAME, UNIT, "the file does not say how fast it was recorded")
        if not (0 < recorded < float("inf") and facts.native_fps > 0):
            return Verdict.unmeasured(NAME, UNIT, "no frame rate to compare with")
        return Verdict.measured(NAME, facts.native_fps / recorded, UNIT)
