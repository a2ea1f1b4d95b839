"""A known distance between two camera positions: a slide or rig of known length, or the two stills of a stereo pair.

Frames are counted as the annotator delivers them, from 0. A stereo pair is a folder of its two images: frames 0 and 1.
A rig's images in one folder, left and right in turn, give one pair each: 0:1, 2:3, …
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.annotate.scale.measure import distance_sigma_log, parse_length
from wmkit.camera import ScaleVote
from wmkit.clip import Annotation
from wmkit.errors import InputError
from wmkit.video.frames import ClipFile

__all__ = ["Baseline", "BaselineConfig", "parse_baseline"]

DEFAULT_SIGMA = 0.01  # relative: a rig measured with a ruler
_SPEC = re.compile(r"(\d+):(\d+)=(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The centres of frames `first` and `second` are `metres` apart; `sigma` is relative."""

    first: int
    second: int
    metres: float
    sigma: float = DEFAULT_SIGMA

    def __post_init__(self) -> None:
        if self.first == self.second or min(self.first, self.second) < 0:
            raise InputError(f"--baseline: expected two different frames, got {self.first} and {self.second}")
        if not (np.isfinite(self.metres) and self.metres > 0 and 0 <= self.sigma < 1):
            raise InputError(f"--baseline: expected positive metres and a sigma in [0, 1), got {self.metres}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineConfig:
    """Known distances between camera centres; several are averaged in log space by their sigmas."""

    pairs: tuple[Baseline, ...]
    name: ClassVar[str] = "baseline"
    licence: ClassVar[str] = "Apache-2.0"

    def __post_init__(self) -> None:
        if not self.pairs:
            raise InputError("--baseline: expected at least one pair A:B=METRES, got none")

    def build(self, device: str) -> ScaleCue:
        """The cue; `device` is not used."""
        return _Baseline(self)


def parse_baseline(text: str) -> Baseline:
    """`A:B=METRES`, `A:B=METRES±SIGMA` or `A:B=METRES,SIGMA`; InputError for anything else."""
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--baseline: expected A:B=METRES, frames counted from 0, such as 0:1=0.12, got {text!r}")
    metres, sigma = parse_length(match[3], "--baseline", DEFAULT_SIGMA)
    return Baseline(first=int(match[1]), second=int(match[2]), metres=metres, sigma=sigma)


@dataclass(frozen=True, slots=True)
class _Baseline:
    config: BaselineConfig

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        trajectory = annotation.trajectory
        if trajectory is None:
            return Unmeasured(reason="no_trajectory")
        logs, sigmas = [], []
        for pair in self.config.pairs:
            frames = (pair.first, pair.second)
            if max(frames) >= len(trajectory):
                return Unmeasured(reason=f"no_frame_{max(frames)}")
            if not trajectory.posed[list(frames)].all():
                return Unmeasured(reason="baseline_frame_not_posed")
            distance = float(np.linalg.norm(trajectory.position[pair.second] - trajectory.position[pair.first]))
            if distance == 0:
                return Unmeasured(reason="baseline_of_no_length")
            logs.append(np.log(pair.metres / distance))
            sigmas.append((pair.sigma, distance_sigma_log(trajectory, *frames)))
        given, found = np.array(sigmas).T
        weight = 1 / np.maximum(given**2 + found**2, 1e-12)
        weight /= weight.sum()
        # one ruler measured all pairs: its error does not average out
        sigma_log = float(np.hypot(weight @ given, np.sqrt(weight**2 @ found**2)))
        return ScaleVote(cue=BaselineConfig.name, value=float(np.exp(weight @ logs)), sigma_log=sigma_log)
