"""Focal divergence: nearly every real lens has square pixels, so fx and fy far apart mean a bad calibration."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["FocalDivergenceConfig"]

NAME = "focal_divergence"


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalDivergenceConfig:
    """Largest |fx − fy| / mean(fx, fy) of any frame; a pure number, 0 for square pixels."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _FocalDivergence()


class _FocalDivergence:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        worst = max(2 * abs(row.fx - row.fy) / (row.fx + row.fy) for row in annotation.intrinsics)
        return Verdict.measured(NAME, worst, "")
