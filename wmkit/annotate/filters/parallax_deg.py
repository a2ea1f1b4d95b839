"""Parallax: how well the motion tells distances; a camera that hardly moves tells none."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import evidence_verdict
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["ParallaxDegConfig"]

NAME, UNIT = "parallax_deg", "deg"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallaxDegConfig:
    """Upper-quartile triangulation angle of the points, in degrees; of the pose backend's own evidence."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _ParallaxDeg()


class _ParallaxDeg:
    def measure(self, annotation: Annotation) -> Verdict:
        return evidence_verdict(annotation, NAME, UNIT)
