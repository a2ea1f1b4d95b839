"""p_good: the calibrated probability that a clip's cameras are right, as a value that thresholds can decide on."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["PGoodConfig"]

NAME = "p_good"


@dataclass(frozen=True, slots=True, kw_only=True)
class PGoodConfig:
    """Probability of a rotation error below 1.5 degrees and an ATE below 2 % of the path; 0 to 1.

    UNMEASURED when the pose backend measured no quality of its own, or no calibration speaks for it.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _PGood()


class _PGood:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, "")
        confidence = annotation.confidence
        if confidence is None:
            return Verdict.unmeasured(NAME, "", "no_quality: the pose backend measures none")
        if confidence.p_good is None:
            return Verdict.unmeasured(NAME, "", confidence.reason)
        return Verdict.measured(NAME, confidence.p_good, "")
