"""Maps of the majority: what most tracks agree on, where others move on their own.

A robust mean settles for a compromise: cameras that leave every still track a little wrong may cost no more than the
right ones, under which all that moves is an outlier. Least trimmed squares do not: adjust to the tracks that fit best,
look which those are now, again (the concentration steps of Rousseeuw and Van Driessen, 2006). What is compared in the
end is how much stays unexplained to within a fraction of a px, under a loss that is flat beyond.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust
from wmkit.annotate.pose.scene import Indices, Scene, triangulate
from wmkit.camera import Array

__all__ = ["MajorityConfig", "best_majority", "concentrated", "left_over"]

FAR_PX = 50.0  # no point is given up for being this far off: how far a track is off is the question


@dataclass(frozen=True, slots=True, kw_only=True)
class MajorityConfig:
    """Knobs of the search.

    share       of the tracks that an adjustment rests on: those that fit best.
    steps, iterations  concentrations, and iterations of the adjustment in each.
    explained_px  an observation farther off is not explained at all.
    sound       unexplained share of a map that needs no search.
    least_gain  share of what is unexplained that the map of a majority must explain for others to be looked for.
    """

    share: float = 0.6
    steps: int = 3
    iterations: int = 15
    explained_px: float = 0.5
    sound: float = 0.25
    least_gain: float = 0.04


def best_majority(scene: Scene, config: MajorityConfig, *, fixed_focal: bool) -> Scene | None:
    """The scene under the cameras of a majority that explains notably more, or None.

    Looked for from all tracks and from parts: what moves is in one place more often than not, so every part leaves a
    region of the picture out.
    """
    adjusted = bundle_adjust(scene, COMPARING_PX, fixed_focal=fixed_focal, iterations=config.iterations)
    here = _with_cameras(scene, adjusted)
    before = left_over(here, config)
    if before < config.sound:
        return None
    best = concentrated(here, config, fixed_focal=fixed_focal)
    least = left_over(best, config)
    if least > (1 - config.least_gain) * before:
        return None
    for part in _parts(adjusted, config, fixed_focal):
        found = concentrated(_with_cameras(scene, part), config, fixed_focal=fixed_focal)
        left = left_over(found, config)
        if left < least:
            best, least = found, left
    return best


def concentrated(scene: Scene, config: MajorityConfig, *, fixed_focal: bool) -> Scene:
    """The scene with the cameras that suit the tracks that suit them best, and all points where these put them."""
    here = scene
    for _ in range(config.steps):
        track, error_px = _track_errors(here)
        if len(track) == 0:
            break
        agreeing = np.zeros(len(here.xyz), np.bool_)
        agreeing[track[error_px <= np.quantile(error_px, config.share)]] = True
        core = here.keep(agreeing[here.obs_track])
        core = bundle_adjust(core, COMPARING_PX, fixed_focal=fixed_focal, iterations=config.iterations)
        here = _with_cameras(scene, core)
    return here


def left_over(scene: Scene, config: MajorityConfig) -> float:
    """Mean over all observations of the squared error, as a share of `explained_px` squared and 1 at most."""
    most = config.explained_px
    error_px = np.minimum(np.nan_to_num(scene.error_px(), nan=most), most)
    return float(((error_px / most) ** 2).mean())


def _parts(scene: Scene, config: MajorityConfig, fixed_focal: bool) -> Iterator[Scene]:
    """The scene adjusted to parts of its tracks: all but a quarter of the picture, its middle, its rim."""
    count = np.maximum(np.bincount(scene.obs_track, minlength=len(scene.xyz)), 1)
    sums = [np.bincount(scene.obs_track, weights=scene.obs_xy[:, axis], minlength=len(scene.xyz)) for axis in (0, 1)]
    middle = np.stack(sums, axis=-1) / count[:, None]
    seen = np.unique(scene.obs_track)
    off = middle - np.median(middle[seen], axis=0)
    quarter = (off[:, 0] > 0).astype(int) + 2 * (off[:, 1] > 0)
    reach = np.abs(off).max(axis=1)
    inner = reach <= np.median(reach[seen])
    for chosen in (*(quarter != number for number in range(4)), inner, ~inner):
        part = scene.keep(chosen[scene.obs_track])
        if part.usable.any():
            yield bundle_adjust(part, COMPARING_PX, fixed_focal=fixed_focal, iterations=2 * config.iterations)


def _with_cameras(scene: Scene, other: Scene) -> Scene:
    """The scene under another's cameras, points where these alone put them, by most of their observations."""
    nowhere = np.full_like(scene.xyz, np.nan)
    moved = replace(scene, cam_from_world=other.cam_from_world, focal=other.focal, xyz=nowhere)
    return triangulate(moved, FAR_PX, 0.0, robust=True)


def _track_errors(scene: Scene) -> tuple[Indices, Array]:
    """Tracks with a point, and the root mean square error of each, px."""
    usable = scene.usable
    track, row, count = np.unique(scene.obs_track[usable], return_inverse=True, return_counts=True)
    error_px = np.minimum(scene.error_px()[usable], FAR_PX)
    return track, np.sqrt(np.bincount(row, weights=error_px**2, minlength=len(track)) / count)
