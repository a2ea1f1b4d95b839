"""The camera's height above the ground gives the scale: the ground plane is found among the sparse points.

Gravity is unknown, so the camera is taken to be roughly upright: the ground is the best-supported plane below the
cameras whose normal lies within `max_tilt_deg` of their mean up axis (−y). RANSAC (Fischler & Bolles 1981) finds
it, iteratively reweighted least squares (Tukey's biweight) refines it. World points are in trajectory units.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.camera import Array, ScaleVote
from wmkit.clip import Annotation, rng_for
from wmkit.errors import InputError

__all__ = ["CameraHeightConfig"]

HYPOTHESES = 2000  # finds a plane that only 15 % of the points lie on: (1 − 0.15³)^2000 = 0.1 % to miss it
SCORED_POINTS = 4000  # more points sharpen no vote between hypotheses
MIN_DEPRESSION = np.sin(np.radians(2))  # points nearer the horizon than this say nothing about the ground
MAX_SIGMA_LOG = 0.35  # a fit worse than this spans a factor of four at 95 %: no measurement
BELOW_PENALTY = 2.0  # nothing lies below the ground: a table top loses against the floor it stands on


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraHeightConfig:
    """The camera was `height_m` above the ground.

    height_sigma   relative standard deviation of `height_m`; 3 % (5 cm for a car's roof) is our assumption.
    max_tilt_deg   largest angle between the ground's normal and the cameras' mean up axis.
    tolerance      a point within this share of the camera height of the plane lies on it.
    min_points     fewer points on the plane are not a ground; nor are fewer than `min_share` of those below.
    Raises InputError unless `height_m` is positive and finite and `height_sigma` in [0, 1).
    """

    height_m: float
    height_sigma: float = 0.03
    max_tilt_deg: float = 25.0
    tolerance: float = 0.05
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

    def vote(self, annotation: Annotation) -> ScaleVote | Unmeasured:
        trajectory = annotation.trajectory
        if trajectory is None:
            return Unmeasured(reason="no_trajectory")
        if annotation.points is None:
            return Unmeasured(reason="no_points")
        camera = trajectory.position[trajectory.posed]
        up = -trajectory.rotation[trajectory.posed][:, :, 1].mean(axis=0)
        if len(camera) == 0 or np.linalg.norm(up) < np.cos(np.radians(60)):  # it rolled about: no common up
            return Unmeasured(reason="no_upright_camera")
        points = _below(annotation.points.xyz, camera, up / np.linalg.norm(up))
        if len(points) < self.config.min_points:
            return Unmeasured(reason="too_few_ground_points")
        rng = rng_for(annotation.provenance.seed, annotation.clip.id, "scale.camera_height")
        plane = _ransac(points, camera, up / np.linalg.norm(up), self.config, rng)
        if plane is None:
            return Unmeasured(reason="no_ground_plane")
        return self._measure(points, camera, plane)

    def _measure(self, points: Array, camera: Array, plane: Array) -> ScaleVote | Unmeasured:
        plane, covariance, count = _refine(points, camera, plane, self.config.tolerance)
        if count < max(self.config.min_points, self.config.min_share * len(points)):
            return Unmeasured(reason="no_ground_plane")
        height = camera @ plane[:3] + plane[3]
        median = float(np.median(height))
        if median <= 0:
            return Unmeasured(reason="no_ground_plane")
        footprint = np.append(camera.mean(axis=0), 1.0)  # where the fitted plane is asked for the height
        plane_sigma = np.sqrt(footprint @ covariance @ footprint) / median
        frame_sigma = _sigma_of_mean(height) / median
        sigma_log = float(np.sqrt(plane_sigma**2 + frame_sigma**2 + self.config.height_sigma**2))
        if sigma_log > MAX_SIGMA_LOG:
            return Unmeasured(reason="ground_plane_too_uncertain")
        return ScaleVote(cue=CameraHeightConfig.name, value=self.config.height_m / median, sigma_log=sigma_log)


def _below(xyz: Array, camera: Array, up: Array) -> Array:
    """Points (K, 3) that their nearest camera sees at least 2° below its horizon, under `up` (3,)."""
    from scipy.spatial import KDTree

    if len(xyz) == 0:
        return xyz
    distance, nearest = KDTree(camera).query(xyz)
    drop = (camera[nearest] - xyz) @ up
    return xyz[drop > MIN_DEPRESSION * distance]


def _ransac(
    points: Array, camera: Array, up: Array, config: CameraHeightConfig, rng: np.random.Generator
) -> Array | None:
    """(4,) plane n·x + d, n up and of unit length, of the hypothesis with the best score; None when none fits."""
    corner = points[rng.integers(len(points), size=(HYPOTHESES, 3))]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=1)
    normal *= np.where(normal @ up < 0, -1.0, 1.0)[:, None] / np.maximum(length, np.finfo(float).tiny)[:, None]
    offset = -np.einsum("ij,ij->i", normal, corner[:, 0])
    height = np.median(camera @ normal.T + offset, axis=0)
    usable = (length > 0) & (normal @ up > np.cos(np.radians(config.max_tilt_deg))) & (height > 0)
    if not usable.any():
        return None
    normal, offset, height = normal[usable], offset[usable], height[usable]
    scored = points[rng.permutation(len(points))[:SCORED_POINTS]]
    score = np.empty(len(normal))
    for index in range(len(normal)):
        residual = (scored @ normal[index] + offset[index]) / (config.tolerance * height[index])
        score[index] = (np.abs(residual) < 1).sum() - BELOW_PENALTY * (residual < -3).sum()
    best = int(np.argmax(score))
    return np.append(normal[best], offset[best])


def _refine(points: Array, camera: Array, plane: Array, tolerance: float) -> tuple[Array, Array, int]:
    """Plane (4,), covariance (4, 4) of its signed distance function and the count of its points.

    The plane is z = a·x + b·y + c in axes whose z is the current normal, solved with Tukey weights.
    """
    covariance, count = np.zeros((4, 4)), 0
    for _ in range(10):
        limit = tolerance * float(np.median(camera @ plane[:3] + plane[3]))
        residual = points @ plane[:3] + plane[3]
        weight = np.where(np.abs(residual) < limit, (1 - (residual / limit) ** 2) ** 2, 0.0)
        count = int((weight > 0).sum())
        if limit <= 0 or count < 3:
            return plane, covariance, 0
        basis = np.linalg.svd(plane[None, :3])[2][1:]  # two axes in the plane
        design = np.column_stack([points @ basis.T, np.ones(len(points))])
        information = design.T @ (weight[:, None] * design)
        inverse = np.linalg.pinv(information, hermitian=True)
        fit = inverse @ (design.T @ (weight * residual))
        # Sandwich: the residuals' own spread, whatever the weights are, decides how far the fit may be off.
        meat = design.T @ ((weight * (residual - design @ fit)) ** 2)[:, None] * design
        normal = plane[:3] - fit[0] * basis[0] - fit[1] * basis[1]
        plane = np.append(normal, plane[3] - fit[2]) / np.linalg.norm(normal)
        to_world = np.zeros((4, 3))
        to_world[:3, :2], to_world[3, 2] = basis.T, 1.0
        covariance = to_world @ inverse @ meat @ inverse @ to_world.T
    return plane, covariance, count


def _sigma_of_mean(height: Array) -> float:
    """Standard error of the mean of a series (N,) whose neighbours are alike: AR(1) effective sample size."""
    deviation = height - height.mean()
    power = float(deviation @ deviation)
    if power == 0:
        return 0.0
    likeness = min(max(float(deviation[1:] @ deviation[:-1]) / power, 0.0), 1.0)
    effective = max(len(height) * (1 - likeness) / (1 + likeness), 1.0)
    return float(np.sqrt(power / len(height) / effective))
