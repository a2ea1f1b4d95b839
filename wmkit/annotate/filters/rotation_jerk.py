"""Rotation jerk: a camera that is carried turns smoothly; shake and wrong rotations do not."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import differentiated, no_trajectory, turn_rate
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["RotationJerkConfig"]

NAME, UNIT = "rotation_jerk", "deg/s^3"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationJerkConfig:
    """95th percentile of the second derivative of the angular velocity, in degrees a second^3."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _RotationJerk()


class _RotationJerk:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, UNIT)
        derivative = differentiated(*turn_rate(annotation.trajectory), 2)
        if len(derivative) == 0:
            return Verdict.unmeasured(NAME, UNIT, "too_few_posed_frames_in_a_row")
        return Verdict.measured(NAME, float(np.degrees(np.percentile(np.linalg.norm(derivative, axis=1), 95))), UNIT)
