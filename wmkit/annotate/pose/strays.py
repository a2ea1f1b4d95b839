"""How far tracks stray from still points: all that was followed, those that the map has dropped included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.still_point import Followed, still_error_px
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["MIN_LENGTH", "REFERENCE_PX", "Strays", "find_strays"]

REFERENCE_PX = 800.0  # diagonal at which errors are given; others in proportion
ERROR_QUANTILE = 0.8  # of a track's observations, that many lie closer
MIN_LENGTH = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strays:
    """Every track that was followed in two posed frames or more, held against the still point that explains it best.

    followed  their observations.
    error_px  (M,) error of each track that four fifths of its observations stay below, px at a diagonal of 800.
    mapped    (M,) tracks of three observations or more that have a point in the map.
    """

    followed: Followed
    error_px: Array
    mapped: NDArray[np.bool_]

    @property
    def mapped_px(self) -> float:
        """Median error of the tracks that the map rests on, slips and all; NaN without one."""
        return _median(self.error_px[self.mapped])

    @property
    def typical_px(self) -> float:
        """Median error of all tracks of three observations or more; NaN without one.

        Of cameras that follow one half of a picture whose other half goes its own way, and of those that are a
        compromise between two motions, a px or more.
        """
        return _median(self.error_px[self.followed.count >= MIN_LENGTH])


def find_strays(scene: Scene, tracks: Tracks) -> Strays:
    """`scene` has the final cameras; `tracks` everything that was followed, in px of the same frames."""
    followed, number = _followed(scene, tracks)
    error_px = _quantile(followed, still_error_px(scene, followed)) * (REFERENCE_PX / tracks.diagonal_px)
    mapped = np.isfinite(scene.xyz[number, 0]) & (followed.count >= MIN_LENGTH)
    return Strays(followed=followed, error_px=error_px, mapped=mapped)


def _followed(scene: Scene, tracks: Tracks) -> tuple[Followed, NDArray[np.intp]]:
    """What was seen from posed frames, by track, of tracks seen twice or more; and those tracks' ids."""
    rows = [(frame, ids, xy) for frame, (ids, xy) in enumerate(zip(tracks.ids, tracks.xy, strict=True))]
    rows += [(frame, ids, xy) for frame, (ids, xy) in enumerate(tracks.astray)]
    frame = np.concatenate([np.full(len(ids), frame, np.intp) for frame, ids, _ in rows])
    ids = np.concatenate([ids for _, ids, _ in rows])
    xy = np.concatenate([xy for _, _, xy in rows]).astype(np.float64)
    seen = scene.posed[frame]
    seen &= np.bincount(ids[seen], minlength=len(tracks.rgb))[ids] >= 2
    frame, ids, xy = frame[seen], ids[seen], xy[seen]
    order = np.lexsort((frame, ids))
    number, first, track, count = np.unique(ids[order], return_index=True, return_inverse=True, return_counts=True)
    return Followed(frame=frame[order], track=track, xy=xy[order], first=first, count=count), number


def _quantile(followed: Followed, error_px: Array) -> Array:
    """(M,) error of each track that ERROR_QUANTILE of its observations stay below."""
    by_size = error_px[np.lexsort((error_px, followed.track))]
    return by_size[followed.first + np.rint(ERROR_QUANTILE * (followed.count - 1)).astype(np.intp)]


def _median(error_px: Array) -> float:
    return float(np.median(error_px)) if len(error_px) else float("nan")
