"""Does the picture bend straight lines, and how: two radial coefficients, estimated only where the data demand them.

Radial distortion is not observable in every motion (forward motion trades it against the focal length: on KITTI 06,
rectified, a free coefficient moves the focal length by 19 %), so a lens must earn its place.
"""

from dataclasses import dataclass

import numpy as np

from wmkit.annotate.pose.bundle import bundle_adjust, bundle_adjust_camera
from wmkit.annotate.pose.scene import Scene
from wmkit.camera import Lens
from wmkit.errors import InputError

__all__ = ["LensConfig", "find_lens"]

MODEL = "RADIAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class LensConfig:
    """When a clip is given a lens.

    min_gain   least share of the pinhole's median reprojection error that the lens must take away.
    min_shift  least displacement of the picture's corner, as a share of the diagonal.
    max_points longest-seen points that decide.
    loss_px    scale of the Cauchy loss.
    """

    min_gain: float = 0.04
    min_shift: float = 0.004
    max_points: int = 1500
    loss_px: float = 1.0


def find_lens(scene: Scene, config: LensConfig) -> Lens | None:
    """The lens under which a scene's posed frames agree notably better than under a pinhole, or None."""
    thin = _longest(scene, config.max_points)
    if not thin.usable.any():
        return None
    straight = bundle_adjust(thin, config.loss_px)
    bent, params = bundle_adjust_camera(straight, config.loss_px, MODEL)
    width, height = scene.size
    try:
        lens = Lens(model=MODEL, params=tuple(params.tolist()), width=width, height=height)
        lens.default_pinhole()  # raises for a lens that shows no picture
    except InputError:
        return None
    before = np.median(straight.error_px()[straight.usable])
    after = np.median(_error_px(bent, lens))
    corner = np.array([[0.0, 0.0], [width, height]])
    core = lens.undistorted_core
    shift = np.linalg.norm(lens.to_pinhole(corner, core) - corner, axis=1).max()
    earned = after < (1 - config.min_gain) * before
    bends = not shift < config.min_shift * np.hypot(width, height)  # NaN: beyond the fold, far enough
    return lens if earned and bends else None


def _longest(scene: Scene, count: int) -> Scene:
    length = np.bincount(scene.obs_track[scene.usable], minlength=len(scene.xyz))
    chosen = np.argsort(-length, kind="stable")[:count]
    return scene.keep(np.isin(scene.obs_track, chosen[length[chosen] >= 3]))


def _error_px(scene: Scene, lens: Lens) -> np.ndarray:
    usable = scene.usable
    point = scene.in_camera()[usable]
    core = lens.undistorted_core
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = core.fx * point[:, :2] / point[:, 2:] + (core.cx, core.cy)
        error = np.linalg.norm(lens.from_pinhole(xy, core) - scene.obs_xy[usable], axis=1)
    return np.where((point[:, 2] > 0) & np.isfinite(error), error, np.inf)
