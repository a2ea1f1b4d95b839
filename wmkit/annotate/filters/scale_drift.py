"""Scale drift: a trajectory whose unit grows or shrinks on the way, gradually or at a jump."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import frame_factors, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["ScaleDriftConfig"]

NAME = "scale_drift"
FEWEST = 6  # factors: two a third


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDriftConfig:
    """|Difference| of the median log scale factors of the clip's first and last third; 0.26 is 1.3 times."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _ScaleDrift()


class _ScaleDrift:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        factors = frame_factors(annotation)
        if factors is None or len(factors) < FEWEST:
            return Verdict.unmeasured(NAME, "", "no_per_frame_scale: no cue measured enough")
        log = np.log(factors[:, 1])
        third = len(log) // 3
        return Verdict.measured(NAME, abs(float(np.median(log[-third:]) - np.median(log[:third]))), "")
