"""Plane-sweep stereo (Collins 1996) on posed frames: weight-free, numpy and OpenCV only.

Each keyframe's neighbours are warped onto inverse-depth planes, compared by ZNCC and smoothed by semi-global matching.
A pixel's confidence is judged by the photo-cost, the uniqueness, the parallax, left-right checks and what the other
keyframes see there; what is not confident enough is masked out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.protocols import DepthEstimator, Unmeasured
from wmkit.camera import Array
from wmkit.clip import Annotation, DepthMap
from wmkit.errors import InputError
from wmkit.video.frames import FrameSource

if TYPE_CHECKING:
    from wmkit.annotate.depth.stereo import PosedGray
    from wmkit.annotate.depth.views import Sweep

__all__ = ["PlaneSweepConfig", "SweptFrame", "swept_frames", "votes"]

EVERY_REACH = 64  # frames: how far a neighbour may be when every frame has depth, so that few pictures are held
SPECKLE_SHARE = 500  # an island of less than this share of the picture is a mismatch
MIN_SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSweepConfig:
    """How plane-sweep stereo is done.

    max_side        px: long side of the depth maps; frames are shrunk to it.
    planes          inverse-depth planes tried per keyframe.
    max_frames      keyframes, evenly spread over the posed frames; None is every posed frame, whose pictures are held a
                    window at a time, and whose maps (9 bytes a pixel, 12 more at work) grow with the clip.
    only            these frames, where they are posed, instead.
    window          px: side of the ZNCC window, odd.
    small_step      semi-global cost of a change by one plane between neighbouring pixels; photo-costs are 0 to 1.
    large_step      semi-global cost of a larger one.
    max_cost        a winner whose photo-cost is above was only carried in from beside it, and is invalid.
    max_vote_cost   one whose photo-cost is above has no vote on other keyframes.
    min_vote_unique one whose runner-up is not this much dearer has none either.
    tolerance       relative depth difference that two keyframes may have on one surface.
    min_confidence  what is less confident is invalid.
    Raises InputError for a count, size or step that cannot work.
    """

    max_side: int = 320
    planes: int = 96
    max_frames: int | None = 12
    only: tuple[int, ...] = ()
    window: int = 5
    small_step: float = 0.1
    large_step: float = 0.9
    max_cost: float = 0.9
    max_vote_cost: float = 0.5
    min_vote_unique: float = 1.05
    tolerance: float = 0.05
    min_confidence: float = 0.87
    name: ClassVar[str] = "plane_sweep"
    licence: ClassVar[str] = "Apache-2.0"

    def __post_init__(self) -> None:
        few = self.max_frames is not None and self.max_frames < 1
        if self.max_side < MIN_SIDE or self.planes < 8 or few or self.window < 3 or self.window % 2 == 0:
            raise InputError(
                f"plane sweep: expected max_side >= {MIN_SIDE}, planes >= 8, max_frames >= 1 and an odd window >= 3, "
                f"got {self.max_side}, {self.planes}, {self.max_frames} and {self.window}"
            )
        if not 0 <= self.small_step <= self.large_step <= 1 or self.small_step > 0.4:
            raise InputError(
                f"plane sweep: expected 0 <= small_step <= large_step <= 1 and small_step <= 0.4, "
                f"got {self.small_step} and {self.large_step}"
            )

    def build(self, device: str) -> DepthEstimator:
        """The estimator; `device` is not used."""
        return _PlaneSweep(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweptFrame:
    """What the stereo of one keyframe found, (h, w) each.

    sweep, view  what it was asked, and the frame as the others see it.
    inverse      inverse depth.
    inside       a plane within the range won, and by more than what lies beside it.
    trusted      sure enough to vote on other keyframes.
    evidence     (h, w, 8) of each pixel's confidence; see `wmkit.annotate.depth.confidence`.
    """

    sweep: "Sweep"
    view: "PosedGray"
    inverse: Array
    inside: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    evidence: NDArray[np.float32]

    @property
    def trusted_z(self) -> NDArray[np.float32]:
        """(h, w) z-depth, 0 where it is not trusted."""
        return np.where(self.trusted, 1 / self.inverse, 0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _PlaneSweep:
    config: PlaneSweepConfig

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        from wmkit.annotate.depth.confidence import log_odds, probability
        from wmkit.annotate.depth.views import chosen_frames, plan_sweeps

        config = self.config
        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        if annotation.points is None or len(annotation.points) == 0:
            return Unmeasured(reason="no_points")
        keyframes = chosen_frames(annotation.trajectory.posed, config.max_frames, config.only)
        reach = EVERY_REACH if config.max_frames is None and not config.only else None
        sweeps = plan_sweeps(annotation, keyframes, config.planes, reach)
        if not sweeps:
            return Unmeasured(reason="no_baseline")
        views, trusted, odds, z = [], [], [], []
        for found in swept_frames(frames, annotation, sweeps, config):
            views.append(replace(found.view, gray=found.view.gray[:0].copy()))  # its camera; the picture is let go
            trusted.append(found.trusted_z)
            odds.append(np.where(found.inside, log_odds(found.evidence), np.float32(-30)))
            z.append((1 / found.inverse).astype(np.float32))
        kept, confidence = [], []
        for place in range(len(sweeps)):
            sure = probability(odds[place], votes(place, sweeps, views, trusted, config.tolerance))
            valid = _without_islands(sure >= config.min_confidence, z[place], sweeps[place].inverse_depth)
            kept.append(valid)
            confidence.append(np.where(valid, sure, np.float32(0)))
        return DepthMap(
            frame=np.array([sweep.frame for sweep in sweeps], dtype=np.int64),
            z=np.stack(z),
            valid=np.stack(kept),
            scale=annotation.trajectory.scale,
            confidence=np.stack(confidence),
        )


def swept_frames(
    frames: FrameSource, annotation: Annotation, sweeps: "list[Sweep]", config: PlaneSweepConfig
) -> Iterator[SweptFrame]:
    """The stereo of every sweep, in order, from one pass over the frames.

    A shrunk picture is held from when it is read until the last sweep that needs it is done.
    """
    last = {}
    for place, sweep in enumerate(sweeps):
        last.update(dict.fromkeys((sweep.frame, *sweep.neighbours), place))
    held: dict[int, PosedGray] = {}
    done = 0
    for index, gray in _grays(frames, annotation, frozenset(last), config.max_side):
        held[index] = gray
        while done < len(sweeps) and max(sweeps[done].frame, *sweeps[done].neighbours) <= index:
            yield _sweep(sweeps[done], held, config)
            done += 1
            held = {frame: picture for frame, picture in held.items() if last[frame] >= done}


def _grays(
    frames: FrameSource, annotation: Annotation, wanted: frozenset[int], max_side: int
) -> "Iterator[tuple[int, PosedGray]]":
    """The wanted frames, grey and shrunk, with their index."""
    import cv2

    from wmkit.annotate.depth.stereo import PosedGray
    from wmkit.annotate.depth.views import map_size

    assert annotation.trajectory is not None
    cam_from_world = annotation.trajectory.cam_from_world
    size = map_size(annotation.view.width, annotation.view.height, max_side)
    for window in frames.windows():
        for index, rgb in enumerate(window.rgb, start=window.start):
            if index in wanted:
                gray = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
                yield (
                    index,
                    PosedGray(
                        gray=gray.astype(np.float32),
                        camera=annotation.intrinsics[index].resized(*size),
                        cam_from_world=cam_from_world[index],
                    ),
                )


def _sweep(sweep: "Sweep", grays: "dict[int, PosedGray]", config: PlaneSweepConfig) -> SweptFrame:
    from wmkit.annotate.depth.confidence import evidence
    from wmkit.annotate.depth.stereo import aggregate, cost_volume, left_right, relative_sigma, winner

    reference, others = grays[sweep.frame], [grays[i] for i in sweep.neighbours]
    volume = cost_volume(reference, others, sweep.inverse_depth, config.window)
    total = aggregate(volume, reference.gray, config.small_step, config.large_step)
    found = winner(total, volume)
    checks = np.stack([left_right(total, found.index, (reference, other), sweep.inverse_depth) for other in others])
    step = sweep.inverse_depth[1] - sweep.inverse_depth[0]
    place = np.clip(found.index + found.fraction, 0, len(sweep.inverse_depth) - 1)
    inverse = sweep.inverse_depth[0] + place * step
    trusted = found.inner & (found.photo <= config.max_vote_cost) & (found.unique >= config.min_vote_unique)
    return SweptFrame(
        sweep=sweep,
        view=reference,
        inverse=inverse,
        inside=found.inner & (found.photo <= config.max_cost),
        trusted=_without_islands(trusted, 1 / inverse, sweep.inverse_depth),
        evidence=evidence(found, checks, relative_sigma(reference, others, inverse), inverse),
    )


def _without_islands(valid: NDArray[np.bool_], z: NDArray, inverse_depth: Array) -> NDArray[np.bool_]:
    """`valid` less small islands of a depth of their own; 16ths of a plane, as OpenCV's own block matchers do it."""
    import cv2

    step = inverse_depth[1] - inverse_depth[0]
    disparity = np.where(valid, (1 / z - inverse_depth[0]) / step * 16, -1).astype(np.int16)
    cv2.filterSpeckles(disparity, -1, valid.size // SPECKLE_SHARE, 32)
    return valid & (disparity >= 0)


def votes(
    place: int,
    sweeps: "list[Sweep]",
    views: "list[PosedGray]",
    trusted_z: list[NDArray[np.float32]],
    tolerance: float,
) -> NDArray[np.int8]:
    """(h, w) sum of what one sweep on each side says of this one's depth; see `stereo.agreement`.

    The nearest that lies no closer than the nearest neighbour on that side: closer by, another view says the same.
    """
    from wmkit.annotate.depth.stereo import agreement

    sweep, total = sweeps[place], np.zeros(trusted_z[place].shape, dtype=np.int8)
    before = max((i for i in sweep.neighbours if i < sweep.frame), default=sweep.frame)
    after = min((i for i in sweep.neighbours if i > sweep.frame), default=sweep.frame)
    earlier = [other for other in range(place) if sweeps[other].frame <= before]
    later = [other for other in range(place + 1, len(sweeps)) if sweeps[other].frame >= after]
    for other in (*earlier[-1:], *later[:1]):
        total += agreement(views[place], trusted_z[place], views[other], trusted_z[other], tolerance)
    return total
