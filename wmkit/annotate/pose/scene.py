"""Every frame and every track as one scene: resection, triangulation and outlier removal on flat numpy arrays.

The scene is what the final bundle adjustment refines; pycolmap objects appear only where its solvers are called.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.colmap_import import pycolmap
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array, invert_rigid

__all__ = [
    "Scene",
    "drop_outliers",
    "longest_tracks",
    "refine_poses",
    "resect",
    "scene_from_model",
    "span",
    "triangulate",
    "widest_angle_deg",
]

Indices = NDArray[np.intp]
REWEIGHTINGS = 10
FAR_PX = 1e6  # stands for the error of a point behind the camera


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Cameras, points and the observations that tie them; all of one clip, without lens distortion.

    cam_from_world  (N, 4, 4); NaN rows are frames without a pose.
    focal           (N,) px; one value for all unless the clip zooms.
    zooms           every frame has a focal length of its own.
    centre          (2,) px, principal point of all frames.
    xyz             (M, 3), one row a track; NaN rows are tracks without a point.
    obs_frame       (K,) frame of each observation, increasing.
    obs_track       (K,) track of each observation.
    obs_xy          (K, 2) px, pixel centres at half-integers.
    size            (width, height) px of the frames.
    focal_prior     (mean, sigma) px of what is known of the focal length beforehand; None: nothing.
    """

    cam_from_world: Array
    focal: Array
    centre: Array
    xyz: Array
    obs_frame: Indices
    obs_track: Indices
    obs_xy: Array
    size: tuple[int, int]
    zooms: bool = False
    focal_prior: tuple[float, float] | None = None

    @property
    def posed(self) -> NDArray[np.bool_]:
        """(N,) frames that have a pose."""
        return np.isfinite(self.cam_from_world[:, 0, 0])

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(K,) observations whose frame has a pose and whose track has a point."""
        return self.posed[self.obs_frame] & np.isfinite(self.xyz[self.obs_track, 0])

    def in_camera(self) -> Array:
        """(K, 3) the observed point in its camera's coordinates; NaN where unusable."""
        pose = self.cam_from_world[self.obs_frame]
        return np.einsum("kij,kj->ki", pose[:, :3, :3], self.xyz[self.obs_track]) + pose[:, :3, 3]

    def error_px(self) -> Array:
        """(K,) reprojection error; infinite behind the camera, NaN where unusable."""
        point = self.in_camera()
        with np.errstate(divide="ignore", invalid="ignore"):
            projected = self.focal[self.obs_frame, None] * point[:, :2] / point[:, 2:] + self.centre
            error = np.linalg.norm(projected - self.obs_xy, axis=1)
        return np.where(point[:, 2] <= 0, np.inf, error)

    @property
    def median_px(self) -> float:
        """Median reprojection error of the usable observations."""
        return float(np.median(self.error_px()[self.usable]))

    @property
    def unusual(self) -> float:
        """How far the focal length is from its prior's, as a log ratio; 0 without a prior, or with a zoom."""
        if self.focal_prior is None or self.zooms:
            return 0.0
        return abs(float(np.log(np.median(self.focal) / self.focal_prior[0])))

    def rays(self) -> Array:
        """(K, 3) unit directions of the observations in their cameras."""
        ray = (self.obs_xy - self.centre) / self.focal[self.obs_frame, None]
        ray = np.concatenate([ray, np.ones((len(ray), 1))], axis=1)
        return ray / np.linalg.norm(ray, axis=1, keepdims=True)

    def keep(self, mask: NDArray[np.bool_]) -> "Scene":
        """The scene with the observations of `mask` (K,) alone."""
        return replace(self, obs_frame=self.obs_frame[mask], obs_track=self.obs_track[mask], obs_xy=self.obs_xy[mask])

    def at_frames(self, frames: Indices, min_length: int = 3) -> "Scene":
        """The scene as those frames alone see it; points that fewer than `min_length` of them see are gone."""
        wanted = np.isin(np.arange(len(self.cam_from_world)), frames)
        scene = self.keep(wanted[self.obs_frame])
        scene = replace(scene, cam_from_world=np.where(wanted[:, None, None], self.cam_from_world, np.nan))
        length = np.bincount(scene.obs_track[scene.usable], minlength=len(self.xyz))
        return replace(scene, xyz=np.where((length < min_length)[:, None], np.nan, self.xyz))


def scene_from_model(tracks: Tracks, model: "pycolmap.Reconstruction", mapped: Tracks, centre: Array) -> Scene:
    """The mapper's keyframes and points (image id = frame + 1), with all observations of all frames of `tracks`.

    `mapped` are the tracks, of the same ids, that the mapper was given.

    Focal lengths come from the keyframes' cameras, log-linearly in between where these differ.
    """
    frame = np.concatenate([np.full(len(ids), index) for index, ids in enumerate(tracks.ids)]).astype(np.intp)
    track = np.concatenate(tracks.ids).astype(np.intp)
    cam_from_world = np.full((len(tracks), 4, 4), np.nan)
    xyz = np.full((len(tracks.rgb), 3), np.nan)
    registered = sorted(model.reg_image_ids())
    for image_id in registered:
        cam_from_world[image_id - 1] = np.eye(4)
        cam_from_world[image_id - 1, :3] = model.image(image_id).cam_from_world().matrix()
    for point in model.points3D.values():
        element = point.track.elements[0]
        xyz[mapped.ids[element.image_id - 1][element.point2D_idx]] = point.xyz
    focal = [model.camera(model.image(image_id).camera_id).params[0] for image_id in registered]
    focal = np.maximum(focal, 1.0)  # a mapper that ran off may end below zero
    between = np.interp(np.arange(len(tracks)), np.array(registered) - 1, np.log(focal))
    return Scene(
        cam_from_world=cam_from_world,
        focal=np.exp(between) if np.ptp(focal) > 0 else np.full(len(tracks), focal[0]),
        centre=np.asarray(centre, np.float64),
        xyz=xyz,
        obs_frame=frame,
        obs_track=track,
        obs_xy=np.concatenate(tracks.xy).astype(np.float64),
        size=(tracks.width, tracks.height),
        zooms=bool(np.ptp(focal) > 0),
    )


def longest_tracks(scene: Scene, count: int) -> Scene:
    """The scene with the `count` points alone that most frames see, of those that three do.

    Frames that see fewer than eight of them have no pose any more.
    """
    length = np.bincount(scene.obs_track[scene.usable], minlength=len(scene.xyz))
    chosen = np.argsort(-length, kind="stable")[:count]
    thin = scene.keep(np.isin(scene.obs_track, chosen[length[chosen] >= 3]))
    seen = np.bincount(thin.obs_frame[thin.usable], minlength=len(scene.cam_from_world))
    return thin.at_frames(np.flatnonzero(seen >= 8))


def _camera(scene: Scene, frame: int) -> "pycolmap.Camera":
    width, height = scene.size
    params = [float(scene.focal[frame]), *scene.centre.tolist()]
    return pycolmap.Camera(model="SIMPLE_PINHOLE", width=width, height=height, params=params)


def resect(scene: Scene, max_error_px: float, min_inliers: int) -> Scene:
    """Pose every frame without one from the points it sees (P3P in LO-RANSAC, then refined)."""
    cam_from_world = scene.cam_from_world.copy()
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = max_error_px
    options.ransac.random_seed = 0
    known = np.isfinite(scene.xyz[scene.obs_track, 0])
    for frame in np.flatnonzero(~scene.posed).tolist():
        at = span(scene, frame)
        at = at[known[at]]
        if len(at) < min_inliers:
            continue
        points = scene.xyz[scene.obs_track[at]]
        found = pycolmap.estimate_and_refine_absolute_pose(scene.obs_xy[at], points, _camera(scene, frame), options)
        if found is not None and found["num_inliers"] >= min_inliers:
            cam_from_world[frame] = np.eye(4)
            cam_from_world[frame, :3] = found["cam_from_world"].matrix()
    return replace(scene, cam_from_world=cam_from_world)


def refine_poses(scene: Scene, frames: Indices, loss_px: float, min_inliers: int) -> Scene:
    """Poses of `frames` at the minimum of the Cauchy reprojection loss, the points held; unposed ones stay so."""
    cam_from_world = scene.cam_from_world.copy()
    options = pycolmap.AbsolutePoseRefinementOptions()
    options.loss_function_scale = loss_px
    usable = scene.usable
    for frame in frames.tolist():
        at = span(scene, frame)
        at = at[usable[at]]
        if len(at) < min_inliers:
            continue
        start = pycolmap.Rigid3d(cam_from_world[frame, :3])
        points, inlier = scene.xyz[scene.obs_track[at]], np.ones(len(at), np.bool_)
        found = pycolmap.refine_absolute_pose(start, scene.obs_xy[at], points, inlier, _camera(scene, frame), options)
        if found is not None:
            cam_from_world[frame, :3] = found["cam_from_world"].matrix()
    return replace(scene, cam_from_world=cam_from_world)


def span(scene: Scene, frame: int) -> Indices:
    """Positions of a frame's observations."""
    return np.arange(*np.searchsorted(scene.obs_frame, [frame, frame + 1]))


def triangulate(scene: Scene, max_error_px: float, min_angle_deg: float, *, robust: bool = False) -> Scene:
    """Give a point to every track without one that three posed frames agree on, to `max_error_px`.

    The point nearest to all rays in the least-squares sense, in closed form for all tracks at once. `robust`: to
    most of its rays, by reweighting, and no more than half of its observations need agree.
    """
    at = np.flatnonzero(scene.posed[scene.obs_frame] & ~np.isfinite(scene.xyz[scene.obs_track, 0]))
    track, count = np.unique(scene.obs_track[at], return_counts=True)
    at = at[np.isin(scene.obs_track[at], track[count >= 3])]
    if len(at) == 0:
        return scene
    track, row = np.unique(scene.obs_track[at], return_inverse=True)
    world_from_cam = invert_rigid(scene.cam_from_world)[scene.obs_frame[at]]
    ray = np.einsum("kij,kj->ki", world_from_cam[:, :3, :3], scene.rays()[at])
    across, origin = np.eye(3) - ray[:, :, None] * ray[:, None, :], world_from_cam[:, :3, 3]

    def with_points(weight: Array) -> tuple[Scene, Array]:
        xyz = scene.xyz.copy()
        xyz[track] = _nearest_points(weight[:, None, None] * across, origin, row)
        trial = replace(scene, xyz=xyz)
        return trial, np.nan_to_num(trial.error_px()[at], nan=FAR_PX, posinf=FAR_PX)

    trial, error_px = with_points(np.ones(len(at)))
    for _ in range(REWEIGHTINGS if robust else 0):
        weight = 1 / (1 + (error_px / np.maximum(_middle(error_px, row)[row], 0.5)) ** 2)
        trial, error_px = with_points(weight)
    worst = np.zeros(len(track))
    np.maximum.at(worst, row, error_px)
    lost = (_middle(error_px, row) if robust else worst) > max_error_px
    trial.xyz[track[lost | (widest_angle_deg(trial, track) < min_angle_deg)]] = np.nan
    return trial


def _middle(values: Array, row: Indices) -> Array:
    """(M,) upper median of the values (K,) of each `row` (K,)."""
    order = np.lexsort((values, row))
    size = np.bincount(row)
    return values[order[np.cumsum(size) - size + size // 2]]


def _nearest_points(across: Array, origin: Array, row: Indices) -> Array:
    """(M, 3) points nearest to the rays of each `row` (K,), from `origin` (K, 3), by weighted projectors (K, 3, 3)."""
    count = int(row.max()) + 1
    normal, moment = np.zeros((count, 3, 3)), np.zeros((count, 3))
    np.add.at(normal, row, across)
    np.add.at(moment, row, np.einsum("kij,kj->ki", across, origin))
    solvable = np.linalg.cond(normal) < 1e12
    point = np.full((count, 3), np.nan)
    point[solvable] = np.linalg.solve(normal[solvable], moment[solvable][:, :, None])[:, :, 0]
    return point


def widest_angle_deg(scene: Scene, track: Indices) -> Array:
    """Per track: angle at its point between the first ray and the one farthest from it."""
    at = np.flatnonzero(scene.usable)
    center = -np.einsum("nji,nj->ni", scene.cam_from_world[:, :3, :3], scene.cam_from_world[:, :3, 3])
    ray = scene.xyz[scene.obs_track[at]] - center[scene.obs_frame[at]]
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-300)
    owner, first = np.unique(scene.obs_track[at], return_index=True)
    reference = np.zeros((len(scene.xyz), 3))
    reference[owner] = ray[first]
    cosine = np.ones(len(scene.xyz))
    np.minimum.at(cosine, scene.obs_track[at], (ray * reference[scene.obs_track[at]]).sum(1))
    return np.degrees(np.arccos(np.clip(cosine[track], -1, 1)))


def drop_outliers(scene: Scene, max_error_px: float, min_angle_deg: float, min_inliers: int) -> Scene:
    """Remove bad observations, then points seen by under three frames or without parallax, then starved frames."""
    with np.errstate(invalid="ignore"):
        bad = scene.usable & ~(scene.error_px() <= max_error_px)
    scene = scene.keep(~bad)
    length = np.bincount(scene.obs_track[scene.usable], minlength=len(scene.xyz))
    lost = (length < 3) | (widest_angle_deg(scene, np.arange(len(scene.xyz))) < min_angle_deg)
    scene = replace(scene, xyz=np.where(lost[:, None], np.nan, scene.xyz))
    seen = np.bincount(scene.obs_frame[scene.usable], minlength=len(scene.cam_from_world))
    starved = (seen < min_inliers)[:, None, None]
    return replace(scene, cam_from_world=np.where(starved, np.nan, scene.cam_from_world))
