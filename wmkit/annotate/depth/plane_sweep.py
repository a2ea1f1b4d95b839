"""Plane-sweep stereo (Collins 1996) on a few posed keyframes: weight-free, numpy and OpenCV only.

Each keyframe's neighbours are warped onto inverse-depth planes, compared by ZNCC, smoothed by semi-global matching,
and what the photo-cost, the uniqueness, the size of the patch or the other keyframes contradict is masked out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.protocols import DepthEstimator, Unmeasured
from wmkit.clip import Annotation, DepthMap
from wmkit.errors import InputError
from wmkit.video.frames import FrameSource

if TYPE_CHECKING:
    from wmkit.annotate.depth.stereo import PosedGray
    from wmkit.annotate.depth.views import Sweep

__all__ = ["PlaneSweepConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSweepConfig:
    """How plane-sweep stereo is done.

    max_side      px: long side of the depth maps; frames are shrunk to it.
    planes        inverse-depth planes tried per keyframe.
    max_frames    keyframes, evenly spread over the posed frames.
    window        px: side of the ZNCC window, odd.
    small_step    semi-global cost of a change by one plane between neighbouring pixels.
    large_step    semi-global cost of a larger one; photo-costs are 0 to 1.
    max_cost      a winner whose photo-cost is above is invalid.
    min_unique    a winner whose runner-up is not this much dearer is invalid.
    tolerance     relative depth difference that two keyframes may have on one surface.
    Raises InputError for a count or size that cannot work.
    """

    max_side: int = 320
    planes: int = 96
    max_frames: int = 12
    window: int = 5
    small_step: float = 0.05
    large_step: float = 0.6
    max_cost: float = 0.5
    min_unique: float = 1.05
    tolerance: float = 0.05
    name: ClassVar[str] = "plane_sweep"
    licence: ClassVar[str] = "Apache-2.0"

    def __post_init__(self) -> None:
        if self.max_side < 32 or self.planes < 8 or self.max_frames < 1 or self.window < 3 or self.window % 2 == 0:
            raise InputError(
                f"plane sweep: expected max_side >= 32, planes >= 8, max_frames >= 1 and an odd window >= 3, got "
                f"{self.max_side}, {self.planes}, {self.max_frames} and {self.window}"
            )

    def build(self, device: str) -> DepthEstimator:
        """The estimator; `device` is not used."""
        return _PlaneSweep(self)


@dataclass(frozen=True, slots=True)
class _PlaneSweep:
    config: PlaneSweepConfig

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        from wmkit.annotate.depth.views import plan_sweeps

        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        if annotation.points is None or len(annotation.points) == 0:
            return Unmeasured(reason="no_points")
        sweeps = plan_sweeps(annotation, self.config.max_frames, self.config.planes)
        if not sweeps:
            return Unmeasured(reason="no_baseline")
        needed = {index for sweep in sweeps for index in (sweep.frame, *sweep.neighbours)}
        grays = _collect(frames, annotation, needed, self.config.max_side)
        maps = [_sweep(sweep, grays, self.config) for sweep in sweeps]
        kept = _consistent([grays[sweep.frame] for sweep in sweeps], maps, self.config.tolerance)
        return DepthMap(
            frame=np.array([sweep.frame for sweep in sweeps], dtype=np.int64),
            z=np.stack(maps),
            valid=np.stack(kept),
            scale=annotation.trajectory.scale,
        )


def _collect(
    frames: FrameSource, annotation: Annotation, needed: Iterable[int], max_side: int
) -> "dict[int, PosedGray]":
    """The needed frames, grey and shrunk, from one pass: at most 5 small pictures a keyframe are ever held."""
    import cv2

    from wmkit.annotate.depth.stereo import PosedGray

    assert annotation.trajectory is not None
    cam_from_world = annotation.trajectory.cam_from_world
    wanted, grays = frozenset(needed), {}
    shrink = min(1.0, max_side / max(annotation.view.width, annotation.view.height))
    size = (max(1, round(annotation.view.width * shrink)), max(1, round(annotation.view.height * shrink)))
    for window in frames.windows():
        for index, rgb in enumerate(window.rgb, start=window.start):
            if index in wanted:
                gray = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
                grays[index] = PosedGray(
                    gray=gray.astype(np.float32),
                    camera=annotation.intrinsics[index].resized(*size),
                    cam_from_world=cam_from_world[index],
                )
    return grays


def _sweep(sweep: "Sweep", grays: "dict[int, PosedGray]", config: PlaneSweepConfig) -> NDArray[np.float32]:
    """(h, w) z-depth of one keyframe, 0 where the stereo alone already says that it does not know."""
    import cv2

    from wmkit.annotate.depth.stereo import aggregate, cost_volume, winner

    reference = grays[sweep.frame]
    volume = cost_volume(reference, [grays[i] for i in sweep.neighbours], sweep.inverse_depth, config.window)
    total = aggregate(volume, reference.gray, config.small_step, config.large_step)
    index, photo, unique = winner(total, volume)
    valid = np.isfinite(index) & (photo <= config.max_cost) & (unique >= config.min_unique)
    # A small island of its own depth is a mismatch: 16ths of a plane, as OpenCV's own block matchers do it.
    disparity = np.where(valid, np.nan_to_num(index) * 16, -1).astype(np.int16)
    cv2.filterSpeckles(disparity, -1, valid.size // 500, 32)
    valid &= disparity >= 0
    inverse = np.interp(np.nan_to_num(index), np.arange(len(sweep.inverse_depth)), sweep.inverse_depth)
    return np.where(valid, 1 / inverse, 0).astype(np.float32)


def _consistent(views: "list[PosedGray]", maps: list[NDArray[np.float32]], tolerance: float) -> list[NDArray[np.bool_]]:
    """Validity (h, w) of each map: no neighbouring keyframe looks through the surface, or another confirms it."""
    from wmkit.annotate.depth.stereo import agreement

    kept = []
    for place, z in enumerate(maps):
        others = [other for other in (place - 1, place + 1) if 0 <= other < len(maps)]
        votes = [agreement(views[place], z, views[other], maps[other], tolerance) for other in others]
        balance = np.sum(votes, axis=0) if votes else np.zeros(z.shape)
        kept.append((z > 0) & (balance >= 0))
    return kept
