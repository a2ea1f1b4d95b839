"""THE camera convention of wmkit: intrinsics, trajectories and what their unit is. numpy only.

Axes are OpenCV's (x right, y down, z forward). A transform is named by its two frames: `world_from_cam` maps a
point in camera coordinates to world coordinates, so adjacent names cancel when transforms are composed. Pixel
(0, 0) covers [0, 1)², its centre is (0.5, 0.5): resizing an image multiplies fx, fy, cx and cy alike.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import InputError
from wmkit.lens_models import MODELS, distort, undistort

__all__ = [
    "CameraPrior",
    "Intrinsics",
    "Lens",
    "ScaleEstimate",
    "ScaleKind",
    "ScaleVote",
    "Trajectory",
    "cross_matrices",
    "frozen_array",
    "invert_rigid",
]

Array = NDArray[np.float64]
MAX_PINHOLE_FOV_DEG = 120.0  # beyond it a plane spends nearly all its pixels on the rim; no training clip is wider
ORTHONORMAL_TOLERANCE = 1e-6  # float64 rotations from a quaternion are good to 1e-15; float32 files to about 1e-7


class ScaleKind(StrEnum):
    """What one unit of translation is: `METRIC` is metres, `UP_TO_SCALE` is an unknown multiple of a metre."""

    METRIC = "metric"
    UP_TO_SCALE = "up_to_scale"


def frozen_array(value: object, dtype: type, shape: tuple[int | None, ...], name: str) -> NDArray:
    """Copy `value` into a read-only array of `dtype`; `None` in `shape` accepts any length.

    Raises InputError naming the expected and the given shape.
    """
    array = np.array(value, dtype=dtype)
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        want = "(" + ", ".join("N" if size is None else str(size) for size in shape) + ")"
        raise InputError(f"{name}: expected shape {want}, got {array.shape}")
    array.flags.writeable = False
    return array


def invert_rigid(b_from_a: Array) -> Array:
    """Inverse of rigid transforms (..., 4, 4): `a_from_b`. Exact transpose, no matrix solve; NaN rows stay NaN."""
    rotation_t = np.swapaxes(b_from_a[..., :3, :3], -1, -2)
    a_from_b = np.zeros_like(b_from_a)
    a_from_b[..., :3, :3] = rotation_t
    a_from_b[..., :3, 3] = -(rotation_t @ b_from_a[..., :3, 3:])[..., 0]
    a_from_b[..., 3, 3] = 1.0
    a_from_b[np.isnan(b_from_a[..., 0, 0])] = np.nan
    return a_from_b


def cross_matrices(vectors: Array) -> Array:
    """(M, 3, 3) matrices of the cross products with (M, 3)."""
    x, y, z = vectors.T
    zero = np.zeros(len(vectors))
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrinsics:
    """Pinhole camera of one frame: focal lengths and principal point in px, image size in px.

    Raises InputError if a value is not finite, or a focal length or size is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        row = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(row).all():
            raise InputError(f"intrinsics: expected finite fx fy cx cy, got {row}")
        if min(self.fx, self.fy, self.width, self.height) <= 0:
            raise InputError(
                f"intrinsics: expected positive focal lengths and size, got fx={self.fx} fy={self.fy} "
                f"size={self.width}x{self.height}"
            )

    @classmethod
    def from_fov(cls, fov_x_deg: float, width: int, height: int) -> "Intrinsics":
        """Square pixels, centred principal point, horizontal field of view in degrees."""
        if not 0 < fov_x_deg < 180:
            raise InputError(f"fov_x_deg: expected a value in (0, 180), got {fov_x_deg}")
        focal = width / 2 / float(np.tan(np.radians(fov_x_deg) / 2))
        return cls(fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height)

    @property
    def matrix(self) -> Array:
        """K (3, 3): pixel = K @ camera point, pixel centres at half-integers."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def row(self) -> Array:
        """(4,) fx fy cx cy in px."""
        return np.array([self.fx, self.fy, self.cx, self.cy], dtype=np.float64)

    @property
    def fov_x_deg(self) -> float:
        """Horizontal field of view in degrees, from the left to the right image border."""
        return float(np.degrees(np.arctan2(self.cx, self.fx) + np.arctan2(self.width - self.cx, self.fx)))

    @property
    def fov_y_deg(self) -> float:
        """Vertical field of view in degrees, from the top to the bottom image border."""
        return float(np.degrees(np.arctan2(self.cy, self.fy) + np.arctan2(self.height - self.cy, self.fy)))

    def resized(self, width: int, height: int) -> "Intrinsics":
        """The camera after the image was resampled to `width` x `height` px."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy, width=width, height=height
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPrior:
    """What is known of a clip's camera before its pixels are looked at, and how well.

    fx, fy     px of the output frames.
    cx, cy     px likewise; both None: not known, the middle of the frame is the best guess.
    sigma_log  standard deviation of the focal length's natural logarithm: 0.01 is about one percent. Never 0: no
               camera is known exactly.
    source     where it comes from, in words for people: "flag --fov-deg 60", "exif FocalLengthIn35mmFilm 28 mm".

    Raises InputError when a number is not finite or not positive, or only one of cx and cy is given.
    """

    fx: float
    fy: float
    cx: float | None
    cy: float | None
    sigma_log: float
    source: str

    def __post_init__(self) -> None:
        if not (np.isfinite((self.fx, self.fy)).all() and min(self.fx, self.fy) > 0):
            raise InputError(f"camera prior: expected positive focal lengths, got fx={self.fx} fy={self.fy}")
        if (self.cx is None) != (self.cy is None):
            raise InputError(f"camera prior: expected cx and cy or neither, got cx={self.cx} cy={self.cy}")
        if self.cx is not None and self.cy is not None and not np.isfinite((self.cx, self.cy)).all():
            raise InputError(f"camera prior: expected a finite principal point, got cx={self.cx} cy={self.cy}")
        if not (np.isfinite(self.sigma_log) and self.sigma_log > 0):
            raise InputError(f"camera prior: expected sigma_log > 0, got {self.sigma_log}")
        if not self.source:
            raise InputError("camera prior: expected the name of its source, got none")

    def intrinsics(self, width: int, height: int) -> Intrinsics:
        """The camera of output frames of `width` x `height` px; their middle where the principal point is unknown."""
        cx = width / 2 if self.cx is None else self.cx
        cy = height / 2 if self.cy is None else self.cy
        return Intrinsics(fx=self.fx, fy=self.fy, cx=cx, cy=cy, width=width, height=height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """A source camera with radial distortion, in px of the upright frames at output size, not yet undistorted.

    model          COLMAP's name: SIMPLE_RADIAL, RADIAL, OPENCV, or one of these with _FISHEYE.
    params         its parameters in COLMAP's order: f or fx fy, cx cy (px), then the distortion coefficients.
    width, height  px of those frames.

    Raises InputError for another model, a wrong number of parameters, one that is not finite, or no focal length.
    """

    model: str
    params: tuple[float, ...]
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise InputError(f"lens: expected one of the models {', '.join(MODELS)}, got {self.model!r}")
        params = tuple(float(value) for value in self.params)
        if len(params) != MODELS[self.model].count or not np.isfinite(params).all():
            raise InputError(
                f"lens: expected {MODELS[self.model].count} finite parameters of {self.model}, got {params}"
            )
        object.__setattr__(self, "params", params)
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "height", int(self.height))
        _ = self.undistorted_core  # its own check: positive focal lengths and size

    @property
    def undistorted_core(self) -> Intrinsics:
        """The lens without its distortion: the pinhole it is at its principal point."""
        focals = MODELS[self.model].focals
        fx, fy, (cx, cy) = self.params[0], self.params[focals - 1], self.params[focals : focals + 2]
        return Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=self.width, height=self.height)

    def to_pinhole(self, xy: Array, pinhole: Intrinsics) -> Array:
        """Where points (K, 2) px of the distorted picture lie in the undistorted one of `pinhole`, (K, 2) px.

        NaN where the model cannot be inverted: beyond its fold, or 90° and more off a fisheye's axis.
        """
        core = self.undistorted_core.row
        ray = undistort(MODELS[self.model], self._coefficients, (_points(xy) - core[2:]) / core[:2])
        return ray * pinhole.row[:2] + pinhole.row[2:]

    def from_pinhole(self, xy: Array, pinhole: Intrinsics) -> Array:
        """The other way: undistorted (K, 2) px of `pinhole` to distorted (K, 2) px; NaN beyond the fold."""
        core = self.undistorted_core.row
        ray = (_points(xy) - pinhole.row[2:]) / pinhole.row[:2]
        return distort(MODELS[self.model], self._coefficients, ray) * core[:2] + core[2:]

    def default_pinhole(self) -> Intrinsics:
        """The widest pinhole of the same size and principal point that shows nothing but the source picture.

        Both focal lengths are the lens's times one factor, the smallest at which every output pixel's centre falls
        between centres of source pixels and neither side sees more than `MAX_PINHOLE_FOV_DEG`. Raises InputError
        when there is none, which takes a lens that folds about its centre.
        """
        low, high = 2.0**-10, 2.0**10
        if not self._is_filled(self._scaled_core(high)):
            raise InputError(f"lens: expected a {self.model} that shows a picture around its centre, got {self.params}")
        for _ in range(64):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if self._is_filled(self._scaled_core(middle)) else (middle, high)
        return self._scaled_core(high)

    def resized(self, width: int, height: int) -> "Lens":
        """The lens of the pictures resampled to `width` x `height` px; one focal length becomes two if it must."""
        sx, sy = width / self.width, height / self.height
        core, coefficients = self.undistorted_core.resized(width, height), tuple(self._coefficients)
        if sx == sy or MODELS[self.model].focals == 2:
            focals = (core.fx, core.fy)[: MODELS[self.model].focals]
            return Lens(model=self.model, params=(*focals, core.cx, core.cy, *coefficients), width=width, height=height)
        model = "OPENCV_FISHEYE" if MODELS[self.model].fisheye else "OPENCV"
        missing = MODELS[model].count - 4 - len(coefficients)
        params = (core.fx, core.fy, core.cx, core.cy, *coefficients, *(0.0,) * missing)
        return Lens(model=model, params=params, width=width, height=height)

    @property
    def _coefficients(self) -> Array:
        return np.array(self.params[MODELS[self.model].focals + 2 :], dtype=np.float64)

    def _scaled_core(self, factor: float) -> Intrinsics:
        core = self.undistorted_core
        return Intrinsics(
            fx=core.fx * factor, fy=core.fy * factor, cx=core.cx, cy=core.cy, width=self.width, height=self.height
        )

    def _is_filled(self, pinhole: Intrinsics) -> bool:
        """Whether the outermost pixels have a source; the map bends without tearing, so all inside them then have."""
        if max(pinhole.fov_x_deg, pinhole.fov_y_deg) > MAX_PINHOLE_FOV_DEG:
            return False
        x = np.arange(self.width, dtype=np.float64) + 0.5
        y = np.arange(self.height, dtype=np.float64) + 0.5
        last = np.array([self.width - 0.5, self.height - 0.5])
        rows = [np.column_stack([x, np.full_like(x, end)]) for end in (0.5, last[1])]
        columns = [np.column_stack([np.full_like(y, end), y]) for end in (0.5, last[0])]
        border = np.concatenate([*rows, *columns])
        source = self.from_pinhole(border, pinhole)
        slack_px = 1e-6  # a lens without distortion is its own pinhole, whatever the rounding
        return bool(((source >= 0.5 - slack_px) & (source <= last + slack_px)).all())  # NaN is neither


def _points(xy: Array) -> Array:
    array = np.asarray(xy, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(f"lens: expected points of shape (K, 2), got {array.shape}")
    return array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """One camera pose a frame, with the unit of its translations.

    world_from_cam  (N, 4, 4) float64, OpenCV axes; rows where `posed` is false are NaN, never interpolated.
    time_s          (N,) float64, strictly increasing.
    posed           (N,) bool.
    scale           METRIC: translations are metres; UP_TO_SCALE: an unknown multiple.
    covariance      (N, 6, 6) float64 or None: right-multiplied tangent, order (rotation rad, translation in the
                    trajectory's unit), gauge fixed at the first posed frame (whose rows are zero); NaN where a
                    frame is unposed.

    Raises InputError when a shape, rotation, time or covariance breaks these rules.
    """

    world_from_cam: Array
    time_s: Array
    posed: NDArray[np.bool_]
    scale: ScaleKind
    covariance: Array | None = None

    def __post_init__(self) -> None:
        poses = frozen_array(self.world_from_cam, np.float64, (None, 4, 4), "world_from_cam")
        count = len(poses)
        time_s = frozen_array(self.time_s, np.float64, (count,), "time_s")
        posed = frozen_array(self.posed, np.bool_, (count,), "posed")
        if count == 0:
            raise InputError("trajectory: expected at least one frame, got none")
        if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
            raise InputError("time_s: expected finite, strictly increasing seconds")
        _check_poses(poses, posed)
        object.__setattr__(self, "world_from_cam", poses)
        object.__setattr__(self, "time_s", time_s)
        object.__setattr__(self, "posed", posed)
        object.__setattr__(self, "scale", ScaleKind(self.scale))
        if self.covariance is not None:
            covariance = frozen_array(self.covariance, np.float64, (count, 6, 6), "covariance")
            _check_covariance(covariance, posed)
            object.__setattr__(self, "covariance", covariance)

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def cam_from_world(self) -> Array:
        """(N, 4, 4) inverse of `world_from_cam`; NaN where unposed."""
        return invert_rigid(self.world_from_cam)

    @property
    def rotation(self) -> Array:
        """(N, 3, 3) world-from-camera rotations; NaN where unposed."""
        return self.world_from_cam[:, :3, :3]

    @property
    def position(self) -> Array:
        """(N, 3) camera centres in the world, in the trajectory's unit; NaN where unposed."""
        return self.world_from_cam[:, :3, 3]

    @property
    def path_length(self) -> float:
        """Length of the line through the posed camera centres, in the trajectory's unit."""
        return float(np.linalg.norm(np.diff(self.position[self.posed], axis=0), axis=1).sum())

    def metric_copy(self, factor: float) -> "Trajectory":
        """METRIC trajectory with translations multiplied by `factor`. Only `Annotation.to_metric` calls this."""
        poses = self.world_from_cam.copy()
        poses[:, :3, 3] *= factor
        covariance = None
        if self.covariance is not None:
            unit = np.array([1, 1, 1, factor, factor, factor], dtype=np.float64)
            covariance = self.covariance * unit[:, None] * unit[None, :]
        return Trajectory(
            world_from_cam=poses, time_s=self.time_s, posed=self.posed, scale=ScaleKind.METRIC, covariance=covariance
        )


def _check_poses(poses: Array, posed: NDArray[np.bool_]) -> None:
    if not np.isnan(poses[~posed]).all():
        raise InputError("world_from_cam: expected NaN in every row whose `posed` is false")
    kept = poses[posed]
    if not np.isfinite(kept).all():
        raise InputError("world_from_cam: expected finite numbers in every posed row")
    if (kept[:, 3] != np.array([0, 0, 0, 1])).any():
        raise InputError("world_from_cam: expected the last row of every pose to be 0 0 0 1")
    rotation = kept[:, :3, :3]
    error = np.abs(rotation @ np.swapaxes(rotation, 1, 2) - np.eye(3)).max(initial=0.0)
    if error > ORTHONORMAL_TOLERANCE or (np.linalg.det(rotation) < 0).any():
        raise InputError(
            f"world_from_cam: expected rotations (orthonormal, det +1), got an orthonormality error of {error:.2e}"
        )


def _check_covariance(covariance: Array, posed: NDArray[np.bool_]) -> None:
    if not np.isnan(covariance[~posed]).all() or not np.isfinite(covariance[posed]).all():
        raise InputError("covariance: expected finite values in posed rows and NaN in the others")
    kept = covariance[posed]
    size = np.abs(kept).max(axis=(1, 2), initial=0.0)
    if (np.abs(kept - np.swapaxes(kept, 1, 2)).max(axis=(1, 2), initial=0.0) > 1e-9 * size).any():
        raise InputError("covariance: expected symmetric matrices")
    if (np.linalg.eigvalsh(kept)[:, 0] < -1e-9 * size).any():
        raise InputError("covariance: expected no negative eigenvalue")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleVote:
    """One cue's opinion: metres per trajectory unit, and the standard deviation of its natural logarithm.

    frame_factors: (frame, metres per unit by that frame alone), frames increasing; () for a cue that has none. Their
    spread is what SANA-WM's scale-variation filter goes by.
    """

    cue: str
    value: float
    sigma_log: float
    frame_factors: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and self.value > 0):
            raise InputError(f"scale of cue {self.cue}: expected a positive number, got {self.value}")
        if not (np.isfinite(self.sigma_log) and self.sigma_log >= 0):
            raise InputError(f"sigma_log of cue {self.cue}: expected a number >= 0, got {self.sigma_log}")
        frames = [frame for frame, _ in self.frame_factors]
        if frames != sorted(set(frames)) or not all(np.isfinite(f) and f > 0 for _, f in self.frame_factors):
            raise InputError(f"frame factors of cue {self.cue}: expected increasing frames and positive numbers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEstimate:
    """Metres per trajectory unit with a 95 % log-normal interval, and the cues that voted.

    disagreement: largest |log ratio| between two votes in units of their joint sigma; None with a single cue.
    """

    value: float
    low: float
    high: float
    votes: tuple[ScaleVote, ...]
    disagreement: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite((self.value, self.low, self.high)).all() and self.value > 0):
            raise InputError(f"scale: expected a positive finite value and interval, got {self.value}")
        if not 0 < self.low <= self.value <= self.high:
            raise InputError(f"scale: expected 0 < low <= value <= high, got {self.low}, {self.value}, {self.high}")
        if not self.votes:
            raise InputError("scale: expected at least one cue's vote, got none")
