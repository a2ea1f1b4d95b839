"""From tracks to a first scene: which focal lengths to try, which half of the tracks, and whether there is a lens."""

from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.pose.colmap_import import pycolmap
from wmkit.annotate.pose.lens import LensConfig, find_lens, lens_gain, refit_lens
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.mapping import MappingConfig, Start, map_keyframes
from wmkit.annotate.pose.scene import Scene, drop_outliers, longest_tracks, scene_from_model
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.zoom import ZoomConfig, zoom_gain
from wmkit.camera import Array, CameraPrior, Lens

__all__ = ["Mapped", "map_clip", "starts"]

KNOWN_SIGMA_LOG = 0.03  # a focal length known this well is better than what most clips calibrate by themselves
DECIDING_TRACKS = 300  # longest tracks that decide whether there may be a lens or a zoom
QUICK, PATIENT = 12, 100  # iterations of the adjustments that decide, first and, if in doubt, second look
OUTLIER_PX = 4.0  # reprojection error of observations that a lens is adjusted to
HALF_ALIVE = 150  # tracks a half must have alive in the median frame to be mapped alone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """A clip mapped for the first time.

    scene        keyframes and points; every observation of `tracks`.
    tracks       of the frames as they are delivered: undistorted if there is a lens.
    lens         the source's, or None for a pinhole.
    disjoint     mapped from the even tracks alone, so that the odd ones make an independent estimate.
    fixed_focal  the focal length is the prior's, or that of the lens's pinhole, and stays.
    """

    scene: Scene
    tracks: Tracks
    lens: Lens | None
    disjoint: bool
    fixed_focal: bool


def starts(tracks: Tracks, prior: CameraPrior | None, config: MappingConfig) -> Start:
    """The camera the mapper begins with: the prior's, else several focal lengths in turn."""
    centre = _centre(tracks, prior)
    guesses = tuple((share * max(tracks.width, tracks.height), *centre) for share in config.initial_focal)
    if prior is None:
        return Start(model="SIMPLE_PINHOLE", params=guesses)
    known = (float(np.sqrt(prior.fx * prior.fy)), *centre)
    fixed = prior.sigma_log <= KNOWN_SIGMA_LOG
    return Start(model="SIMPLE_PINHOLE", params=(known,) if fixed else (known, *guesses), fixed=fixed)


def map_clip(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    prior: CameraPrior | None,
    mapping: MappingConfig,
    lens_config: LensConfig,
    zoom_config: ZoomConfig,
) -> Mapped | None:
    """Map the keyframes, with a lens where the data demand one; None when no start pair holds."""
    start = starts(tracks, prior, mapping)
    found = _map(tracks, keyframes, linked, start, mapping)
    if found is None:
        return None
    model, disjoint = found
    centre = np.array(_centre(tracks, prior))
    scene = scene_from_model(tracks, model, tracks.half(0) if disjoint else tracks, centre)
    straight = Mapped(scene=scene, tracks=tracks, lens=None, disjoint=disjoint, fixed_focal=start.fixed)
    if start.fixed:
        return straight
    thin = longest_tracks(scene.at_frames(np.array(keyframes)), DECIDING_TRACKS)
    gains = (lambda n: zoom_gain(thin, zoom_config, n), lambda n: lens_gain(thin, lens_config, n))
    by_zoom, by_lens = (gain(QUICK) for gain in gains)
    if max(by_zoom, by_lens) > 0:  # a short look confuses the two
        by_zoom, by_lens = (gain(PATIENT) for gain in gains)
    if by_zoom > by_lens:
        return _zooming(tracks, keyframes, linked, replace(start, zooms=True), mapping, centre) or straight
    lens = find_lens(scene.at_frames(np.array(keyframes)), lens_config) if by_lens > 0 else None
    if lens is None:
        return straight
    return _unbent(tracks, keyframes, linked, lens, mapping, lens_config) or straight


def _unbent(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    lens: Lens,
    mapping: MappingConfig,
    config: LensConfig,
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
    scene = scene_from_model(rough, model, rough.half(0) if disjoint else rough, centre)
    scene = drop_outliers(scene.at_frames(np.array(keyframes)), OUTLIER_PX, 0.0, 8)
    scene, lens = refit_lens(replace(scene, obs_xy=_bent_xy(scene, tracks)), lens, config)
    pinhole = lens.default_pinhole()
    fine = tracks.undistorted(lens, pinhole)
    whole = scene_from_model(fine, model, rough.half(0) if disjoint else rough, np.array((pinhole.cx, pinhole.cy)))
    whole = replace(whole, cam_from_world=scene.cam_from_world, xyz=scene.xyz, focal=np.full(len(tracks), pinhole.fx))
    return Mapped(scene=whole, tracks=fine, lens=lens, disjoint=disjoint, fixed_focal=True)


def _bent_xy(scene: Scene, tracks: Tracks) -> Array:
    """(K, 2) px where the scene's observations were followed in the picture as it came."""
    xy = np.empty((len(scene.obs_frame), 2))
    for frame in np.unique(scene.obs_frame).tolist():
        at = np.flatnonzero(scene.obs_frame == frame)
        xy[at] = tracks.xy[frame][np.searchsorted(tracks.ids[frame], scene.obs_track[at])]
    return xy


def _zooming(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    start: Start,
    config: MappingConfig,
    centre: Array,
) -> Mapped | None:
    """The clip mapped again with a camera a keyframe."""
    found = _map(tracks, keyframes, linked, start, config)
    if found is None:
        return None
    model, disjoint = found
    scene = scene_from_model(tracks, model, tracks.half(0) if disjoint else tracks, centre)
    return Mapped(scene=scene, tracks=tracks, lens=None, disjoint=disjoint, fixed_focal=False)


def _centre(tracks: Tracks, prior: CameraPrior | None) -> tuple[float, float]:
    if prior is None or prior.cx is None or prior.cy is None:
        return tracks.width / 2, tracks.height / 2
    return prior.cx, prior.cy


def _map(
    tracks: Tracks, keyframes: tuple[int, ...], linked: tuple[Pair, ...], start: Start, config: MappingConfig
) -> "tuple[pycolmap.Reconstruction, bool] | None":
    """A model from the even tracks where they suffice, else from all; and whether the even ones did."""
    half = tracks.half(0)
    best = None
    if np.median([len(ids) for ids in half.ids]) >= HALF_ALIVE:
        best = map_keyframes(half, keyframes, linked, start, config)
        if best is not None and best.holds(config):
            return best.model, True
    every = map_keyframes(tracks, keyframes, linked, start, config)
    if every is not None and (best is None or every.rank(config) > best.rank(config)):
        return every.model, False
    return None if best is None else (best.model, True)
