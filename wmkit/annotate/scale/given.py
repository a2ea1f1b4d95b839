"""Poses that were given claim to be in metres: the pose backend says so, and how sure their file is."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.camera import ScaleVote
from wmkit.clip import Annotation
from wmkit.video.frames import ClipFile

__all__ = ["GivenPosesConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPosesConfig:
    """One unit is one metre where `Annotation.metric_hint_sigma_log` says that given poses claim it."""

    name: ClassVar[str] = "given_poses"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> ScaleCue:
        """The cue; `device` is not used."""
        return _GivenPoses()


class _GivenPoses:
    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        if annotation.metric_hint_sigma_log is None:
            return Unmeasured(reason="poses_not_in_metres")
        return ScaleVote(cue=GivenPosesConfig.name, value=1.0, sigma_log=annotation.metric_hint_sigma_log)
