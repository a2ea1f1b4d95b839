"""Inlier ratio: how much of what was tracked the model explains; moving things and wrong poses lower it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["InlierRatioConfig"]

NAME, UNIT = "inlier_ratio", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InlierRatioConfig:
    """Share of the observations, 0 to 1, that points and cameras explain; of the pose backend's own evidence."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _InlierRatio()


class _InlierRatio:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, UNIT)
        confidence = annotation.confidence
        value = None if confidence is None else dict(confidence.quality.features).get(NAME)
        if value is None or np.isnan(value):
            return Verdict.unmeasured(NAME, UNIT, "no_quality: the pose backend measures none")
        return Verdict.measured(NAME, value, UNIT)
