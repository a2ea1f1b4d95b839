"""Prior disagreement: a camera that its owner or its metadata describe otherwise than its own picture does."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.filters.common import no_trajectory
from wmkit.annotate.protocols import TrajectoryFilter
from wmkit.clip import Annotation, Verdict

__all__ = ["PriorDisagreementConfig"]

NAME, UNIT = "prior_disagreement", "sigma"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorDisagreementConfig:
    """|log(focal length found / focal length told)| in units of the prior's sigma_log; 3 is a contradiction."""

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> TrajectoryFilter:
        """The filter; `device` is not used."""
        return _PriorDisagreement()


class _PriorDisagreement:
    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return no_trajectory(annotation, NAME, UNIT)
        if annotation.prior is None:
            return Verdict.unmeasured(NAME, UNIT, "no_prior")
        lens = annotation.view.lens  # a prior speaks of the source's camera, not of the pinhole made of it
        rows = annotation.intrinsics_rows if lens is None else lens.undistorted_core.row[None]
        found = float(np.median(np.log(rows[:, :2]).mean(axis=1)))
        told = float(np.log((annotation.prior.fx, annotation.prior.fy)).mean())
        return Verdict.measured(NAME, abs(found - told) / annotation.prior.sigma_log, UNIT)
