"""Reprojection error: how well the sparse points agree with the poses and the calibration."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["ReprojectionPxConfig"]

NAME = "reprojection_px"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprojectionPxConfig:
    """Mean error over all observations, in px of the output frames: point errors weighted by track length."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _ReprojectionPx()


class _ReprojectionPx:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "px")
        points = annotation.points
        if points is None or points.track_length.sum() == 0:
            return Verdict.unmeasured(NAME, "px", "no_points")
        return Verdict.measured(NAME, float(np.average(points.error_px, weights=points.track_length)), "px")
