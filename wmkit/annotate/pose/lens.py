"""Does the picture bend straight lines, and how: a radial lens, estimated only where the data demand one.

Radial distortion is not observable in every motion (forward motion trades it against the focal length: on KITTI 06,
rectified, a free coefficient moves the focal length by 19 %), so a lens must earn its place.
"""

from dataclasses import dataclass

import numpy as np

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust, bundle_adjust_camera
from wmkit.annotate.pose.scene import Scene
from wmkit.camera import Array, Lens
from wmkit.errors import InputError

__all__ = ["LensConfig", "find_lens", "lens_gain", "refit_lens"]

ITERATIONS = 150
MODELS = ("SIMPLE_RADIAL_FISHEYE", "RADIAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class LensConfig:
    """When a clip is given a lens.

    min_gain   least share of the pinhole's median reprojection error that the lens must take away.
    min_shift  least displacement of the picture's corner, as a share of the diagonal.
    """

    min_gain: float = 0.08
    min_shift: float = 0.004


def lens_gain(straight: Scene, config: LensConfig, iterations: int) -> float:
    """Share of the median error of a scene, adjusted under a `straight` camera, that a lens takes.

    0 where that is less than `min_gain`. Few iterations tell that something bends, not what.
    """
    return _best(straight, config, iterations)[1] if straight.usable.any() else 0.0


def find_lens(scene: Scene, config: LensConfig) -> Lens | None:
    """The lens under which a scene's posed frames agree notably better than under a pinhole, or None."""
    if not scene.usable.any():
        return None
    return _best(bundle_adjust(scene, COMPARING_PX, iterations=ITERATIONS), config, ITERATIONS)[0]


def refit_lens(scene: Scene, lens: Lens) -> tuple[Scene, Lens]:
    """A lens adjusted again together with the poses and points it led to; observations in px of the bent picture.

    What comes back is in agreement: a pinhole made of this lens sees those points from those poses.
    """
    bent, params = bundle_adjust_camera(scene, COMPARING_PX, lens.model, iterations=ITERATIONS, start=lens.params)
    better = _lens(lens.model, params, scene.size)
    return (scene, lens) if better is None else (bent, better)


def _best(straight: Scene, config: LensConfig, iterations: int) -> tuple[Lens | None, float]:
    before = straight.median_px
    best, gain = None, 0.0
    for model in MODELS:
        bent, params = bundle_adjust_camera(straight, COMPARING_PX, model, iterations=iterations)
        lens = _lens(model, params, straight.size)
        if lens is None or not _bends(lens, config.min_shift):
            continue
        gained = 1 - float(np.median(_error_px(bent, lens))) / before if before > 0 else 0.0
        if gained >= max(config.min_gain, gain):
            best, gain = lens, gained
    return best, gain


def _lens(model: str, params: Array, size: tuple[int, int]) -> Lens | None:
    """None when an adjustment ran off to a camera that shows no picture."""
    try:
        lens = Lens(model=model, params=tuple(params.tolist()), width=size[0], height=size[1])
        lens.default_pinhole()
    except InputError:
        return None
    return lens


def _bends(lens: Lens, min_shift: float) -> bool:
    corner = np.array([[0.0, 0.0], [lens.width, lens.height]])
    shift = np.linalg.norm(lens.to_pinhole(corner, lens.undistorted_core) - corner, axis=1).max()
    return not shift < min_shift * np.hypot(lens.width, lens.height)  # NaN: beyond the fold, far enough


def _error_px(scene: Scene, lens: Lens) -> Array:
    usable = scene.usable
    point = scene.in_camera()[usable]
    core = lens.undistorted_core
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = core.fx * point[:, :2] / point[:, 2:] + (core.cx, core.cy)
        error = np.linalg.norm(lens.from_pinhole(xy, core) - scene.obs_xy[usable], axis=1)
    return np.where((point[:, 2] > 0) & np.isfinite(error), error, np.inf)
