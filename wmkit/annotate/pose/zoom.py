"""Does the focal length change within the clip? One each frame only where the data demand it, along a smooth curve.

Zooming trades against moving forward, so a free focal length a frame costs accuracy wherever it is not needed, and even
where it is: frame by frame it takes up what is noise. What a lens does is smooth, and noise is not.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import make_smoothing_spline

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust
from wmkit.annotate.pose.scene import Scene

__all__ = ["ZoomConfig", "follows_curve", "smooth_zoom", "zoom_gain", "zoomed"]

FEWEST = 6  # frames that a smoothing spline is fitted to


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomConfig:
    """When a clip zooms.

    free_gain   least share of the median reprojection error that focal lengths each free must take away for a look, ...
    smooth_gain or a smooth zoom: on a wrong map the former is the better sign, on a right one the latter.
    min_range   least ratio of the 90th to the 10th percentile of the focal lengths found.
    max_wander  most that the focal lengths, each free, may jump about: the mean square of their logarithms' steps over
                their variance (von Neumann 1941), 2 for noise, next to nothing for a smooth curve.
    """

    free_gain: float = 0.08
    smooth_gain: float = 0.035
    min_range: float = 1.1
    max_wander: float = 0.4


def zoomed(one: Scene, config: ZoomConfig, iterations: int) -> tuple[Scene, float]:
    """A scene, adjusted under `one` focal length, with a focal length each; what share of its median error that takes.

    The scene itself and 0 where that is too little, or where the focal lengths found hardly differ.
    """
    if not one.usable.any():
        return one, 0.0
    each = bundle_adjust(replace(one, zooms=True), COMPARING_PX, iterations=iterations)
    if not _ranges(each, config):
        return one, 0.0
    before, free = one.median_px, each.median_px
    if free <= (1 - config.free_gain) * before:
        return each, 1 - free / before
    if not follows_curve(each, config):
        return one, 0.0
    smooth = bundle_adjust(smooth_zoom(each), COMPARING_PX, fixed_focal=True, iterations=iterations)
    gain = 1 - smooth.median_px / before
    return (smooth, gain) if smooth.median_px <= (1 - config.smooth_gain) * before else (one, 0.0)


def zoom_gain(one: Scene, config: ZoomConfig, iterations: int) -> float:
    """Share of the median error of a scene, adjusted under `one` focal length, that a focal length each takes."""
    return zoomed(one, config, iterations)[1]


def follows_curve(scene: Scene, config: ZoomConfig) -> bool:
    """Whether focal lengths, each free, differ from frame to frame as those of a zooming lens do."""
    focal = np.log(scene.focal[np.unique(scene.obs_frame[scene.usable])])
    return _ranges(scene, config) and bool((np.diff(focal) ** 2).mean() <= config.max_wander * focal.var())


def smooth_zoom(scene: Scene) -> Scene:
    """The scene with focal lengths on a cubic smoothing spline (of their logarithms, by generalised cross-validation).

    Of fewer than six frames they stay as they are.
    """
    frames = np.unique(scene.obs_frame[scene.usable])
    if len(frames) < FEWEST:
        return scene
    spline = make_smoothing_spline(frames.astype(np.float64), np.log(scene.focal[frames]))
    inside = np.clip(np.arange(len(scene.focal)), frames[0], frames[-1])
    return replace(scene, focal=np.exp(spline(inside.astype(np.float64))))


def _ranges(scene: Scene, config: ZoomConfig) -> bool:
    frames = np.unique(scene.obs_frame[scene.usable])
    if len(frames) < FEWEST:
        return False
    low, high = np.percentile(scene.focal[frames], (10, 90))
    return bool(high > config.min_range * low)
