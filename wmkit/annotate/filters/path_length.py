"""Path length: how far the camera travels in all."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import adjacent_posed, length_unit, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["PathLengthConfig"]

NAME = "path_length"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathLengthConfig:
    """Sum of the distances between adjacent posed frames: m when metric, else median depths."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _PathLength()


class _PathLength:
    def measure(self, annotation: Annotation) -> Verdict:
        unit = length_unit(annotation)
        trajectory = annotation.trajectory
        if trajectory is None:
            return no_trajectory(annotation, NAME, unit)
        pair = adjacent_posed(trajectory)
        if len(pair) == 0:
            return Verdict.unmeasured(NAME, unit, "no_adjacent_posed_frames")
        step = np.linalg.norm(trajectory.position[pair + 1] - trajectory.position[pair], axis=1)
        return Verdict.measured(NAME, float(step.sum()), unit)
