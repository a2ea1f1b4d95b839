"""What a plug-in of the annotator is: one frozen config that builds one object with one method.

A config crosses process borders, a built object never does. Anything that satisfies these protocols is accepted
by the public functions; the unions in each folder's `__init__` only name what the command line can reach.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from wmkit.camera import CameraPrior, Intrinsics, Lens, ScaleVote, Trajectory
from wmkit.caption import Caption
from wmkit.clip import Annotation, DepthMap, DynamicMask, NoTrajectory, Points, PoseQuality, Verdict
from wmkit.errors import InputError
from wmkit.video.frames import ClipFile, DecodeFacts, FrameSource
from wmkit.video.picture import Picture

__all__ = [
    "UNHASHED",
    "CaptionConfig",
    "Captioner",
    "DepthConfig",
    "DepthEstimator",
    "FilterConfig",
    "FootageFilter",
    "FootageFilterConfig",
    "PluginConfig",
    "PoseConfig",
    "PoseEstimate",
    "PoseEstimator",
    "ReadsBeside",
    "ScaleConfig",
    "ScaleCue",
    "TrajectoryFilter",
    "TrajectoryFilterConfig",
    "Unmeasured",
    "on_gpu",
]

UNHASHED = "unhashed"
"""`field(metadata={UNHASHED: True})`: what a config needs and what decides no byte of a result, so that the config's
hash must not see it: where a file lies (its content's hash stands beside it), how long a program may take."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseEstimate:
    """What a pose backend returns: an UP_TO_SCALE trajectory, one intrinsics row a frame, sparse points.

    World origin: the first posed camera. Unit: the median depth of the sparse points, so speeds of clips compare.
    A backend that was given its poses keeps the world and the unit of their file instead.

    metric_hint_sigma_log  set when the unit claims to be the metre: standard deviation of the logarithm of that
                           claim. The trajectory is UP_TO_SCALE all the same; a scale cue may vote 1.0 from it.
    depth                  of a backend that finds it with the poses, in their unit; no depth estimator runs then.

    lens  of the frames as they were given, when it bends straight lines; None when they are a pinhole's already. With
          a lens, every intrinsics row is the one pinhole (`lens.default_pinhole()`) that the frames are delivered in
          from here on, and px everywhere else in the estimate are its px.

    Raises InputError when a lens comes with rows of several pinholes, or of another size.
    `quality` is what the backend measured of its own result, one row a frame; None when it measures nothing.
    `dynamic` is where the picture moves on its own, for backends that look for it.
    `core_seconds` are CPU seconds of parts of its work that are worth telling apart, by name; they decide no byte.
    """

    trajectory: Trajectory
    intrinsics: tuple[Intrinsics, ...]
    points: Points
    metric_hint_sigma_log: float | None = None
    depth: DepthMap | None = None
    lens: Lens | None = None
    quality: PoseQuality | None = None
    dynamic: DynamicMask | None = None
    core_seconds: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.lens is None:
            return
        sizes = {(row.width, row.height) for row in self.intrinsics} | {(self.lens.width, self.lens.height)}
        if len(set(self.intrinsics)) != 1 or len(sizes) != 1:
            raise InputError(
                "pose estimate: expected one pinhole of the lens's size for all frames of a clip with a lens"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """A cue or filter had nothing to go by, and why."""

    reason: str


class PluginConfig(Protocol):
    """What every config tells the runner for the provenance.

    One with weights also has fields `weights_hash`, their sha256, and `weights_licence`, which its labels inherit. One
    that is a network says `on_gpu: ClassVar[bool] = True`: it is for a worker with a GPU, where there are any.
    """

    name: ClassVar[str]
    licence: ClassVar[str]


def on_gpu(config: PluginConfig) -> bool:
    """Whether a part is for a worker with a GPU."""
    return bool(getattr(config, "on_gpu", False))


@runtime_checkable
class ReadsBeside(Protocol):
    """A config, or a part of one, that reads files beside a clip unless a file was named."""

    @property
    def reads_beside(self) -> bool:
        """Whether it does so now."""
        ...

    def beside(self, file: ClipFile) -> tuple[Path, ...]:
        """Those that are there; a folder stands for all files in it."""
        ...


class PoseEstimator(Protocol):
    """Cameras of a clip from its frames."""

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        """Poses of every frame it can stand by; NoTrajectory when the clip has none; ClipError on failure.

        `prior` is what is known of the camera beforehand, None when nothing is; a backend that calibrates itself
        starts there and weighs it by its sigma, one that cannot use it leaves it.
        """
        ...


class PoseConfig(PluginConfig, Protocol):
    """Frozen settings of a PoseEstimator."""

    def build(self, device: str) -> PoseEstimator:
        """The part itself, on `device` ("cpu", "cuda:0")."""
        ...


class DepthEstimator(Protocol):
    """Depth of some frames of a clip whose cameras are known."""

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        """z-depth of some frames, in the unit of the annotation's trajectory."""
        ...


class DepthConfig(PluginConfig, Protocol):
    """Frozen settings of a DepthEstimator."""

    def build(self, device: str) -> DepthEstimator:
        """The part itself, on `device` ("cpu", "cuda:0")."""
        ...


class ScaleCue(Protocol):
    """One reason to believe how many metres a trajectory unit has."""

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        """Metres per trajectory unit of an UP_TO_SCALE annotation.

        `file` is the clip on disk, for cues that read more than pixels: telemetry, EXIF, a sidecar that was named.
        """
        ...


class ScaleConfig(PluginConfig, Protocol):
    """Frozen settings of a ScaleCue."""

    def build(self, device: str) -> ScaleCue:
        """The part itself, on `device` ("cpu", "cuda:0")."""
        ...


class Captioner(Protocol):
    """Puts what a clip shows into words."""

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption | Unmeasured:
        """A text on the scene, not on the camera; Unmeasured when there is none to be had, ClipError on failure."""
        ...


class CaptionConfig(PluginConfig, Protocol):
    """Frozen settings of a Captioner."""

    def build(self, device: str) -> Captioner:
        """The part itself, on `device` ("cpu", "cuda:0")."""
        ...


class FootageFilter(Protocol):
    """Measures the picture, before pose: it sees every frame once, in one pass that all filters share, then answers."""

    def see(self, picture: Picture) -> None:
        """Take in the next frame; what is kept must not grow with the clip by more than a few numbers a frame."""
        ...

    def verdict(self, facts: DecodeFacts) -> Verdict:
        """One value from the pixels alone, before any pose exists."""
        ...


class FootageFilterConfig(PluginConfig, Protocol):
    """Frozen settings of a FootageFilter."""

    def build(self, device: str) -> FootageFilter:
        """The part itself, on `device` ("cpu", "cuda:0")."""
        ...


class TrajectoryFilter(Protocol):
    """Measures the annotation, after pose and scale."""

    def measure(self, annotation: Annotation) -> Verdict:
        """One value from the annotation; UNMEASURED when it has no trajectory."""
        ...


class TrajectoryFilterConfig(PluginConfig, Protocol):
    """Frozen settings of a TrajectoryFilter."""

    def build(self, device: str) -> TrajectoryFilter:
        """The part itself, on `device` ("cpu", "cuda:0")."""
        ...


FilterConfig = FootageFilterConfig | TrajectoryFilterConfig
