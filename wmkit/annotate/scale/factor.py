"""The user says how many metres one trajectory unit is."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.camera import ScaleVote
from wmkit.clip import Annotation
from wmkit.errors import InputError
from wmkit.video.frames import ClipFile

__all__ = ["ScaleFactorConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFactorConfig:
    """One trajectory unit is `factor` metres, taken as exact (sigma 0).

    A trajectory's unit is the median depth of its own sparse points and differs from clip to clip, so one factor
    fits one clip: read the unit off a first run, compare a distance you know, and give the ratio.
    Raises InputError unless `factor` is positive and finite.
    """

    factor: float
    name: ClassVar[str] = "factor"
    licence: ClassVar[str] = "Apache-2.0"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.factor) and self.factor > 0):
            raise InputError(f"--scale: expected a positive number of metres a unit, got {self.factor}")

    def build(self, device: str) -> ScaleCue:
        """The cue; `device` is not used."""
        return _Factor(self.factor)


@dataclass(frozen=True, slots=True)
class _Factor:
    factor: float

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        return ScaleVote(cue=ScaleFactorConfig.name, value=self.factor, sigma_log=0.0)
