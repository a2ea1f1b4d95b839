"""The camera's height above the ground gives the scale: the ground plane is found among the sparse points.

Up is gravity's where telemetry knows it; else the cameras are taken to be roughly upright, and up is their mean up
axis (−y). The ground is the best-supported plane below the cameras whose normal lies near up. RANSAC (Fischler
& Bolles 1981) finds it, iteratively reweighted least squares (Tukey's biweight) refines it. World points are in
trajectory units.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.annotate.scale.upright import camera_up, gravity_up
from wmkit.camera import Array, ScaleVote, Trajectory
from wmkit.clip import Annotation, rng_for
from wmkit.errors import InputError
from wmkit.telemetry import Sidecars, read_telemetry
from wmkit.video.frames import ClipFile

__all__ = ["CameraHeightConfig"]

HYPOTHESES = 2000  # finds a plane that only 15 % of the points lie on: (1 − 0.15³)^2000 = 0.1 % to miss it
SCORED_POINTS = 4000  # more points sharpen no vote between hypotheses
MIN_DEPRESSION = np.sin(np.radians(2))  # points nearer the horizon than this say nothing about the ground
MAX_SIGMA_LOG = 0.35  # a fit worse than this spans a factor of four at 95 %: no measurement
FOCAL_SIGMA = 0.015  # a focal length found from the pictures: its error stretches heights against a path forwards
RELIEF = 0.5  # of the layer's thickness is ground: the rest are the points' own errors (calibrated: `bench scale`)
MAX_CONDITION = 1e12  # beyond: the ground points lie on one line
MAX_HEIGHT_SPREAD = 0.5  # of the height, 10th to 90th percentile of frames: the cue says it is one height
BELOW_PENALTY = 2.0  # nothing lies below the ground: a table top loses against the floor it stands on


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraHeightConfig:
    """The camera was `height_m` above the ground.

    height_sigma   relative standard deviation of `height_m`; 3 % (5 cm for a car's roof) is our assumption.
    sidecars       where gravity may be read from; None: nowhere.
    max_tilt_deg   largest angle between the ground's normal and the cameras' mean up axis; `max_slope_deg` between it
                   and gravity's.
    tolerance      a point lies on the plane within this share of its distance from the nearest camera.
    min_points     fewer points on the plane are not a ground; nor are fewer than `min_share` of those below.
    Raises InputError unless `height_m` is positive and finite and `height_sigma` in [0, 1).
    """

    height_m: float
    height_sigma: float = 0.03
    sidecars: Sidecars | None = None
    max_tilt_deg: float = 25.0
    max_slope_deg: float = 12.0
    tolerance: float = 0.03
    min_points: int = 30
    min_share: float = 0.1
    name: ClassVar[str] = "camera_height"
    licence: ClassVar[str] = "Apache-2.0"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.height_m) and self.height_m > 0):
            raise InputError(f"--camera-height: expected a positive number of metres, got {self.height_m}")
        if not 0 <= self.height_sigma < 1:
            raise InputError(f"height_sigma: expected a share of the height in [0, 1), got {self.height_sigma}")

    def build(self, device: str) -> ScaleCue:
        """The cue; `device` is not used."""
        return _CameraHeight(self)


@dataclass(frozen=True, slots=True)
class _CameraHeight:
    config: CameraHeightConfig

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        trajectory = annotation.trajectory
        if trajectory is None:
            return Unmeasured(reason="no_trajectory")
        if annotation.points is None:
            return Unmeasured(reason="no_points")
        camera = trajectory.position[trajectory.posed]
        up, tilt_deg = self._up(annotation, trajectory, file)
        if up is None:
            return Unmeasured(reason="no_upright_camera")
        centre = camera.mean(axis=0)
        camera = camera - centre
        points, distance = _below(annotation.points.xyz - centre, camera, up)
        if len(points) < self.config.min_points:
            return Unmeasured(reason="too_few_ground_points")
        rng = rng_for(annotation.provenance.seed, annotation.clip.id, "scale.camera_height")
        plane = _ransac(points, distance, camera, (up, tilt_deg), self.config, rng)
        if plane is None:
            return Unmeasured(reason="no_ground_plane")
        plane, plane_sigma, count = _refine(points, self.config.tolerance * distance, plane)
        height = camera @ plane[:3] + plane[3]
        median = float(np.median(height))
        if count < max(self.config.min_points, self.config.min_share * len(points)) or median <= 0:
            return Unmeasured(reason="no_ground_plane")
        spread = np.array(
            [plane_sigma / median, _sigma_of_mean(height) / median, self.config.height_sigma, FOCAL_SIGMA]
        )
        sigma_log = float(np.sqrt(spread @ spread))
        if sigma_log > MAX_SIGMA_LOG:
            return Unmeasured(reason="ground_plane_too_uncertain")
        return ScaleVote(cue=CameraHeightConfig.name, value=self.config.height_m / median, sigma_log=sigma_log)

    def _up(self, annotation: Annotation, trajectory: Trajectory, file: ClipFile) -> tuple[Array | None, float]:
        """Up in the world, and the largest angle that the ground's normal may make with it."""
        if self.config.sidecars is not None:
            telemetry = read_telemetry(file, annotation.view, annotation.clip.span_s[0], self.config.sidecars)
            up = None if telemetry.gravity is None else gravity_up(trajectory, telemetry.gravity)
            if up is not None:
                return up, self.config.max_slope_deg
        return camera_up(trajectory), self.config.max_tilt_deg


def _below(xyz: Array, camera: Array, up: Array) -> tuple[Array, Array]:
    """Points (K, 3) that their nearest camera sees at least 2° below its horizon, and their distance (K,) from it."""
    from scipy.spatial import KDTree

    if len(xyz) == 0:
        return xyz, np.zeros(0)
    distance, nearest = KDTree(camera).query(xyz)
    drop = (camera[nearest] - xyz) @ up
    kept = drop > MIN_DEPRESSION * distance
    return xyz[kept], distance[kept]


def _ransac(
    points: Array,
    distance: Array,
    camera: Array,
    upward: tuple[Array, float],
    config: CameraHeightConfig,
    rng: np.random.Generator,
) -> Array | None:
    """(4,) plane n·x + d, n up and of unit length, of the hypothesis with the best score; None when none fits.

    `upward` is up and the largest angle in degrees between it and n.
    """
    up, tilt_deg = upward
    corner = points[rng.integers(len(points), size=(HYPOTHESES, 3))]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=1)
    normal *= np.where(normal @ up < 0, -1.0, 1.0)[:, None] / np.maximum(length, np.finfo(float).tiny)[:, None]
    offset = -np.einsum("ij,ij->i", normal, corner[:, 0])
    some = camera[:: 1 + len(camera) // 200]
    low, height, high = np.percentile(some @ normal.T + offset, [10, 50, 90], axis=0)
    usable = (length > 0) & (normal @ up > np.cos(np.radians(tilt_deg)))
    usable &= (low > 0) & (high - low < MAX_HEIGHT_SPREAD * height)
    if not usable.any():
        return None
    normal, offset = normal[usable], offset[usable]
    scored = rng.permutation(len(points))[:SCORED_POINTS]
    score = np.empty(len(normal))
    for index in range(len(normal)):
        # In shares of the distance, not of the height: else a plane far below would be granted a wide reach.
        residual = (points[scored] @ normal[index] + offset[index]) / (config.tolerance * distance[scored])
        score[index] = np.maximum(1 - residual**2, 0).sum() - BELOW_PENALTY * (residual < -3).sum()
    best = int(np.argmax(score))
    return np.append(normal[best], offset[best])


def _refine(points: Array, limit: Array, plane: Array) -> tuple[Array, float, int]:
    """Plane (4,), sigma of its distance from the origin, count of its points (within `limit` (K,) of it).

    Solved as z = a·x + b·y + c in axes whose z is the current normal, with Tukey weights over limit², since points
    err in proportion to their distance. Sigma joins two errors: the fit's, cluster-robust (Liang & Zeger 1986), as
    residuals in one cell of ground, two camera heights wide, share its relief and count as one; and a part of the
    thickness of the layer of points, as no statistic says whether the camera stood on the road or on its kerb.
    """
    sigma, count = 0.0, 0
    for _ in range(10):
        residual = points @ plane[:3] + plane[3]
        weight = np.where(np.abs(residual) < limit, (1 - (residual / limit) ** 2) ** 2 / limit**2, 0.0)
        basis = np.linalg.svd(plane[None, :3])[2][1:]  # two axes in the plane
        design = np.column_stack([points @ basis.T, np.ones(len(points))])
        information = design.T @ (weight[:, None] * design)
        count = int((weight > 0).sum())
        if count < 3 or np.linalg.cond(information) > MAX_CONDITION:
            return plane, sigma, 0
        inverse = np.linalg.inv(information)
        fit = inverse @ (design.T @ (weight * residual))
        pull = (weight * (residual - design @ fit))[:, None] * design
        cell = np.unique(np.floor(design[:, :2] / (2 * abs(plane[3]))), axis=0, return_inverse=True)[1].ravel()
        cluster = np.stack([np.bincount(cell, weights=column) for column in pull.T], axis=1)
        thickness = np.sqrt(weight @ (residual - design @ fit) ** 2 / weight.sum())
        sigma = float(np.hypot(np.linalg.norm(cluster @ inverse[:, 2]), RELIEF * thickness))
        normal = plane[:3] - fit[0] * basis[0] - fit[1] * basis[1]
        plane = np.append(normal, plane[3] - fit[2]) / np.linalg.norm(normal)
    return plane, sigma, count


def _sigma_of_mean(height: Array) -> float:
    """Standard error of the mean of a series (N,) whose neighbours are alike: AR(1) effective sample size."""
    deviation = height - height.mean()
    power = float(deviation @ deviation)
    if power == 0:
        return 0.0
    likeness = min(max(float(deviation[1:] @ deviation[:-1]) / power, 0.0), 1.0)
    effective = max(len(height) * (1 - likeness) / (1 + likeness), 1.0)
    return float(np.sqrt(power / len(height) / effective))
