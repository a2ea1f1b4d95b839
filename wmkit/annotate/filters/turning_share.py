"""Pure rotation: stretches in which the camera turns on the spot, where translation is anybody's guess."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict
from wmkit.metrics import rotation_angle_rad

__all__ = ["TurningShareConfig"]

NAME = "turning_share"
WINDOW_S, TURNED_DEG, MOVED = 1.0, 8.0, 0.01  # MOVED: of the median distance of the points


@dataclass(frozen=True, slots=True, kw_only=True)
class TurningShareConfig:
    """Share of posed frames after which, within a second, the camera turns 8° or more and moves less than 1 %.

    1 % of the median distance of the sparse points from the camera's path. A clip that only turns has no trajectory.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _TurningShare()


class _TurningShare:
    def measure(self, annotation: Annotation) -> Verdict:
        trajectory, points = annotation.trajectory, annotation.points
        if trajectory is None:
            return no_trajectory(annotation, NAME, "")
        if points is None or not len(points):
            return Verdict.unmeasured(NAME, "", "no_points")
        time_s, position = trajectory.time_s[trajectory.posed], trajectory.position[trajectory.posed]
        rotation = trajectory.rotation[trajectory.posed]
        distance = float(np.median(np.linalg.norm(points.xyz - np.median(position, axis=0), axis=1)))
        later = np.searchsorted(time_s, time_s + WINDOW_S - 1e-9)
        whole = np.flatnonzero(later < len(time_s))
        if len(whole) == 0:
            return Verdict.unmeasured(NAME, "", "shorter_than_a_second")
        there = later[whole]
        moved = np.linalg.norm(position[there] - position[whole], axis=1)
        turned_deg = np.degrees(rotation_angle_rad(np.swapaxes(rotation[there], 1, 2) @ rotation[whole]))
        return Verdict.measured(NAME, float(np.mean((turned_deg >= TURNED_DEG) & (moved < MOVED * distance))), "")
