"""Zoom: how much the focal length changes within the clip."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["ZoomRangeConfig"]

NAME = "zoom_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomRangeConfig:
    """Ratio of the 95th to the 5th percentile of the posed frames' focal lengths; 1 without a zoom."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _ZoomRange()


class _ZoomRange:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        low, high = np.percentile(annotation.intrinsics_rows[annotation.trajectory.posed, 0], (5, 95))
        return Verdict.measured(NAME, float(high / low), "")
