"""What is known about one clip: identity, how its frames derive from the source, depth, verdicts, annotation.

numpy only. Everything checks itself when made, so a bad array dies at birth and not in training step 40 000.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, CameraPrior, Intrinsics, Lens, ScaleEstimate, ScaleKind, Trajectory, frozen_array
from wmkit.caption import Caption
from wmkit.errors import InputError

__all__ = [
    "QUALITY_ROWS",
    "Absence",
    "Annotation",
    "BackendRecord",
    "Clip",
    "Confidence",
    "DepthMap",
    "DynamicMask",
    "MeasureState",
    "NoTrajectory",
    "Points",
    "PoseQuality",
    "Provenance",
    "SidecarRecord",
    "SourceView",
    "Verdict",
    "rng_for",
]


def rng_for(seed: int, clip_id: str, purpose: str) -> np.random.Generator:
    """Random generator that is a pure function of (run seed, clip id, purpose): the same on 1 or 64 workers."""
    digest = hashlib.sha256(f"{seed}\0{clip_id}\0{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Identity of a clip, nothing else.

    id        32 hex digits: hash of the content's hash and the span.
    source    path below the input root, posix separators: a name for people and exports.
    span_s    (start, end) in the source's own seconds, half open.
    width     of the upright source picture, px, square pixels, before any resize.
    height    likewise.
    fps       native mean rate, 1/s.
    """

    id: str
    source: str
    span_s: tuple[float, float]
    width: int
    height: int
    fps: float

    def __post_init__(self) -> None:
        if not self.id or set(self.id) - set("0123456789abcdef"):
            raise InputError(f"clip id: expected lower-case hex digits, got {self.id!r}")
        if not self.span_s[0] < self.span_s[1]:
            raise InputError(f"clip span: expected start < end in seconds, got {self.span_s}")
        if self.width < 1 or self.height < 1 or not self.fps > 0:
            raise InputError(f"clip: expected positive size and fps, got {self.width}x{self.height} at {self.fps}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceView:
    """How every output frame is derived again from the source: decode, rotate, resize, undistort.

    decoder             name of the decoder that read it.
    decoded_width       px, as stored, before rotation and sample aspect ratio.
    decoded_height      likewise.
    rotation_deg        clockwise turn that makes the stored picture upright: 0, 90, 180 or 270.
    sample_aspect_ratio width of a stored pixel over its height.
    width, height       px, size of the output frames.
    pts_s               (N,) float64: presentation time in the source's own seconds of every output frame.
    lens                of the upright, resized frames, when they were undistorted after that; None when they were not.
    pinhole             the camera they were undistorted to, given with a lens only.
    """

    decoder: str
    decoded_width: int
    decoded_height: int
    rotation_deg: int
    sample_aspect_ratio: float
    width: int
    height: int
    pts_s: Array
    lens: Lens | None = None
    pinhole: Intrinsics | None = None

    def __post_init__(self) -> None:
        pts_s = frozen_array(self.pts_s, np.float64, (None,), "pts_s")
        if len(pts_s) == 0 or not np.isfinite(pts_s).all() or (np.diff(pts_s) <= 0).any():
            raise InputError("pts_s: expected at least one frame, finite and strictly increasing seconds")
        if self.rotation_deg not in (0, 90, 180, 270):
            raise InputError(f"rotation_deg: expected 0, 90, 180 or 270, got {self.rotation_deg}")
        if min(self.decoded_width, self.decoded_height, self.width, self.height) < 1:
            raise InputError("source view: expected positive sizes")
        if not self.sample_aspect_ratio > 0:
            raise InputError(f"sample_aspect_ratio: expected a positive number, got {self.sample_aspect_ratio}")
        if (self.lens is None) != (self.pinhole is None):
            raise InputError("source view: expected a lens and the pinhole it was undistorted to, or neither")
        for camera in (self.lens, self.pinhole):
            if camera is not None and (camera.width, camera.height) != (self.width, self.height):
                raise InputError(
                    f"source view: expected a lens and a pinhole of {self.width}x{self.height} px, "
                    f"got {camera.width}x{camera.height}"
                )
        object.__setattr__(self, "pts_s", pts_s)

    def __len__(self) -> int:
        return len(self.pts_s)

    @property
    def time_s(self) -> Array:
        """(N,) seconds since the first output frame: the clip's own clock."""
        return self.pts_s - self.pts_s[0]

    def undistorted(self, lens: Lens, pinhole: Intrinsics) -> "SourceView":
        """The view after the frames were undistorted; InputError when the sizes differ."""
        return dataclasses.replace(self, lens=lens, pinhole=pinhole)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthMap:
    """z-depth of a few frames of one clip.

    frame  (K,) int64, indices of output frames, increasing.
    z      (K, h, w) float32, distance along the camera's z axis (never along the ray), in the unit of `scale`.
    valid  (K, h, w) bool; where false, z means nothing (it is stored as 0).
    confidence  (K, h, w) float32, 0 to 1: the backend's probability that z is within 5 % of the truth, once the
                clip's scale is right; 0 where `valid` is false. None when the backend knows none.
    Intrinsics are the frame's, `resized(w, h)`.
    """

    frame: NDArray[np.int64]
    z: NDArray[np.float32]
    valid: NDArray[np.bool_]
    scale: ScaleKind
    confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        frame = frozen_array(self.frame, np.int64, (None,), "depth frame")
        valid = frozen_array(self.valid, np.bool_, (len(frame), None, None), "depth valid")
        z = np.where(valid, np.asarray(self.z, dtype=np.float32), np.float32(0))
        z = frozen_array(z, np.float32, valid.shape, "depth z")
        if len(frame) == 0 or (frame < 0).any() or (np.diff(frame) <= 0).any():
            raise InputError("depth frame: expected at least one index, increasing, none negative")
        if not (np.isfinite(z[valid]).all() and (z[valid] > 0).all()):
            raise InputError("depth z: expected positive finite depth wherever `valid` is true")
        for name, value in (("frame", frame), ("valid", valid), ("z", z), ("scale", ScaleKind(self.scale))):
            object.__setattr__(self, name, value)
        if self.confidence is not None:
            sure = frozen_array(self.confidence, np.float32, valid.shape, "depth confidence")
            sure = frozen_array(np.where(valid, sure, np.float32(0)), np.float32, valid.shape, "depth confidence")
            if not ((sure >= 0) & (sure <= 1)).all():
                raise InputError("depth confidence: expected numbers from 0 to 1 wherever `valid` is true")
            object.__setattr__(self, "confidence", sure)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DynamicMask:
    """Where the picture moves on its own, in some frames, as far as was seen.

    frame  (K,) int64 output-frame indices, increasing.
    mask   (K, h, w) bool: of h x w equal cells of the (undistorted) output frame, from its top left corner, 64 along
           the long side by the default backend, those that show something moving; all false is "nothing seen to".
    """

    frame: NDArray[np.int64]
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        frame = frozen_array(self.frame, np.int64, (None,), "dynamic frame")
        mask = frozen_array(self.mask, np.bool_, (len(frame), None, None), "dynamic mask")
        if mask.size == 0 or (frame < 0).any() or (np.diff(frame) <= 0).any():
            raise InputError("dynamic frame: expected at least one index, increasing, none negative, and cells")
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "mask", mask)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """Sparse triangulated points.

    xyz           (M, 3) float64, world, in the trajectory's unit.
    rgb           (M, 3) uint8.
    error_px      (M,) float32: mean reprojection error over the frames that see the point, px of the output frames.
    track_length  (M,) int32: how many frames see it.
    """

    xyz: Array
    rgb: NDArray[np.uint8]
    error_px: NDArray[np.float32]
    track_length: NDArray[np.int32]

    def __post_init__(self) -> None:
        xyz = frozen_array(self.xyz, np.float64, (None, 3), "points xyz")
        if not np.isfinite(xyz).all():
            raise InputError("points xyz: expected finite coordinates")
        object.__setattr__(self, "xyz", xyz)
        object.__setattr__(self, "rgb", frozen_array(self.rgb, np.uint8, (len(xyz), 3), "points rgb"))
        error_px = frozen_array(self.error_px, np.float32, (len(xyz),), "points error_px")
        object.__setattr__(self, "error_px", error_px)
        length = frozen_array(self.track_length, np.int32, (len(xyz),), "points track_length")
        object.__setattr__(self, "track_length", length)

    def __len__(self) -> int:
        return len(self.xyz)


QUALITY_ROWS = (
    "reprojection_px",
    "inlier_ratio",
    "parallax_deg",
    "rotation_disagreement_deg",
    "position_disagreement",
)
"""The per-frame arrays of `PoseQuality`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseQuality:
    """How well a trajectory is supported: evidence of the pose backend, free of any unit of length.

    Per frame, (N,) float64, each >= 0 or NaN where it is unknown (above all, where a frame is unposed):

    reprojection_px            median reprojection error of the points the frame sees, px of the output frames.
    inlier_ratio               share of the frame's observations that the model explains, 0 to 1.
    parallax_deg               median triangulation angle of the points the frame sees, degrees.
    rotation_disagreement_deg  between two estimates made independently, degrees; NaN where the second has no pose.
    position_disagreement      likewise, as a share of the path length.

    features  (name, number) of the whole clip in a fixed order, each finite or NaN: what a calibration reads.

    Raises InputError when lengths differ, a number is infinite or negative, or a feature is named twice.
    """

    reprojection_px: Array
    inlier_ratio: Array
    parallax_deg: Array
    rotation_disagreement_deg: Array
    position_disagreement: Array
    features: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.reprojection_px)
        for name in QUALITY_ROWS:
            row = frozen_array(getattr(self, name), np.float64, (count,), f"quality {name}")
            if np.isinf(row).any() or (row < 0).any():
                raise InputError(f"quality {name}: expected numbers >= 0, or NaN where a frame has none")
            object.__setattr__(self, name, row)
        if (self.inlier_ratio > 1).any():
            raise InputError("quality inlier_ratio: expected shares of at most 1")
        features = tuple((str(name), float(value)) for name, value in self.features)
        names = [name for name, _ in features]
        if len(set(names)) != len(names):
            raise InputError(f"quality features: expected every name once, got {names}")
        infinite = [name for name, value in features if np.isinf(value)]
        if infinite:
            raise InputError(f"quality features: expected finite numbers or NaN, got an infinite {infinite[0]}")
        object.__setattr__(self, "features", features)

    def __len__(self) -> int:
        return len(self.reprojection_px)

    def feature(self, name: str) -> float:
        """A clip-level number; NaN when the backend could not measure it or knows none of that name."""
        return dict(self.features).get(name, float("nan"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confidence:
    """How far a trajectory can be trusted: the backend's evidence, and one calibrated probability.

    p_good       probability that the rotation error is below 1.5 degrees and the absolute trajectory error below 2 %
                 of the path, 0 to 1; None when no calibration speaks for this backend, and `reason` says so.
    calibration  name of the calibration that read the evidence; "" without p_good.
    """

    quality: PoseQuality
    p_good: float | None = None
    calibration: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.p_good is None:
            if not self.reason or self.calibration:
                raise InputError("confidence: expected a reason and no calibration without p_good")
        elif not 0 <= self.p_good <= 1 or not self.calibration or self.reason:
            raise InputError(f"confidence: expected p_good in [0, 1] from a named calibration, got {self.p_good}")


class MeasureState(StrEnum):
    """Whether a filter could measure its quantity."""

    MEASURED = "measured"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One filter's measurement of one clip; it decides nothing. Make it with `measured` or `unmeasured`."""

    name: str
    value: float | None
    unit: str
    state: MeasureState
    reason: str = ""

    def __post_init__(self) -> None:
        if self.state is MeasureState.MEASURED:
            if self.value is None or not np.isfinite(self.value):
                raise InputError(f"verdict {self.name}: expected a finite value when measured, got {self.value}")
        elif self.value is not None or not self.reason:
            raise InputError(f"verdict {self.name}: expected no value and a reason when unmeasured")

    @classmethod
    def measured(cls, name: str, value: float, unit: str) -> "Verdict":
        """A finite value in `unit` ("" for a pure number)."""
        return cls(name=name, value=float(value), unit=unit, state=MeasureState.MEASURED)

    @classmethod
    def unmeasured(cls, name: str, unit: str, reason: str) -> "Verdict":
        """The filter could not measure, and why."""
        return cls(name=name, value=None, unit=unit, state=MeasureState.UNMEASURED, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRecord:
    """Which part did the work: `part` is pose, depth, ...; `weights_hash` is None for a part without weights."""

    part: str
    name: str
    version: str
    licence: str
    weights_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarRecord:
    """What was read besides the pixels: `kind` is gpmf, exif, gpx or csv; `sha256` of the bytes it was read from."""

    name: str
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How an annotation came to be; written by the runner, never by a plug-in."""

    tool_version: str
    config_hash: str
    input_hash: str
    seed: int
    backends: tuple[BackendRecord, ...]
    sidecars: tuple[SidecarRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTrajectory:
    """Why a clip has no trajectory: `reason` is a stable word (static, too_few_tracks, ...), `detail` one line.

    A camera that only turns has no translation to report, but its rotations are exact all the same:

    rotation  (N, 3, 3) float64, world from camera, the first frame's is the identity; None for any other reason.
    focal_px  of the output frames, as good as turning tells it; None likewise.
    """

    reason: str
    detail: str
    rotation: Array | None = field(default=None, compare=False)
    focal_px: float | None = None

    def __post_init__(self) -> None:
        if self.rotation is None:
            return
        rotation = frozen_array(self.rotation, np.float64, (None, 3, 3), "rotation")
        if not (np.abs(rotation @ np.swapaxes(rotation, 1, 2) - np.eye(3)).max(initial=0.0) < 1e-6):
            raise InputError("no trajectory: expected orthonormal rotations of every frame")
        object.__setattr__(self, "rotation", rotation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A part that was asked for and could not answer: `part` is scale or depth, `name` the plug-in, and why."""

    part: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotation:
    """Everything annotate found out about one clip.

    Exactly one of `trajectory` and `no_trajectory` is given; `intrinsics` has one row a frame when there is a
    trajectory and none otherwise, every row `view.pinhole` if the frames were undistorted; `scale` is given iff the
    trajectory is METRIC; depth shares its unit. `confidence` is there when the pose backend measured its own quality.
    `absences` says of every cue and depth backend that ran in vain why it did. `prior` is what was known of the camera
    before the pixels were looked at. `metric_hint_sigma_log`: the pose backend's poses claim to be in metres, with this
    standard deviation of the claim's logarithm; None when nothing claims it.
    """

    clip: Clip
    view: SourceView
    verdicts: tuple[Verdict, ...]
    provenance: Provenance
    trajectory: Trajectory | None = None
    no_trajectory: NoTrajectory | None = None
    intrinsics: tuple[Intrinsics, ...] = ()
    points: Points | None = None
    depth: DepthMap | None = None
    scale: ScaleEstimate | None = None
    absences: tuple[Absence, ...] = ()
    prior: CameraPrior | None = None
    metric_hint_sigma_log: float | None = None
    confidence: Confidence | None = None
    dynamic: DynamicMask | None = None
    caption: Caption | None = None

    def __post_init__(self) -> None:
        hint = self.metric_hint_sigma_log
        if hint is not None and not (np.isfinite(hint) and hint >= 0 and self.trajectory is not None):
            raise InputError(f"annotation: expected a trajectory and a metric hint >= 0, got {hint}")
        if (self.trajectory is None) == (self.no_trajectory is None):
            raise InputError("annotation: expected either a trajectory or the reason why there is none")
        names = [verdict.name for verdict in self.verdicts]
        if len(set(names)) != len(names):
            raise InputError(f"annotation: expected one verdict a filter, got {sorted(names)}")
        if self.trajectory is None:
            if self.intrinsics or any((self.points, self.depth, self.scale, self.confidence, self.dynamic)):
                raise InputError(
                    "annotation: expected no intrinsics, points, depth, scale, confidence or mask without a trajectory"
                )
            return
        self._check_trajectory(self.trajectory)

    def _check_trajectory(self, trajectory: Trajectory) -> None:
        if not len(trajectory) == len(self.view) == len(self.intrinsics):
            raise InputError(
                f"annotation: expected as many poses as frames and intrinsics, got {len(trajectory)}, "
                f"{len(self.view)} and {len(self.intrinsics)}"
            )
        size = (self.view.width, self.view.height)
        if any((row.width, row.height) != size for row in self.intrinsics):
            raise InputError(f"annotation: expected intrinsics for frames of {size[0]}x{size[1]} px")
        if self.view.pinhole is not None and set(self.intrinsics) != {self.view.pinhole}:
            raise InputError("annotation: expected the pinhole that the frames were undistorted to in every row")
        if (trajectory.scale is ScaleKind.METRIC) != (self.scale is not None):
            raise InputError("annotation: expected a scale estimate exactly when the trajectory is metric")
        if self.confidence is not None and len(self.confidence.quality) != len(trajectory):
            raise InputError(
                f"annotation: expected as many rows of quality as frames, got {len(self.confidence.quality)} "
                f"and {len(trajectory)}"
            )
        if self.dynamic is not None and self.dynamic.frame[-1] >= len(trajectory):
            raise InputError("annotation: a mask's frame lies beyond the last frame")
        if self.depth is not None:
            if self.depth.scale is not trajectory.scale:
                raise InputError("annotation: expected depth and trajectory in one unit")
            if self.depth.frame[-1] >= len(trajectory):
                raise InputError("annotation: a depth frame lies beyond the last frame")

    @property
    def intrinsics_rows(self) -> Array:
        """(N, 4) fx fy cx cy in px of the output frames; (0, 4) without a trajectory."""
        return np.array([row.row for row in self.intrinsics], dtype=np.float64).reshape(-1, 4)

    def verdict(self, name: str) -> Verdict:
        """The verdict of filter `name`; raises KeyError when that filter did not run."""
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        raise KeyError(name)

    def to_metric(self, scale: ScaleEstimate) -> "Annotation":
        """The one door from UP_TO_SCALE to METRIC: trajectory, covariance, points and depth together.

        Raises InputError if there is no trajectory or it is metric already.
        """
        if self.trajectory is None or self.trajectory.scale is ScaleKind.METRIC:
            raise InputError("to_metric: expected an annotation whose trajectory is up to scale")
        points, depth = self.points, self.depth
        if points is not None:
            points = dataclasses.replace(points, xyz=points.xyz * scale.value)
        if depth is not None:
            depth = dataclasses.replace(depth, z=depth.z * np.float32(scale.value), scale=ScaleKind.METRIC)
        trajectory = self.trajectory.metric_copy(scale.value)
        return dataclasses.replace(self, trajectory=trajectory, points=points, depth=depth, scale=scale)
