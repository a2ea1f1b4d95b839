"""Acceleration of the camera: a hand or a car changes speed gently, a wrong pose does not."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import derivative_verdict
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
        return derivative_verdict(annotation, NAME, ORDER)
