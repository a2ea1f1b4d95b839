"""Does the focal length change within the clip? One each frame only where the data demand it.

Zooming trades against moving forward, so a free focal length a frame costs accuracy wherever it is not needed.
"""

from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.scene import Scene

__all__ = ["ZoomConfig", "zoom_gain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomConfig:
    """When a clip zooms.

    min_gain   least share of the median reprojection error that a focal length a frame must take away.
    min_range  least ratio of the 90th to the 10th percentile of the focal lengths found.
    loss_px    scale of the Cauchy loss.
    """

    min_gain: float = 0.08
    min_range: float = 1.08
    loss_px: float = 1.0


def zoom_gain(scene: Scene, config: ZoomConfig, iterations: int) -> float:
    """Share of the median reprojection error that focal lengths of their own take from a scene's posed frames.

    0 where that is less than `min_gain`, or where the focal lengths found hardly differ.
    """
    if not scene.usable.any():
        return 0.0
    one = bundle_adjust(scene, config.loss_px, iterations=iterations)
    each = bundle_adjust(replace(one, zooms=True), config.loss_px, iterations=iterations)
    before, after = (float(np.median(found.error_px()[found.usable])) for found in (one, each))
    low, high = np.percentile(each.focal[each.posed], (10, 90))
    gain = 1 - after / before if before > 0 else 0.0
    return gain if gain >= config.min_gain and high > config.min_range * low else 0.0
