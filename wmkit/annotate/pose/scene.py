"""Every frame and every track as one scene: resection, triangulation and outlier removal on flat numpy arrays.

The scene is what the final bundle adjustment refines; pycolmap objects appear only where its solvers are called.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.colmap_import import pycolmap
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["Scene", "drop_outliers", "resect", "scene_from_model", "triangulate", "widest_angle_deg"]

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Cameras, points and the observations that tie them; all of one clip.

    cam_from_world  (N, 4, 4); NaN rows are frames without a pose.
    params          (focal, cx, cy) px, shared by all frames.
    xyz             (M, 3), one row a track; NaN rows are tracks without a point.
    obs_frame       (K,) frame of each observation, increasing.
    obs_track       (K,) track of each observation.
    obs_xy          (K, 2) px, pixel centres at half-integers.
    size            (width, height) px of the frames.
    """

    cam_from_world: Array
    params: Array
    xyz: Array
    obs_frame: Indices
    obs_track: Indices
    obs_xy: Array
    size: tuple[int, int]

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
            projected = self.params[0] * point[:, :2] / point[:, 2:] + self.params[1:]
            error = np.linalg.norm(projected - self.obs_xy, axis=1)
        return np.where(point[:, 2] <= 0, np.inf, error)

    def keep(self, mask: NDArray[np.bool_]) -> "Scene":
        """The scene with the observations of `mask` (K,) alone."""
        return replace(self, obs_frame=self.obs_frame[mask], obs_track=self.obs_track[mask], obs_xy=self.obs_xy[mask])


def scene_from_model(tracks: Tracks, model: "pycolmap.Reconstruction") -> Scene:
    """The mapper's keyframes and points (image id = frame + 1), with all observations of all frames."""
    count = [len(ids) for ids in tracks.ids]
    cam_from_world = np.full((len(tracks), 4, 4), np.nan)
    for image_id in sorted(model.reg_image_ids()):
        pose = np.eye(4)
        pose[:3] = model.image(image_id).cam_from_world().matrix()
        cam_from_world[image_id - 1] = pose
    xyz = np.full((len(tracks.rgb), 3), np.nan)
    for point_id in sorted(model.point3D_ids()):
        point = model.point3D(point_id)
        for element in point.track.elements:
            xyz[tracks.ids[element.image_id - 1][element.point2D_idx]] = point.xyz
    camera = next(iter(model.cameras.values()))
    return Scene(
        cam_from_world=cam_from_world,
        params=np.array(camera.params, dtype=np.float64),
        xyz=xyz,
        obs_frame=np.repeat(np.arange(len(tracks)), count),
        obs_track=np.concatenate(tracks.ids).astype(np.intp),
        obs_xy=np.concatenate(tracks.xy).astype(np.float64),
        size=(tracks.width, tracks.height),
    )


def resect(scene: Scene, max_error_px: float, min_inliers: int) -> Scene:
    """Pose every frame that sees enough known points (LO-RANSAC P3P, then refined); the others stay without."""
    cam_from_world = scene.cam_from_world.copy()
    width, height = scene.size
    camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=width, height=height, params=scene.params.tolist())
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = max_error_px
    options.ransac.random_seed = 0
    known = np.isfinite(scene.xyz[scene.obs_track, 0])
    for frame in np.flatnonzero(~scene.posed).tolist():
        at = np.flatnonzero((scene.obs_frame == frame) & known)
        if len(at) < min_inliers:
            continue
        points = scene.xyz[scene.obs_track[at]]
        found = pycolmap.estimate_and_refine_absolute_pose(scene.obs_xy[at], points, camera, options)
        if found is not None and found["num_inliers"] >= min_inliers:
            cam_from_world[frame] = np.eye(4)
            cam_from_world[frame, :3] = found["cam_from_world"].matrix()
    return replace(scene, cam_from_world=cam_from_world)


def triangulate(scene: Scene, max_error_px: float, min_angle_deg: float) -> Scene:
    """Give a point to every track without one that three posed frames agree on, to `max_error_px`.

    The point nearest to all rays in the least-squares sense, in closed form for all tracks at once.
    """
    at = np.flatnonzero(scene.posed[scene.obs_frame] & ~np.isfinite(scene.xyz[scene.obs_track, 0]))
    track, count = np.unique(scene.obs_track[at], return_counts=True)
    at = at[np.isin(scene.obs_track[at], track[count >= 3])]
    if len(at) == 0:
        return scene
    track, row = np.unique(scene.obs_track[at], return_inverse=True)
    world_from_cam = np.linalg.inv(scene.cam_from_world[scene.obs_frame[at]])
    ray = np.concatenate([(scene.obs_xy[at] - scene.params[1:]) / scene.params[0], np.ones((len(at), 1))], axis=1)
    ray = np.einsum("kij,kj->ki", world_from_cam[:, :3, :3], ray / np.linalg.norm(ray, axis=1, keepdims=True))
    across = np.eye(3) - ray[:, :, None] * ray[:, None, :]
    normal, moment = np.zeros((len(track), 3, 3)), np.zeros((len(track), 3))
    np.add.at(normal, row, across)
    np.add.at(moment, row, np.einsum("kij,kj->ki", across, world_from_cam[:, :3, 3]))
    solvable = np.linalg.cond(normal) < 1e12
    point = np.full((len(track), 3), np.nan)
    point[solvable] = np.linalg.solve(normal[solvable], moment[solvable][:, :, None])[:, :, 0]
    xyz = scene.xyz.copy()
    xyz[track] = point
    trial = replace(scene, xyz=xyz)
    worst = np.zeros(len(track))
    np.maximum.at(worst, row, np.nan_to_num(trial.error_px()[at], nan=np.inf))
    xyz[track[(worst > max_error_px) | (widest_angle_deg(trial, track) < min_angle_deg)]] = np.nan
    return replace(scene, xyz=xyz)


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
