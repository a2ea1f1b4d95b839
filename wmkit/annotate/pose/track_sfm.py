"""The default pose backend: point tracks, keyframes, COLMAP mapping, resection and one bundle over all frames.

Weight-free, CPU, uncalibrated. Public anchors: COLMAP's incremental mapper (Schönberger & Frahm, CVPR 2016) on
tracks as in EPIC-Fields and ParticleSfM, instead of matched descriptors.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.covariance import pose_covariance
from wmkit.annotate.pose.keyframes import KeyframeConfig, choose_keyframes
from wmkit.annotate.pose.links import LinkConfig, link_keyframes
from wmkit.annotate.pose.mapping import MappingConfig, Start, map_keyframes
from wmkit.annotate.pose.scene import Scene, drop_outliers, resect, scene_from_model, triangulate, widest_angle_deg
from wmkit.annotate.pose.tracks import TrackConfig, Tracks, track_points
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import CameraPrior, Intrinsics, ScaleKind, Trajectory, invert_rigid
from wmkit.clip import NoTrajectory, Points
from wmkit.video.frames import FrameSource

__all__ = ["TrackSfm", "TrackSfmConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSfmConfig:
    """Knobs of the engine.

    rounds_px       one bundle adjustment each: reprojection error of the observations that enter and leave it.
    min_angle_deg   widest triangulation angle a point needs.
    loss_px         scale of the Cauchy loss.
    min_inliers     points a frame must see to be posed.
    still_share     median displacement, as a share of the diagonal, below which a camera counts as static.
    min_parallax_deg  upper-quartile triangulation angle below which translation is not observable.
    focal_share     focal lengths believed, as shares of the long side: fields of view of 127 down to 11 degrees.
    """

    name: ClassVar[str] = "track-sfm"
    licence: ClassVar[str] = "Apache-2.0"

    tracks: TrackConfig = TrackConfig()
    keyframes: KeyframeConfig = KeyframeConfig()
    links: LinkConfig = LinkConfig()
    mapping: MappingConfig = MappingConfig()
    rounds_px: tuple[float, ...] = (4.0, 2.5)
    min_angle_deg: float = 0.5
    loss_px: float = 1.0
    min_inliers: int = 20
    still_share: float = 0.004
    min_parallax_deg: float = 1.0
    focal_share: tuple[float, float] = (0.25, 5.0)

    def build(self, device: str) -> "TrackSfm":
        """The estimator; it runs on the CPU whatever `device` says."""
        return TrackSfm(self)


class TrackSfm:
    """PoseEstimator of `TrackSfmConfig`. Its seeds are fixed, so the run's seed changes nothing."""

    def __init__(self, config: TrackSfmConfig) -> None:
        self.config = config

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        """Poses of all frames the tracks reach, in units of the median point depth, first posed camera at 0."""
        tracks = track_points(frames, self.config.tracks)
        refusal = self._unsolvable(tracks)
        if refusal is not None:
            return refusal
        keyframes = choose_keyframes(tracks, self.config.keyframes)
        tracks, linked = link_keyframes(frames, tracks, keyframes, self.config.links)
        model = map_keyframes(tracks, keyframes, linked, _start(tracks, self.config), self.config.mapping)
        if model is None:
            return NoTrajectory(reason="no_model", detail=f"no two of {len(keyframes)} keyframes start a model")
        scene = resect(scene_from_model(tracks, model), self.config.rounds_px[0], self.config.min_inliers)
        refusal = self._degenerate(scene)
        for limit_px in self.config.rounds_px:
            if refusal is not None:
                return refusal
            scene = triangulate(scene, limit_px, self.config.min_angle_deg)
            scene = drop_outliers(scene, limit_px, self.config.min_angle_deg, self.config.min_inliers)
            scene = bundle_adjust(scene, self.config.loss_px) if scene.posed.sum() >= 2 else scene
            scene = drop_outliers(scene, limit_px, self.config.min_angle_deg, self.config.min_inliers)
            refusal = self._degenerate(scene)
        return refusal or _finish(scene, tracks, frames.view.time_s)

    def _unsolvable(self, tracks: Tracks) -> NoTrajectory | None:
        """Footage no structure from motion can answer for, named instead of guessed."""
        alive = int(np.median([len(ids) for ids in tracks.ids]))
        if alive < 2 * self.config.min_inliers:
            return NoTrajectory(reason="too_few_tracks", detail=f"{alive} points alive in the median frame")
        travelled = [tracks.parallax_px(0, frame) for frame in range(1, len(tracks))]
        widest_px = max(travelled, default=0.0)
        if widest_px < self.config.still_share * tracks.diagonal_px:
            return NoTrajectory(reason="static", detail=f"the picture moves {widest_px:.1f} px over the whole clip")
        return None

    def _degenerate(self, scene: Scene) -> NoTrajectory | None:
        """A model that does not determine the camera's translation, or hardly any model at all."""
        alive = np.flatnonzero(np.isfinite(scene.xyz[:, 0]))
        parallax_deg = float(np.percentile(widest_angle_deg(scene, alive), 75)) if len(alive) else 0.0
        if scene.posed.sum() >= 2 and parallax_deg < self.config.min_parallax_deg:
            detail = f"upper-quartile parallax {parallax_deg:.2f} deg: the camera turns but hardly moves"
            return NoTrajectory(reason="no_parallax", detail=detail)
        low, high = self.config.focal_share
        focal = float(scene.params[0]) / max(scene.size)
        if not low <= focal <= high:
            detail = f"self-calibration ran off to a focal length of {focal:.2f} times the long side"
            return NoTrajectory(reason="focal_diverged", detail=detail)
        if scene.posed.sum() < 2 or len(alive) < 2 * self.config.min_inliers:
            return NoTrajectory(reason="no_model", detail=f"only {len(alive)} points hold the frames together")
        return None


def _start(tracks: Tracks, config: TrackSfmConfig) -> Start:
    centre = (tracks.width / 2, tracks.height / 2)
    side = max(tracks.width, tracks.height)
    return Start(
        model="SIMPLE_PINHOLE", params=tuple((share * side, *centre) for share in config.mapping.initial_focal)
    )


def _finish(scene: Scene, tracks: Tracks, time_s: np.ndarray) -> PoseEstimate:
    """The scene in wmkit's terms: first posed camera at the origin, median point depth 1, colours, covariance."""
    first = int(np.flatnonzero(scene.posed)[0])
    usable = scene.usable
    unit = float(np.median(scene.in_camera()[usable, 2]))
    first_from_world = scene.cam_from_world[first]
    scaled = scene.cam_from_world @ invert_rigid(first_from_world)
    scaled[:, :3, 3] /= unit
    xyz = (scene.xyz @ first_from_world[:3, :3].T + first_from_world[:3, 3]) / unit
    normal = replace(scene, cam_from_world=scaled, xyz=xyz)
    focal, cx, cy = scene.params.tolist()
    camera = Intrinsics(fx=focal, fy=focal, cx=cx, cy=cy, width=scene.size[0], height=scene.size[1])
    trajectory = Trajectory(
        world_from_cam=_exactly_rigid(invert_rigid(scaled)),
        time_s=time_s,
        posed=scene.posed,
        scale=ScaleKind.UP_TO_SCALE,
        covariance=pose_covariance(normal),
    )
    seen = np.flatnonzero(np.isfinite(xyz[:, 0]))
    length = np.bincount(scene.obs_track[usable], minlength=len(xyz))
    error = np.bincount(scene.obs_track[usable], weights=scene.error_px()[usable], minlength=len(xyz))
    points = Points(
        xyz=xyz[seen],
        rgb=tracks.rgb[seen],
        error_px=(error[seen] / length[seen]).astype(np.float32),
        track_length=length[seen].astype(np.int32),
    )
    return PoseEstimate(trajectory=trajectory, intrinsics=(camera,) * len(tracks), points=points)


def _exactly_rigid(world_from_cam: np.ndarray) -> np.ndarray:
    """Rotations renormalised (SVD), so that products of float64 matrices stay orthonormal to 1e-15."""
    result = world_from_cam.copy()
    posed = np.isfinite(result[:, 0, 0])
    u, _, vt = np.linalg.svd(result[posed][:, :3, :3])
    result[posed, :3, :3] = u @ vt
    return result
