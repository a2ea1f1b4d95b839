"""Track error: cameras of one half of a picture, or a compromise between two motions, leave most tracks astray."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import evidence_verdict
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["TrackErrorPxConfig"]

NAME, UNIT = "track_error_px", "px"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackErrorPxConfig:
    """Median over all tracks followed, px at a diagonal of 800; of the pose backend's own evidence."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _TrackErrorPx()


class _TrackErrorPx:
    def measure(self, annotation: Annotation) -> Verdict:
        return evidence_verdict(annotation, NAME, UNIT)
