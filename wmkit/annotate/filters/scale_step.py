"""Scale steps: labels whose unit changes from one frame to the next, as joined pieces of a trajectory have it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["ScaleStepConfig"]

NAME = "scale_step"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleStepConfig:
    """|Log| of the largest step in the unit that three views show; 0.26 is 1.3 times. Of given cameras alone."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _ScaleStep()


class _ScaleStep:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        confidence = annotation.confidence
        value = None if confidence is None else dict(confidence.quality.features).get(NAME)
        if value is None:
            return Verdict.unmeasured(NAME, "", "no_quality: the pose backend measures none")
        if np.isnan(value):
            return Verdict.unmeasured(NAME, "", "no_three_views: too few points with parallax")
        return Verdict.measured(NAME, value, "")
