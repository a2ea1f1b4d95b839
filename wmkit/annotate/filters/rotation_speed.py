"""Rotation speed: whip pans blur the frames, and a wrong pose shows as a turn no camera makes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import adjacent_posed, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["RotationSpeedConfig"]

NAME = "rotation_speed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationSpeedConfig:
    """95th percentile over pairs of adjacent posed frames of the geodesic angle between them, in degrees a second."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _RotationSpeed()


class _RotationSpeed:
    def measure(self, annotation: Annotation) -> Verdict:
        trajectory = annotation.trajectory
        if trajectory is None:
            return no_trajectory(annotation, NAME, "deg/s")
        pair = adjacent_posed(trajectory)
        if len(pair) == 0:
            return Verdict.unmeasured(NAME, "deg/s", "no_adjacent_posed_frames")
        # |R₁ − R₀| = 2√2 sin(θ/2): unlike the arccos of the trace it keeps its digits at small angles.
        chord = np.linalg.norm(trajectory.rotation[pair + 1] - trajectory.rotation[pair], axis=(1, 2))
        angle_deg = np.degrees(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1)))
        speed = angle_deg / (trajectory.time_s[pair + 1] - trajectory.time_s[pair])
        return Verdict.measured(NAME, float(np.percentile(speed, 95)), "deg/s")
