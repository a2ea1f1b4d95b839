"""Which parts of the picture move on their own: tracks that no still point explains, where neighbours agree.

Weight-free, from what the engine has at hand: its cameras, and every track it followed, those it dropped for straying
included. It sees nothing where there is no texture to follow, and nothing that keeps to its own epipolar line, as
what travels beside the camera does (Yuan et al., ICCV 2007, on that ambiguity).
"""

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.still_point import Followed
from wmkit.annotate.pose.strays import MIN_LENGTH, REFERENCE_PX, Strays
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array
from wmkit.clip import DynamicMask

__all__ = ["find_dynamic"]

LIMIT_PX = 3.0  # at a diagonal of 800: error from which a track of four observations moves ...
NOISE_LIMIT = 4.0  # ... or this often the median error of tracks that the map rests on, if more, ...
MOST_PX = 4.0  # ... but no more: tracks that err more are no noise, their cameras are a compromise with what moves
OLD = 10.0  # observations up to which the limit grows in proportion: long tracks slip without anything moving
FULL_LENGTH = 8.0  # observations from which a track has a whole vote
NEIGHBOURS = 3  # other moving tracks, at most this many spacings away, that must go the same way
REACH = 2.75
SAME_PX, SAME_SHARE = 2.0, 0.3  # two velocities agree within the larger, px a frame and share of the slower
BLUR, MIN_BLUR = 0.75, 1.0  # deviation of a vote: in spacings, at least so many cells
MIN_VOTES = 0.3
LONG_SIDE_CELLS = 64


def find_dynamic(strays: Strays, posed: NDArray[np.bool_], tracks: Tracks, keyframes: NDArray[np.intp]) -> DynamicMask:
    """Cells of the posed keyframes in which tracks that move on their own outvote those that stand still.

    Of all posed frames when no keyframe is.

    `posed` (N,) frames that have a camera; `tracks` everything that was followed, in px of the same frames.
    """
    frames = keyframes[posed[keyframes]]
    frames = frames if len(frames) else np.flatnonzero(posed)
    followed, error = strays.followed, strays.error_px
    shrink = REFERENCE_PX / tracks.diagonal_px
    noise_px = strays.mapped_px if strays.mapped.any() else 0.0
    limit = min(max(LIMIT_PX, NOISE_LIMIT * noise_px), MOST_PX) * np.clip(followed.count / 4, 1.0, OLD / 4)
    moves = (error > limit) & (followed.count >= MIN_LENGTH)
    still = error <= limit
    velocity = _velocity(followed) * shrink
    masks = []
    for frame in frames.tolist():
        at = np.flatnonzero(followed.frame == frame)
        track, xy = followed.track[at], followed.xy[at]
        spacing = float(np.sqrt(tracks.width * tracks.height / max(len(at), 1)))
        agreed = moves[track]
        agreed[agreed] = _same_way(xy[agreed], velocity[at[agreed]], REACH * spacing)
        vote = np.minimum(followed.count[track] / FULL_LENGTH, 1.0)
        for_it, against = (vote * agreed, vote * still[track])
        masks.append(_rasterised(xy, for_it, against, spacing, tracks))
    return DynamicMask(frame=frames.astype(np.int64), mask=np.array(masks))


def _velocity(followed: Followed) -> Array:
    """(K, 2) px a frame, to the next observation of the track; at its last, from the one before."""
    if len(followed.frame) == 0:
        return np.zeros((0, 2))
    step = np.diff(followed.xy, axis=0) / np.maximum(np.diff(followed.frame), 1)[:, None]
    last = followed.first + followed.count - 1
    velocity = np.concatenate([step, np.zeros((1, 2))])
    velocity[last] = velocity[last - 1]
    return velocity


def _same_way(xy: Array, velocity: Array, reach_px: float) -> NDArray[np.bool_]:
    """(n,) points with NEIGHBOURS others within reach that go the same way."""
    near = np.linalg.norm(xy[:, None] - xy, axis=2) <= reach_px
    speed = np.linalg.norm(velocity, axis=1)
    tolerance = np.maximum(SAME_PX, SAME_SHARE * np.minimum(speed[:, None], speed))
    alike = np.linalg.norm(velocity[:, None] - velocity, axis=2) <= tolerance
    return (near & alike).sum(axis=1) > NEIGHBOURS  # itself is one of them


def _rasterised(xy: Array, for_it: Array, against: Array, spacing_px: float, tracks: Tracks) -> NDArray[np.bool_]:
    """(h, w) cells in which the weights of the votes `for_it`, each blurred to a Gaussian, exceed those `against`."""
    cell_px = max(tracks.width, tracks.height) / LONG_SIDE_CELLS
    width, height = (max(1, round(side / cell_px)) for side in (tracks.width, tracks.height))
    blur_px = max(BLUR * spacing_px, MIN_BLUR * cell_px)
    x = (np.arange(width) + 0.5) * tracks.width / width
    y = (np.arange(height) + 0.5) * tracks.height / height
    across = np.exp(-(((x[:, None] - xy[:, 0]) / blur_px) ** 2) / 2)
    down = np.exp(-(((y[:, None] - xy[:, 1]) / blur_px) ** 2) / 2)
    moving, still = ((down * vote) @ across.T for vote in (for_it, against))
    return (moving > still) & (moving > MIN_VOTES)
