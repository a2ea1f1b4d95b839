"""From tracks to a first scene: which focal lengths to try, which half of the tracks, and whether there is a lens."""

from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust
from wmkit.annotate.pose.choose import MapJob, better_map, least_unexplained
from wmkit.annotate.pose.lens import LensConfig, find_lens, lens_gain, refit_lens
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.mapping import MappingConfig, Model, Start, map_keyframes
from wmkit.annotate.pose.restart import RestartConfig, usual_beginning, whole_beginning
from wmkit.annotate.pose.scene import Indices, Scene, drop_outliers, longest_tracks, scene_from_model
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.zoom import ZoomConfig, follows_curve, smooth_zoom, zoomed
from wmkit.camera import Array, CameraPrior, Lens

__all__ = ["CameraSearch", "Mapped", "at_usual_focal", "map_clip", "starts"]

KNOWN_SIGMA_LOG = 0.03  # a focal length known this well is better than what most clips calibrate by themselves
DECIDING_TRACKS = 300  # longest tracks that decide whether there may be a lens or a zoom
QUICK, PATIENT = 30, 100  # iterations of the adjustments that decide, first and, if in doubt, second look
OUTLIER_PX = 4.0  # reprojection error of observations that a lens is adjusted to
USUAL_FOCAL = (0.8, 0.4)  # mean and sigma as shares of the long side: 64 degrees wide; one sigma is 103 to 45 degrees
HALF_ALIVE = 150  # tracks a half must have alive in the median frame to be mapped alone
ABSURD_LOG = 1.0  # a focal length so far from the usual one, as a log ratio, comes of a wrong camera


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSearch:
    """What decides on the camera: the mapper's settings, other beginnings, and when there is a lens or a zoom."""

    mapping: MappingConfig = MappingConfig()
    restart: RestartConfig = RestartConfig()
    lens: LensConfig = LensConfig()
    zoom: ZoomConfig = ZoomConfig()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """A clip mapped for the first time.

    scene        keyframes and points; every observation of `tracks`.
    tracks       of the frames as they are delivered: undistorted if there is a lens.
    lens         the source's, or None for a pinhole.
    disjoint     mapped from the even tracks alone, so that the odd ones make an independent estimate.
    fixed_focal  the focal length is the prior's, or that of the lens's pinhole, and stays.
    job          what was mapped; None with a lens, a zoom or windows.
    """

    scene: Scene
    tracks: Tracks
    lens: Lens | None
    disjoint: bool
    fixed_focal: bool
    job: MapJob | None = None

    @property
    def half(self) -> Tracks:
        """The tracks it was mapped from."""
        return _mapped_part(self.tracks, self.disjoint)


def _mapped_part(tracks: Tracks, disjoint: bool) -> Tracks:
    return tracks.half(0) if disjoint else tracks


def starts(tracks: Tracks, prior: CameraPrior | None, config: MappingConfig) -> Start:
    """The camera the mapper begins with: the prior's, else several focal lengths in turn."""
    centre = _centre(tracks, prior)
    guesses = tuple((share * max(tracks.width, tracks.height), *centre) for share in config.initial_focal)
    focal_prior = _focal_prior(tracks, prior)
    if prior is None:
        return Start(model="SIMPLE_PINHOLE", params=guesses, focal_prior=focal_prior)
    known = (float(np.sqrt(prior.fx * prior.fy)), *centre)
    fixed = prior.sigma_log <= KNOWN_SIGMA_LOG
    params = (known,) if fixed else (known, *guesses)
    return Start(model="SIMPLE_PINHOLE", params=params, fixed=fixed, focal_prior=focal_prior)


def map_clip(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    prior: CameraPrior | None,
    search: CameraSearch,
) -> Mapped | None:
    """Map the keyframes, with a lens where the data demand one; None when no start pair holds."""
    mapping = search.mapping
    start = starts(tracks, prior, mapping)
    found = _map(tracks, keyframes, linked, start, mapping)
    if found is None:
        return None
    model, disjoint = found
    half = _mapped_part(tracks, disjoint)
    job = MapJob(tracks=tracks, half=half, keyframes=keyframes, linked=linked, start=start)
    raw = job.scene(model)
    scene = better_map(job, raw, search.restart)
    straight = Mapped(scene=scene, tracks=tracks, lens=None, disjoint=disjoint, fixed_focal=start.fixed, job=job)
    if start.fixed:
        return straight
    # a wrong camera may look like a wrong beginning and the other way round: what fits in the end decides
    begun = [raw] if scene is raw else [raw, scene]
    if scene.unusual > ABSURD_LOG:
        begun.append(usual_beginning(scene, search.restart))
    zooms: list[Mapped] = []
    for known in begun:
        other = _other_camera(replace(straight, scene=known), job, search)
        if other is None or not _fits(other, straight, keyframes, search, sure=scene is raw):
            continue
        if other.scene.zooms:
            zooms.append(other)
        elif not zooms:
            return other
    if not zooms:
        return straight
    freed = replace(job, start=replace(start, zooms=True))
    best = least_unexplained([zoom.scene for zoom in zooms], freed, search.restart)
    return next(zoom for zoom in zooms if zoom.scene is best)


def _other_camera(straight: Mapped, job: MapJob, search: CameraSearch) -> Mapped | None:
    """The clip with a zoom or a lens, where the straight map's tracks demand one."""
    frames = np.array(job.keyframes)
    thin = longest_tracks(straight.scene.at_frames(frames), DECIDING_TRACKS)
    each, by_zoom, by_lens = _gains(thin, search, QUICK)
    if max(by_zoom, by_lens) > 0:  # a short look confuses the two
        each, by_zoom, by_lens = _gains(thin, search, PATIENT)
    bent = _bent(straight, job, search) if 0 < by_lens >= by_zoom else None
    if by_zoom > by_lens or (by_zoom > 0 and bent is not None and _still_zooms(bent, frames, search.zoom)):
        if follows_curve(each, search.zoom):
            return replace(straight, scene=whole_beginning(each, straight.scene, search.restart), job=None)
        return _zooming(straight, replace(job, start=replace(job.start, zooms=True)), search.mapping)
    return bent


def _bent(straight: Mapped, job: MapJob, search: CameraSearch) -> Mapped | None:
    """The clip with the lens that its straight map's tracks demand; None where they do not."""
    lens = find_lens(straight.scene.at_frames(np.array(job.keyframes)), search.lens)
    return None if lens is None else _unbent(job.tracks, job.keyframes, job.linked, lens, search.mapping)


def _still_zooms(bent: Mapped, frames: Indices, config: ZoomConfig) -> bool:
    """Whether focal lengths each free still take away as much as of a zoom under the lens, which then hid one.

    A zooming fisheye asks for both, and only one can be had: the zoom, for who trusts the clip must know of it.
    """
    thin = longest_tracks(bent.scene.at_frames(frames), DECIDING_TRACKS)
    if not thin.usable.any():
        return False
    one = bundle_adjust(thin, COMPARING_PX, iterations=PATIENT)
    each = bundle_adjust(replace(one, zooms=True), COMPARING_PX, iterations=PATIENT)
    return each.median_px <= (1 - config.free_gain) * one.median_px


def _zooming(straight: Mapped, job: MapJob, config: MappingConfig) -> Mapped | None:
    """The clip mapped again with a camera a keyframe."""
    found = _map(job.tracks, job.keyframes, job.linked, job.start, config)
    if found is None:
        return None
    model, disjoint = found
    job = replace(job, half=_mapped_part(job.tracks, disjoint))
    scene = replace(job.scene(model), focal_prior=None)
    return replace(straight, scene=scene, disjoint=disjoint, job=None)


def _gains(thin: Scene, search: CameraSearch, iterations: int) -> tuple[Scene, float, float]:
    """The scene with a zoom, what that takes away, and what a lens does."""
    if not thin.usable.any():
        return thin, 0.0, 0.0
    straight = bundle_adjust(thin, COMPARING_PX, iterations=iterations)
    each, by_zoom = zoomed(straight, search.zoom, iterations)
    return each, by_zoom, lens_gain(straight, search.lens, iterations)


def _fits(other: Mapped, straight: Mapped, keyframes: tuple[int, ...], search: CameraSearch, *, sure: bool) -> bool:
    """Whether the map with a zoom or a lens is the better one; `sure`: nothing speaks against the straight map."""
    if other.scene.zooms and not follows_curve(other.scene.at_frames(np.array(keyframes)), search.zoom):
        return False
    if not other.scene.zooms and sure:
        return True
    left_px, straight_px = _left_px(other, straight, keyframes)
    gain = search.zoom.smooth_gain if other.scene.zooms else search.lens.min_gain
    return left_px < (1 - gain) * straight_px


def _left_px(one: Mapped, other: Mapped, keyframes: tuple[int, ...]) -> tuple[float, float]:
    """Median errors of the longest tracks after an adjustment: no map may lose for having come a shorter way.

    Of observations that both explain: nor may one lose for holding more points.
    """
    ones, others = (mapped.scene.at_frames(np.array(keyframes)) for mapped in (one, other))
    ones, others = _in_both(ones, others), _in_both(others, ones)
    return _settled_px(ones, one.fixed_focal), _settled_px(others, other.fixed_focal)


def _in_both(scene: Scene, other: Scene) -> Scene:
    """The scene with the observations alone that are usable in both."""
    name, others = (part.obs_frame * len(scene.xyz) + part.obs_track for part in (scene, other))
    return scene.keep(scene.usable & np.isin(name, others[other.usable]))


def _settled_px(scene: Scene, fixed_focal: bool) -> float:
    thin = longest_tracks(scene, DECIDING_TRACKS)
    if not thin.usable.any():
        return float("inf")
    found = bundle_adjust(thin, COMPARING_PX, fixed_focal=fixed_focal, iterations=PATIENT)
    if found.zooms:
        found = bundle_adjust(smooth_zoom(found), COMPARING_PX, fixed_focal=True, iterations=PATIENT)
    return found.median_px


def at_usual_focal(mapped: Mapped, config: RestartConfig) -> Mapped:
    """The map at the focal length its prior names, which stays: for motions that do not tell it."""
    return replace(mapped, scene=usual_beginning(mapped.scene, config), fixed_focal=True)


def _unbent(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    lens: Lens,
    mapping: MappingConfig,
) -> Mapped | None:
    """The clip mapped again on straightened tracks, and the lens adjusted to that map: its pinhole then stays."""
    pinhole = lens.default_pinhole()
    start = Start(model="SIMPLE_PINHOLE", params=((pinhole.fx, pinhole.cx, pinhole.cy),))
    rough = tracks.undistorted(lens, pinhole)
    found = _map(rough, keyframes, linked, start, mapping)
    if found is None:
        return None
    model, disjoint = found
    centre = np.array((pinhole.cx, pinhole.cy))
    half = _mapped_part(rough, disjoint)
    scene = scene_from_model(rough, model.model, half, centre)
    scene = drop_outliers(scene.at_frames(np.array(keyframes)), OUTLIER_PX, 0.0, 8)
    scene, lens = refit_lens(replace(scene, obs_xy=_bent_xy(scene, tracks)), lens)
    pinhole = lens.default_pinhole()
    fine = tracks.undistorted(lens, pinhole)
    whole = scene_from_model(fine, model.model, half, np.array((pinhole.cx, pinhole.cy)))
    whole = replace(whole, cam_from_world=scene.cam_from_world, xyz=scene.xyz, focal=np.full(len(tracks), pinhole.fx))
    return Mapped(scene=whole, tracks=fine, lens=lens, disjoint=disjoint, fixed_focal=True)


def _bent_xy(scene: Scene, tracks: Tracks) -> Array:
    """(K, 2) px where the scene's observations were followed in the picture as it came."""
    xy = np.empty((len(scene.obs_frame), 2))
    for frame in np.unique(scene.obs_frame).tolist():
        at = np.flatnonzero(scene.obs_frame == frame)
        xy[at] = tracks.xy[frame][np.searchsorted(tracks.ids[frame], scene.obs_track[at])]
    return xy


def _focal_prior(tracks: Tracks, prior: CameraPrior | None) -> tuple[float, float]:
    """(mean, sigma) px of the focal length: the prior's, or that of cameras in general."""
    if prior is not None:
        focal_px = float(np.sqrt(prior.fx * prior.fy))
        return focal_px, focal_px * prior.sigma_log
    long_side = max(tracks.width, tracks.height)
    return USUAL_FOCAL[0] * long_side, USUAL_FOCAL[1] * long_side


def _centre(tracks: Tracks, prior: CameraPrior | None) -> tuple[float, float]:
    if prior is None or prior.cx is None or prior.cy is None:
        return tracks.width / 2, tracks.height / 2
    return prior.cx, prior.cy


def _map(
    tracks: Tracks, keyframes: tuple[int, ...], linked: tuple[Pair, ...], start: Start, config: MappingConfig
) -> tuple[Model, bool] | None:
    """A model from the even tracks where they suffice, else from all; and whether the even ones did."""
    half = tracks.half(0)
    best = None
    if np.median([len(ids) for ids in half.ids]) >= HALF_ALIVE:
        best = map_keyframes(half, keyframes, linked, start, config)
        if best is not None and best.registered >= config.good_share:
            return best, True
    every = map_keyframes(tracks, keyframes, linked, start, config)
    if every is not None and (best is None or every.rank(config) > best.rank(config)):
        return every, False
    return None if best is None else (best, True)
