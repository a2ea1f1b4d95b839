"""Inlier ratio: how much of what was tracked the model explains; moving things and wrong poses lower it."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import evidence_verdict
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["InlierRatioConfig"]

NAME, UNIT = "inlier_ratio", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InlierRatioConfig:
    """Share of the observations, 0 to 1, that points and cameras explain; of the pose backend's own evidence."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _InlierRatio()


class _InlierRatio:
    def measure(self, annotation: Annotation) -> Verdict:
        return evidence_verdict(annotation, NAME, UNIT)
