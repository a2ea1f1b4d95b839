"""The default pose backend: point tracks, keyframes, COLMAP mapping, one bundle over the keyframes, the rest between.

Weight-free, CPU, uncalibrated. Public anchors: COLMAP's incremental mapper (Schönberger & Frahm, CVPR 2016) on
tracks as in EPIC-Fields and ParticleSfM, matched features only where tracks break.
"""

import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wmkit.annotate.pose.choose import looked_again
from wmkit.annotate.pose.covariance import pose_covariance
from wmkit.annotate.pose.dynamic import find_dynamic
from wmkit.annotate.pose.keyframes import KeyframeConfig, choose_keyframes
from wmkit.annotate.pose.lens import LensConfig
from wmkit.annotate.pose.links import LinkConfig, Pair, link_keyframes
from wmkit.annotate.pose.long import map_any
from wmkit.annotate.pose.mapping import MappingConfig
from wmkit.annotate.pose.planar import plane_share
from wmkit.annotate.pose.quality import measure_quality
from wmkit.annotate.pose.restart import RestartConfig, flat_map
from wmkit.annotate.pose.rotation import TurningConfig, fit_turning, may_turn_only
from wmkit.annotate.pose.scene import Scene, drop_outliers, refine_poses, resect, triangulate, widest_angle_deg
from wmkit.annotate.pose.second import Disagreement, SecondConfig, compare, second_estimate, settled
from wmkit.annotate.pose.sliding import adjust_keyframes
from wmkit.annotate.pose.start import CameraSearch, Mapped, at_usual_focal, starts
from wmkit.annotate.pose.strays import find_strays
from wmkit.annotate.pose.tracks import TrackConfig, Tracks, track_points
from wmkit.annotate.pose.windows import WindowConfig
from wmkit.annotate.pose.zoom import ZoomConfig, smooth_zoom
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import Array, CameraPrior, Intrinsics, ScaleKind, Trajectory, invert_rigid
from wmkit.clip import NoTrajectory, Points
from wmkit.video.frames import FrameSource

__all__ = ["TrackSfm", "TrackSfmConfig"]

NO_FOCAL = ("focal_diverged", "no_model")  # where motions end that say nothing of the focal length


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSfmConfig:
    """Knobs of the engine.

    rounds_px       one bundle adjustment each: reprojection error of the observations that enter and leave it.
    iterations      of each adjustment.
    min_angle_deg   widest triangulation angle a point needs.
    loss_px         least and greatest scale of the Cauchy loss.
    min_inliers     points a frame must see to be posed.
    still_share     median displacement, as a share of the diagonal, below which a camera counts as static.
    min_parallax_deg  upper-quartile triangulation angle below which translation is not observable.
    plane_thickness, plane_share  a scene is planar when this share of its points lies within this share of the
                    median depth of one plane.
    focal_share     focal lengths believed, as shares of the long side: fields of view of 127 down to 11 degrees.
    """

    name: ClassVar[str] = "track-sfm"
    licence: ClassVar[str] = "Apache-2.0"

    tracks: TrackConfig = TrackConfig()
    keyframes: KeyframeConfig = KeyframeConfig()
    links: LinkConfig = LinkConfig()
    mapping: MappingConfig = MappingConfig()
    restart: RestartConfig = RestartConfig()
    lens: LensConfig = LensConfig()
    zoom: ZoomConfig = ZoomConfig()
    turning: TurningConfig = TurningConfig()
    second: SecondConfig = SecondConfig()
    windows: WindowConfig = WindowConfig()
    rounds_px: tuple[float, float] = (4.0, 2.5)
    iterations: tuple[int, int] = (15, 50)
    min_angle_deg: float = 0.5
    loss_px: tuple[float, float] = (0.2, 1.0)
    min_inliers: int = 20
    still_share: float = 0.004
    min_parallax_deg: float = 1.0
    plane_thickness: float = 0.02
    plane_share: float = 0.93
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
        config = self.config
        tracks = track_points(frames, config.tracks)
        refusal = self._unsolvable(tracks)
        if refusal is not None:
            return refusal
        keyframes = choose_keyframes(tracks, config.keyframes)
        refusal = self._turning(tracks, keyframes, prior)
        if refusal is not None:
            return refusal
        tracks, linked = link_keyframes(frames, tracks, keyframes, config.links)
        search = CameraSearch(mapping=config.mapping, restart=config.restart, lens=config.lens, zoom=config.zoom)
        found = map_any(tracks, keyframes, linked, prior, search, config.windows)
        if found is None:
            return NoTrajectory(reason="no_model", detail=f"no two of {len(keyframes)} keyframes start a model")
        mapped, chain = found
        begun_s = time.process_time()
        mapped, second = self._two_opinions(mapped, keyframes, linked)
        apart = (("second", time.process_time() - begun_s),)
        scene, refusal = self._adjusted(mapped, np.array(keyframes))
        if refusal is not None and refusal.reason in NO_FOCAL and not mapped.fixed_focal:
            mapped = at_usual_focal(mapped, config.restart)
            scene, refusal = self._adjusted(mapped, np.array(keyframes))
        refusal = refusal or self._planar(scene, mapped)
        if refusal is not None:
            return refusal
        second = replace(second, seams=() if chain is None else (*chain.seams, *chain.loops))
        return replace(_finish(scene, mapped, np.array(keyframes), frames.view.time_s, second), core_seconds=apart)

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

    def _turning(self, tracks: Tracks, keyframes: tuple[int, ...], prior: CameraPrior | None) -> NoTrajectory | None:
        """A camera that turns on the spot: its rotations are exact, its translation zero, its scale unobservable."""
        config = self.config.turning
        if len(keyframes) < 2 or not may_turn_only(tracks, keyframes, config):
            return None
        focal_px = None if prior is None else float(np.sqrt(prior.fx * prior.fy))
        fit = fit_turning(tracks, keyframes, config, focal_px)
        if not fit.holds or self._moves(tracks, keyframes, prior, fit.median_px):
            return None
        every = fit_turning(tracks, tuple(range(len(tracks))), config, fit.focal_px)
        detail = (
            f"turning alone explains the tracks to {fit.median_px:.2f} px at a focal length of {fit.focal_px:.0f} px"
        )
        return NoTrajectory(reason="pure_rotation", detail=detail, rotation=every.rotation, focal_px=every.focal_px)

    def _moves(self, tracks: Tracks, keyframes: tuple[int, ...], prior: CameraPrior | None, turning_px: float) -> bool:
        """Whether a short way before a shallow scene hides behind what turning alone seems to explain.

        It does when moving explains the tracks so much better that the freedom to move alone cannot be why.
        """
        start = starts(tracks, prior, self.config.mapping)
        scene = flat_map(tracks, keyframes, start, self.config.restart)
        if not scene.usable.any():
            return False
        return scene.median_px < (1 - self.config.turning.moving_gain) * turning_px

    def _adjusted(self, mapped: Mapped, keyframes: np.ndarray) -> tuple[Scene, NoTrajectory | None]:
        """Bundle adjustment of the keyframes, all other frames posed against their points."""
        config = self.config
        scene = resect(mapped.scene, config.rounds_px[0], config.min_inliers)
        refusal = self._degenerate(scene)
        others = np.setdiff1d(np.arange(len(scene.cam_from_world)), keyframes)
        rounds = list(zip(config.rounds_px, config.iterations, strict=True))
        for done, (limit_px, iterations) in enumerate((*rounds, rounds[-1]) if scene.zooms else rounds):
            if refusal is not None:
                break
            scene = triangulate(scene, limit_px, config.min_angle_deg)
            scene = drop_outliers(scene, limit_px, config.min_angle_deg, config.min_inliers)
            core = scene.at_frames(keyframes)
            if core.posed.sum() < 2 or not core.usable.any():
                return scene, NoTrajectory(reason="no_model", detail="the keyframes do not hold together")
            smooth = scene.zooms and done == len(rounds)  # once found frame by frame, they are put on a curve
            core = smooth_zoom(core) if smooth else core
            core = adjust_keyframes(
                core,
                keyframes,
                self._loss_px(core),
                config.windows,
                fixed_focal=mapped.fixed_focal or smooth,
                iterations=iterations,
            )
            posed = core.posed[:, None, None]
            cam_from_world = np.where(posed, core.cam_from_world, scene.cam_from_world)
            scene = replace(scene, cam_from_world=cam_from_world, focal=core.focal, xyz=core.xyz)
            scene = refine_poses(scene, others[scene.posed[others]], config.loss_px[1], config.min_inliers)
            scene = triangulate(scene, limit_px, config.min_angle_deg)
            scene = drop_outliers(scene, limit_px, config.min_angle_deg, config.min_inliers)
            refusal = self._degenerate(scene)
        return scene, refusal

    def _loss_px(self, core: Scene) -> float:
        """Twice the median error, within bounds: where most is good to a tenth, what slides by a px is an outlier."""
        low, high = self.config.loss_px
        return float(np.clip(2 * core.median_px, low, high))

    def _planar(self, scene: Scene, mapped: Mapped) -> NoTrajectory | None:
        """One plane and a focal length that nobody gave: cameras and focal length trade against each other."""
        if mapped.fixed_focal and mapped.lens is None:
            return None
        depth = float(np.median(scene.in_camera()[scene.usable, 2]))
        share = plane_share(scene.xyz[np.isfinite(scene.xyz[:, 0])], self.config.plane_thickness * depth)
        if share < self.config.plane_share:
            return None
        detail = f"{100 * share:.0f} % of the points lie on one plane; give --fov-deg or --intrinsics to solve it"
        return NoTrajectory(reason="planar_scene", detail=detail)

    def _two_opinions(
        self, mapped: Mapped, keyframes: tuple[int, ...], linked: tuple[Pair, ...]
    ) -> tuple[Mapped, Disagreement]:
        """The map and how far a second one is from it; where they are far apart, both look again, at each other too."""
        config = self.config
        start = starts(mapped.tracks, None, config.mapping)
        if mapped.lens is not None:  # its pinhole is known from the lens; elsewhere the focal length is found anew
            pinhole = mapped.lens.default_pinhole()
            start = replace(start, params=((pinhole.fx, pinhole.cx, pinhole.cy),))
        start = replace(start, zooms=mapped.scene.zooms)
        second = second_estimate(mapped.tracks.half(1), keyframes, linked, start, config.second, config.windows)
        if second is None:
            return mapped, self._disagreement(mapped, (np.full((len(mapped.tracks), 4, 4), np.nan), float("nan"), 0.0))
        found = second.poses(config.second, fixed_focal=mapped.fixed_focal)
        between = self._disagreement(mapped, found)
        if mapped.job is None or not between.apart(config.second):
            return mapped, between
        first = mapped.scene
        theirs = (found[0], np.full(len(first.focal), found[1]))
        scene = looked_again(mapped.job, first, theirs, config.mapping, config.restart)
        second = second.again(first.cam_from_world, first.focal, config.mapping, config.restart)
        mapped = replace(mapped, scene=scene)
        return mapped, self._disagreement(mapped, second.poses(config.second, fixed_focal=mapped.fixed_focal))

    def _disagreement(self, mapped: Mapped, second: tuple[Array, float, float]) -> Disagreement:
        """How far the map, adjusted on its own tracks, is from a second one: its cameras, focal px and posed share."""
        mine = np.isin(mapped.scene.obs_track, np.concatenate(mapped.half.ids))
        one = mapped.scene.keep(mine).at_frames(np.flatnonzero(mapped.scene.posed))
        one = settled(one, self.config.second, fixed_focal=mapped.fixed_focal)
        first = np.where(one.posed[:, None, None], one.cam_from_world, np.nan)
        found, focal, share = second
        centre = invert_rigid(first[one.posed])[:, :3, 3]
        path = float(np.linalg.norm(np.diff(centre, axis=0), axis=1).sum())
        rotation_deg, position = compare(first, found, path)
        return Disagreement(
            rotation_deg=rotation_deg,
            position=position,
            focal=abs(float(np.log(focal / np.median(one.focal)))),
            posed_share=share,
            disjoint=mapped.disjoint,
        )

    def _degenerate(self, scene: Scene) -> NoTrajectory | None:
        """A model that does not determine the camera's translation, or hardly any model at all."""
        alive = np.flatnonzero(np.isfinite(scene.xyz[:, 0]))
        parallax_deg = float(np.percentile(widest_angle_deg(scene, alive), 75)) if len(alive) else 0.0
        if scene.posed.sum() >= 2 and parallax_deg < self.config.min_parallax_deg:
            detail = f"upper-quartile parallax {parallax_deg:.2f} deg: the camera turns but hardly moves"
            return NoTrajectory(reason="no_parallax", detail=detail)
        low, high = self.config.focal_share
        focal = float(np.median(scene.focal)) / max(scene.size)
        if not low <= focal <= high:
            detail = f"self-calibration ran off to a focal length of {focal:.2f} times the long side"
            return NoTrajectory(reason="focal_diverged", detail=detail)
        if scene.posed.sum() < 2 or len(alive) < 2 * self.config.min_inliers:
            return NoTrajectory(reason="no_model", detail=f"only {len(alive)} points hold the frames together")
        return None


def _finish(
    scene: Scene, mapped: Mapped, keyframes: np.ndarray, time_s: np.ndarray, second: Disagreement
) -> PoseEstimate:
    """The scene in wmkit's terms: first posed camera at the origin, median point depth 1, colours, covariance."""
    first = int(np.flatnonzero(scene.posed)[0])
    unit = float(np.median(scene.in_camera()[scene.usable, 2]))
    first_from_world = scene.cam_from_world[first]
    scaled = scene.cam_from_world @ invert_rigid(first_from_world)
    scaled[:, :3, 3] /= unit
    xyz = (scene.xyz @ first_from_world[:3, :3].T + first_from_world[:3, 3]) / unit
    normal = replace(scene, cam_from_world=scaled, xyz=xyz)
    covariance, focal_sigma_log = pose_covariance(normal, keyframes)
    trajectory = Trajectory(
        world_from_cam=_exactly_rigid(invert_rigid(scaled)),
        time_s=time_s,
        posed=scene.posed,
        scale=ScaleKind.UP_TO_SCALE,
        covariance=covariance,
    )
    strays = find_strays(normal, mapped.tracks)
    quality = measure_quality(normal, mapped.tracks, trajectory, focal_sigma_log, second)
    features = (*quality.features, ("track_error_px", strays.typical_px))
    return PoseEstimate(
        trajectory=trajectory,
        intrinsics=_intrinsics(scene),
        points=_points(normal, mapped.tracks),
        lens=mapped.lens,
        quality=replace(quality, features=features),
        dynamic=find_dynamic(strays, scene.posed, mapped.tracks, keyframes),
    )


def _intrinsics(scene: Scene) -> tuple[Intrinsics, ...]:
    (cx, cy), (width, height) = scene.centre.tolist(), scene.size
    return tuple(Intrinsics(fx=f, fy=f, cx=cx, cy=cy, width=width, height=height) for f in scene.focal.tolist())


def _points(scene: Scene, tracks: Tracks) -> Points:
    usable = scene.usable
    seen = np.flatnonzero(np.isfinite(scene.xyz[:, 0]))
    length = np.bincount(scene.obs_track[usable], minlength=len(scene.xyz))
    error = np.bincount(scene.obs_track[usable], weights=scene.error_px()[usable], minlength=len(scene.xyz))
    return Points(
        xyz=scene.xyz[seen],
        rgb=tracks.rgb[seen],
        error_px=(error[seen] / np.maximum(length[seen], 1)).astype(np.float32),
        track_length=length[seen].astype(np.int32),
    )


def _exactly_rigid(world_from_cam: np.ndarray) -> np.ndarray:
    """Rotations renormalised (SVD), so that products of float64 matrices stay orthonormal to 1e-15."""
    result = world_from_cam.copy()
    posed = np.isfinite(result[:, 0, 0])
    u, _, vt = np.linalg.svd(result[posed][:, :3, :3])
    result[posed, :3, :3] = u @ vt
    return result
