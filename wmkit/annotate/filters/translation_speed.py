"""Translation speed: a jump in the trajectory shows as a speed no camera has."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import adjacent_posed, length_unit, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["TranslationSpeedConfig"]

NAME = "translation_speed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationSpeedConfig:
    """95th percentile over pairs of adjacent posed frames: m/s when metric, else median scene depths a second."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _TranslationSpeed()


class _TranslationSpeed:
    def measure(self, annotation: Annotation) -> Verdict:
        unit, trajectory = f"{length_unit(annotation)}/s", annotation.trajectory
        if trajectory is None:
            return no_trajectory(annotation, NAME, unit)
        pair = adjacent_posed(trajectory)
        if len(pair) == 0:
            return Verdict.unmeasured(NAME, unit, "no_adjacent_posed_frames")
        step = np.linalg.norm(trajectory.position[pair + 1] - trajectory.position[pair], axis=1)
        speed = step / (trajectory.time_s[pair + 1] - trajectory.time_s[pair])
        return Verdict.measured(NAME, float(np.percentile(speed, 95)), unit)
