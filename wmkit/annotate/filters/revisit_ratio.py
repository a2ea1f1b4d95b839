"""Revisits: how much of the clip shows again what it showed before, from nearly the same place."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import length_unit, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict
from wmkit.metrics import rotation_angle_rad

__all__ = ["RevisitRatioConfig"]

NAME = "revisit_ratio"
NEAR = {"m": 0.5, "median_depth": 0.25}
NEAR_DEG, AWAY, AWAY_DEG = 20.0, 3.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisitRatioConfig:
    """Share of posed frames that come back.

    Back: to within 0.5 m (0.25 median depths) and 20 degrees of an earlier camera, SANA-WM's revisit pairs, after
    having been at least three times as far away, or turned away by 60 degrees, in between.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _RevisitRatio()


class _RevisitRatio:
    def measure(self, annotation: Annotation) -> Verdict:
        trajectory = annotation.trajectory
        if trajectory is None:
            return no_trajectory(annotation, NAME, "")
        near = NEAR[length_unit(annotation)]
        position, rotation = trajectory.position[trajectory.posed], trajectory.rotation[trajectory.posed]
        back = 0
        for at in range(1, len(position)):
            distance = np.linalg.norm(position[:at] - position[at], axis=1)
            turned_deg = np.degrees(rotation_angle_rad(np.swapaxes(rotation[:at], 1, 2) @ rotation[at]))
            away = np.flatnonzero((distance > AWAY * near) | (turned_deg > AWAY_DEG))
            here = (distance < near) & (turned_deg < NEAR_DEG)
            back += bool(len(away) and here[: away[-1]].any())
        return Verdict.measured(NAME, back / len(position), "")
