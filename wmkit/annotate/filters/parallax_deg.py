"""Parallax: how well the motion tells distances; a camera that hardly moves tells none."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
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
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, UNIT)
        confidence = annotation.confidence
        value = None if confidence is None else dict(confidence.quality.features).get(NAME)
        if value is None or np.isnan(value):
            return Verdict.unmeasured(NAME, UNIT, "no_quality: the pose backend measures none")
        return Verdict.measured(NAME, value, UNIT)
