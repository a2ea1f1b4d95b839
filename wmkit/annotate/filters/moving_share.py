"""How much of the picture moves on its own: people, cars, water; not what the camera's own motion moves."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["MovingShareConfig"]

NAME = "moving_share"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingShareConfig:
    """Share of the picture that the dynamic mask covers, 0 to 1: the median over the mask's frames."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _MovingShare()


class _MovingShare:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        if annotation.dynamic is None:
            return Verdict.unmeasured(NAME, "", "no_mask")
        return Verdict.measured(NAME, float(np.median(annotation.dynamic.mask.mean(axis=(1, 2)))), "")
