"""Scale variation: a network whose metres change from frame to frame, or a trajectory whose unit does."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import frame_factors, no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["ScaleVariationConfig"]

NAME = "scale_variation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleVariationConfig:
    """Standard deviation over mean of the per-frame scale factors of the metric depth network (SANA-WM, App. B.3)."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _ScaleVariation()


class _ScaleVariation:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        factors = frame_factors(annotation)
        if factors is None:
            return Verdict.unmeasured(NAME, "", "no_per_frame_scale: no cue measured one")
        return Verdict.measured(NAME, float(factors[:, 1].std() / factors[:, 1].mean()), "")
