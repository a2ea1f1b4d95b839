"""Jerk of the camera: what shakes, and single poses that are off."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import derivative_verdict
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["JerkConfig"]

NAME, ORDER = "jerk", 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JerkConfig:
    """95th percentile of the third derivative of the position: m/s^3 when metric, else median depths a second^3."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _Jerk()


class _Jerk:
    def measure(self, annotation: Annotation) -> Verdict:
        return derivative_verdict(annotation, NAME, ORDER)
