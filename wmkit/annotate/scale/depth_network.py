"""A network that sees metres in one picture: its depth over the trajectory's, frame by frame, and their robust mean.

Per frame the factor is s = argmin Σ w (s·d − D)² over the sparse points in view, d their depth in trajectory units, D
the network's metres, w = 1/d as in SANA-WM (App. B.1), on the points within reach of the median ratio, since a point
another surface hides has the wrong D. Frames are averaged in log space by Huber's M-estimator. Frames share the
network's bias on a scene, so its own sigma does not shrink with their number.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.local_model import model_folder, weights_hash
from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.camera import Array, Intrinsics, ScaleVote
from wmkit.clip import Annotation
from wmkit.errors import InputError
from wmkit.spread import evenly_spread
from wmkit.video import VideoConfig, open_view
from wmkit.video.frames import ClipFile

__all__ = [
    "DepthNetworkConfig",
    "MetricDepthPredictor",
    "factor_of_frame",
    "local_weights",
    "mean_factor",
    "metric_predictor",
    "named_network",
    "seen_at_points",
    "vote_of_factors",
]

NETWORK_SIGMA_LOG = 0.15  # of a scene's bias: zero-shot metric networks err by 10 to 20 % of the depth
MIN_POINTS = 20
MIN_FRAMES = 1
REACH_LOG = 0.7  # a ratio off the frame's median by more than a factor of two is another surface
HUBER = 1.345
MAX_SIGMA_LOG = 0.5


class MetricDepthPredictor(Protocol):
    """Depth in metres of one picture."""

    def metres(self, rgb: NDArray[np.uint8], camera: Intrinsics) -> NDArray[np.float32]:
        """(h, w) z-depth in metres of an RGB picture (h, w, 3), NaN where the network does not know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthNetworkConfig:
    """Weights on this machine; nothing is downloaded.

    path     folder of a transformers depth-estimation model that gives metres, or a MoGe-2 checkpoint (.pt).
    weights  sha256 of the weight files, part of the config so that other weights are another config.
    video    how frames are delivered, as the annotation's were.
    frames   pictures looked at, spread evenly over the posed ones.
    """

    path: str
    weights: str
    video: VideoConfig
    frames: int = 16
    sigma_log: float = NETWORK_SIGMA_LOG
    name: ClassVar[str] = "depth_network"
    on_gpu: ClassVar[bool] = True
    licence: ClassVar[str] = "Apache-2.0"  # of this adapter: the weights have their own

    def build(self, device: str) -> ScaleCue:
        """The cue; the network is loaded onto `device` when a clip first needs it."""
        return _DepthNetwork(self, device)


def named_network(path: Path, video: VideoConfig) -> DepthNetworkConfig:
    """What `--metric-depth PATH` means; InputError when the weights or their package are not here."""
    path, digest = local_weights(path, "--metric-depth")
    return DepthNetworkConfig(path=str(path), weights=digest, video=video)


def local_weights(path: Path, flag: str) -> tuple[Path, str]:
    """The absolute path and the sha256 of a network's weight files; InputError, under the name of the `flag`, when they
    or the package that runs them are not here.
    """
    path = path.absolute()
    if path.is_dir():
        return path, model_folder(path, flag)
    if not path.is_file() or path.suffix != ".pt":
        raise InputError(f"{flag} {path}: expected a transformers model folder or a MoGe-2 .pt file; check the path")
    return path, weights_hash([path], "moge", f"{flag} {path}")


@dataclass(frozen=True, slots=True)
class _DepthNetwork:
    config: DepthNetworkConfig
    device: str

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        trajectory = annotation.trajectory
        if trajectory is None:
            return Unmeasured(reason="no_trajectory")
        if annotation.points is None:
            return Unmeasured(reason="no_points")
        posed = np.flatnonzero(trajectory.posed)
        wanted = posed[evenly_spread(len(posed), self.config.frames)]
        predictor = metric_predictor(self.config.path, self.config.weights, self.device)
        factors = []
        for window in open_view(file, self.config.video, annotation.view).windows():
            for frame in wanted[(wanted >= window.start) & (wanted < window.start + len(window.rgb))]:
                metres = predictor.metres(window.rgb[frame - window.start], annotation.intrinsics[frame])
                factor = factor_of_frame(annotation, int(frame), metres)
                if factor is not None:
                    factors.append((int(frame), factor))
        return vote_of_factors(factors, self.config.sigma_log)


def factor_of_frame(annotation: Annotation, frame: int, metres: NDArray[np.float32]) -> float | None:
    """Metres per unit by one frame's depth (h, w), any size; None when too few points are in view of it."""
    depth, seen = seen_at_points(annotation, frame, metres)
    known = np.isfinite(seen) & (seen > 0)
    if known.sum() < MIN_POINTS:
        return None
    return _one_factor(depth[known], seen[known])


def seen_at_points(annotation: Annotation, frame: int, picture: NDArray[np.float32]) -> tuple[Array, Array]:
    """Depth (M,) in trajectory units of the sparse points in view of a frame, and what a map (h, w) of any size, such
    as a network's, holds where each is seen; none without points.
    """
    if annotation.trajectory is None or annotation.points is None:
        return np.zeros(0), np.zeros(0)
    pose, camera = annotation.trajectory.cam_from_world[frame], annotation.intrinsics[frame]
    local = annotation.points.xyz @ pose[:3, :3].T + pose[:3, 3]
    local = local[local[:, 2] > 0]
    place = local[:, :2] / local[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    height, width = picture.shape
    column = np.floor(place[:, 0] * width / camera.width)
    row = np.floor(place[:, 1] * height / camera.height)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = picture[row[inside].astype(int), column[inside].astype(int)].astype(np.float64)
    return local[inside, 2], seen


def _one_factor(depth: Array, seen: Array) -> float | None:
    """argmin over s of Σ (s·d − D)² / d, on the points whose ratio is near the median one."""
    ratio = np.log(seen / depth)
    kept = np.abs(ratio - np.median(ratio)) < REACH_LOG
    if kept.sum() < MIN_POINTS:
        return None
    depth, seen = depth[kept], seen[kept]
    weight = 1 / depth
    factor = float((weight * depth) @ seen / ((weight * depth) @ depth))
    return factor if factor > 0 else None


def mean_factor(factors: Array) -> tuple[float, float]:
    """Huber's mean of log factors (F,) and its standard error; the error of one alone is 0."""
    centre = float(np.median(factors))
    spread = 1.4826 * float(np.median(np.abs(factors - centre)))
    if len(factors) == 1 or spread == 0:
        return centre, 0.0
    weight = np.ones(len(factors))
    for _ in range(20):
        weight = np.minimum(1.0, HUBER * spread / np.maximum(np.abs(factors - centre), 1e-12))
        centre = float(weight @ factors / weight.sum())
    return centre, float(np.sqrt(weight @ (factors - centre) ** 2 / weight.sum() / len(factors)))


def vote_of_factors(factors: list[tuple[int, float]], sigma_log: float) -> ScaleVote | Unmeasured:
    """The vote of per-frame factors: their robust mean, the network's own sigma, and what the mean leaves open."""
    if len(factors) < MIN_FRAMES:
        return Unmeasured(reason="no_frame_with_points_and_depth")
    centre, error = mean_factor(np.log([factor for _, factor in factors]))
    # neighbours see the same things: a quarter as many frames are independent
    total = float(np.hypot(sigma_log, 2 * error))
    if total > MAX_SIGMA_LOG:
        return Unmeasured(reason="depth_network_inconsistent")
    return ScaleVote(
        cue=DepthNetworkConfig.name, value=float(np.exp(centre)), sigma_log=total, frame_factors=tuple(factors)
    )


def metric_predictor(path: str, weights: str, device: str, flag: str = "--metric-depth") -> MetricDepthPredictor:
    """The network at `path`, `weights` their sha256, loaded onto `device`; InputError when it gives no metres."""
    if Path(path).is_dir():
        from wmkit.annotate.scale.depth_transformers import loaded

        return loaded(path, weights, device, flag)
    from wmkit.annotate.scale.depth_moge import MogeDepth

    return MogeDepth(path, device)
