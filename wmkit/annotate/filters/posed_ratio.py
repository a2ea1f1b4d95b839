"""Posed-frame ratio: how much of the clip the trajectory covers."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["PosedRatioConfig"]

NAME = "posed_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedRatioConfig:
    """Posed frames over all output frames, 0 to 1."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _PosedRatio()


class _PosedRatio:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        return Verdict.measured(NAME, float(annotation.trajectory.posed.mean()), "")
