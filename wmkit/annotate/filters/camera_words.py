"""Camera language in the caption: "pans left", "moves forward"; such words leak the trajectory into the text."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.captions.camera_language import camera_phrases
from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["CameraWordsConfig"]

NAME, UNIT = "camera_words", "phrases"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraWordsConfig:
    """How many phrases of an English caption tell of the camera's motion; other languages are not understood."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _CameraWords()


class _CameraWords:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, UNIT)
        if annotation.caption is None:
            return Verdict.unmeasured(NAME, UNIT, "no_caption")
        return Verdict.measured(NAME, float(len(camera_phrases(annotation.caption.text))), UNIT)
