"""Field of view: a wrong self-calibration shows as an angle no ordinary lens has."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["FovXConfig", "FovYConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FovXConfig:
    """Median over the frames of the horizontal field of view, border to border, in degrees."""

    name: ClassVar[str] = "fov_x"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _Fov(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FovYConfig:
    """Median over the frames of the vertical field of view, border to border, in degrees."""

    name: ClassVar[str] = "fov_y"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _Fov(self.name)


@dataclass(frozen=True, slots=True)
class _Fov:
    name: str

    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, self.name, "deg")
        angle_deg = [row.fov_x_deg if self.name == "fov_x" else row.fov_y_deg for row in annotation.intrinsics]
        return Verdict.measured(self.name, float(np.median(angle_deg)), "deg")
