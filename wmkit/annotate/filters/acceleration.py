"""Acceleration of the camera: a hand or a car changes speed gently, a wrong pose does not."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import differentiated, length_unit, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["AccelerationConfig"]

NAME, ORDER = "acceleration", 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AccelerationConfig:
    """95th percentile of the second derivative of the position: m/s^2 when metric, else median depths a second^2."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _Acceleration()


class _Acceleration:
    def measure(self, annotation: Annotation) -> Verdict:
        unit = f"{length_unit(annotation)}/s^{ORDER}"
        trajectory = annotation.trajectory
        if trajectory is None:
            return no_trajectory(annotation, NAME, unit)
        derivative = differentiated(trajectory.position, trajectory.time_s, ORDER)
        if len(derivative) == 0:
            return Verdict.unmeasured(NAME, unit, "too_few_posed_frames_in_a_row")
        return Verdict.measured(NAME, float(np.percentile(np.linalg.norm(derivative, axis=1), 95)), unit)
