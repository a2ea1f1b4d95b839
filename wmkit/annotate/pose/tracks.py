"""Point tracks through a clip: OpenCV's pyramidal LK, forward-backward checked, MAGSAC-cleaned, grid-replenished.

Tracks replace re-detected features because they survive where SIFT matching does not: on KITTI 06 (forward motion)
pycolmap's default pipeline builds no model at all, while the same mapper on tracks poses every frame (LOG.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.coarse_flow import PIXEL_CENTRE, CoarseFlow, sample
from wmkit.annotate.pose.epipolar import epipolar_inliers
from wmkit.camera import Intrinsics, Lens
from wmkit.video.frames import FrameSource

__all__ = ["TrackConfig", "Tracks", "track_points"]

Sightings = tuple[NDArray[np.int64], NDArray[np.float32]]
THUMBNAIL = (32, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackConfig:
    """Knobs of the tracker.

    max_points          points alive at a time; of small frames, one for every `area_px` square px.
    min_distance        of a new point to every living one, as a share of the image diagonal.
    grid                (columns, rows): replenished cell by cell, so that texture-poor regions keep their points.
    window_px           LK integration window, smaller on frames below `full_side_px`.
    pyramid_levels      halvings above full size.
    coarse_side_px      long side of the frames on which DIS makes LK's first guess.
    coarse_blur_px      blur of that guess, in px of those frames.
    forward_backward_px a point is dropped when tracking it back lands farther than this from where it was.
    least_share         of the living points that must pass from one frame to the next; where fewer do, it is by chance.
    epipolar_px         MAGSAC threshold of the fundamental matrix between consecutive frames.
    """

    max_points: int = 750
    area_px: float = 100.0
    min_distance: float = 0.008
    grid: tuple[int, int] = (8, 6)
    window_px: int = 21
    full_side_px: int = 450
    pyramid_levels: int = 1
    coarse_side_px: int = 480
    coarse_blur_px: float = 24.0
    forward_backward_px: float = 0.7
    epipolar_px: float = 2.0
    least_share: float = 0.1
    quality: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """Every track of a clip, frame by frame.

    ids    per frame: (n,) int64, sorted ids of the tracks alive there.
    xy     per frame: (n, 2) float32, px, pixel centres at half-integers.
    rgb    (number of tracks, 3) uint8: colour at birth.
    thumbnail  (N, 24, 32) uint8: every frame in small, grey.
    width  px of the frames.
    height likewise.
    astray per frame: ids and (n, 2) xy of tracks that left the common motion on their way there: followed no further,
           and no part of the tracks, but seen.
    """

    ids: tuple[NDArray[np.int64], ...]
    xy: tuple[NDArray[np.float32], ...]
    rgb: NDArray[np.uint8]
    thumbnail: NDArray[np.uint8]
    width: int
    height: int
    astray: tuple[Sightings, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def diagonal_px(self) -> float:
        """Length of the image diagonal in px."""
        return float(np.hypot(self.width, self.height))

    def common(self, i: int, j: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions, in frames i and j, of the tracks alive in both."""
        _, in_i, in_j = np.intersect1d(self.ids[i], self.ids[j], assume_unique=True, return_indices=True)
        return in_i, in_j

    def half(self, parity: int) -> "Tracks":
        """Every second track: 0 and 1 are disjoint and together all. Ids stay."""
        keep = [ids % 2 == parity for ids in self.ids]
        return self._where(keep, self.xy)

    def reversed(self) -> "Tracks":
        """The same tracks with time running backwards, without `astray`."""
        return replace(self, ids=self.ids[::-1], xy=self.xy[::-1], thumbnail=self.thumbnail[::-1], astray=())

    def undistorted(self, lens: Lens, pinhole: Intrinsics) -> "Tracks":
        """The tracks in px of the undistorted frames; observations the lens cannot invert are dropped."""
        xy = [lens.to_pinhole(row.astype(np.float64), pinhole).astype(np.float32) for row in self.xy]
        astray = [
            (ids, lens.to_pinhole(row.astype(np.float64), pinhole).astype(np.float32)) for ids, row in self.astray
        ]
        known = replace(self, astray=tuple((ids[ok := np.isfinite(row[:, 0])], row[ok]) for ids, row in astray))
        return known._where([np.isfinite(row[:, 0]) for row in xy], xy)

    def _where(self, keep: Sequence[NDArray[np.bool_]], xy: Sequence[NDArray[np.float32]]) -> "Tracks":
        return replace(
            self,
            ids=tuple(ids[mask] for ids, mask in zip(self.ids, keep, strict=True)),
            xy=tuple(row[mask] for row, mask in zip(xy, keep, strict=True)),
        )

    def parallax_px(self, i: int, j: int) -> float:
        """Median displacement of the tracks shared by frames i and j; infinite when they share none."""
        in_i, in_j = self.common(i, j)
        if len(in_i) == 0:
            return float("inf")
        return float(np.median(np.hypot(*(self.xy[j][in_j] - self.xy[i][in_i]).T)))


def track_points(frames: FrameSource, config: TrackConfig) -> Tracks:
    """Track points through every frame of a clip; holds two grey frames at a time."""
    tracker = _Tracker(config, frames.view.width, frames.view.height)
    for rgb in _each_frame(frames):
        tracker.add(rgb)
    return tracker.result()


def _each_frame(frames: FrameSource) -> Iterator[NDArray[np.uint8]]:
    for window in frames.windows():
        yield from window.rgb


class _Tracker:
    """Streaming state: the last grey frame, the living points and what was recorded so far."""

    def __init__(self, config: TrackConfig, width: int, height: int) -> None:
        self.config = config
        self.width, self.height = width, height
        self.distance_px = max(3.0, config.min_distance * float(np.hypot(width, height)))
        self.disc = _disc(int(self.distance_px))
        self.points = min(config.max_points, max(300, round(width * height / config.area_px)))
        self.window_px = _odd(config.window_px * min(1.0, max(width, height) / config.full_side_px))
        self.gray: NDArray[np.uint8] | None = None
        self.ids = np.zeros(0, np.int64)
        self.xy = np.zeros((0, 2), np.float32)
        self.frame_ids: list[NDArray[np.int64]] = []
        self.frame_xy: list[NDArray[np.float32]] = []
        self.rgb: list[NDArray[np.uint8]] = []
        self.thumbnail: list[NDArray] = []
        self.astray: list[Sightings] = []
        self.born = 0
        self.coarse = CoarseFlow(width, height, config.coarse_side_px, config.coarse_blur_px)

    def add(self, rgb: NDArray[np.uint8]) -> None:
        gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        self.astray.append((np.zeros(0, np.int64), np.zeros((0, 2), np.float32)))
        if self.gray is not None and len(self.ids):
            self._follow(self.gray, gray)
        self._replenish(gray, rgb)
        self.gray = gray
        self.thumbnail.append(cv2.resize(gray, THUMBNAIL, interpolation=cv2.INTER_AREA))
        self.frame_ids.append(self.ids)
        self.frame_xy.append(self.xy + PIXEL_CENTRE)

    def result(self) -> Tracks:
        rgb = np.concatenate(self.rgb) if self.rgb else np.zeros((0, 3), np.uint8)
        return Tracks(
            ids=tuple(self.frame_ids),
            xy=tuple(self.frame_xy),
            rgb=rgb,
            thumbnail=np.stack(self.thumbnail),
            width=self.width,
            height=self.height,
            astray=tuple(self.astray),
        )

    def _follow(self, before: NDArray, after: NDArray) -> None:
        """Move the living points to the next frame and drop those that fail a check."""
        seen, field = self.coarse.along(after, self.coarse.field(before, after, self.xy), self.window_px)
        moved, found = self._refine(before, seen, self.xy, self.xy)
        back, found_back = self._refine(seen, before, moved, moved)
        closed = np.linalg.norm(back - self.xy, axis=1) < self.config.forward_backward_px
        moved = moved + sample(field, moved)
        inside = (moved >= 0).all(1) & (moved[:, 0] <= self.width - 1) & (moved[:, 1] <= self.height - 1)
        keep = found & found_back & closed & inside
        if keep.mean() < self.config.least_share:
            keep[:] = False
        old, self.xy, self.ids = self.xy[keep], moved[keep], self.ids[keep]
        keep = _still_or_epipolar(old, self.xy, self.config.epipolar_px)
        self.astray[-1] = self.ids[~keep], self.xy[~keep] + PIXEL_CENTRE
        self.xy, self.ids = self.xy[keep], self.ids[keep]

    def _refine(
        self, before: NDArray, after: NDArray, xy: NDArray, guess: NDArray
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Sub-pixel LK from `guess`; the new positions and whether each was found."""
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)
        window = (self.window_px, self.window_px)
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            before,
            after,
            xy,
            guess.astype(np.float32),  # a copy: OpenCV writes the answer into it
            winSize=window,
            maxLevel=self.config.pyramid_levels,
            criteria=criteria,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        return np.asarray(moved, np.float32), status[:, 0] == 1

    def _replenish(self, gray: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> None:
        """Add corners in grid cells that hold fewer points than their share."""
        columns, rows = self.config.grid
        share = -(-self.points // (columns * rows))
        free = self._free(gray.shape)
        x_edges = np.linspace(0, self.width, columns + 1).astype(int)
        y_edges = np.linspace(0, self.height, rows + 1).astype(int)
        count, _, _ = np.histogram2d(self.xy[:, 1], self.xy[:, 0], bins=(y_edges, x_edges))
        new = []
        for row in range(rows):
            for column in range(columns):
                missing = share - int(count[row, column])
                if missing <= share // 4:
                    continue
                ys, xs = slice(y_edges[row], y_edges[row + 1]), slice(x_edges[column], x_edges[column + 1])
                corners = cv2.goodFeaturesToTrack(
                    gray[ys, xs], missing, self.config.quality, self.distance_px, mask=free[ys, xs], blockSize=5
                )
                if corners is not None:
                    new.append(corners[:, 0] + np.array((x_edges[column], y_edges[row]), np.float32))
        if new:
            self._birth(np.concatenate(new), rgb)

    def _free(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """(h, w) 255 where no living point is within `distance_px`, else 0."""
        margin = int(self.distance_px)
        free = np.full((shape[0] + 2 * margin, shape[1] + 2 * margin), 255, np.uint8)
        x, y = np.rint(self.xy).astype(int).T
        corner = y * free.shape[1] + x  # of the square about a point, the margin being where it would stick out
        free.reshape(-1)[corner[:, None] + self.disc[:, 0] * free.shape[1] + self.disc[:, 1]] = 0
        return np.ascontiguousarray(free[margin : margin + shape[0], margin : margin + shape[1]])

    def _birth(self, xy: NDArray[np.float32], rgb: NDArray[np.uint8]) -> None:
        ids = np.arange(self.born, self.born + len(xy), dtype=np.int64)
        self.born += len(xy)
        self.ids = np.concatenate([self.ids, ids])
        self.xy = np.concatenate([self.xy, xy])
        column, row = np.rint(xy).astype(int).T
        self.rgb.append(rgb[row, column])


def _disc(radius: int) -> NDArray[np.int64]:
    """(n, 2) row and column of the pixels of OpenCV's disc within the square about it."""
    square = np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.argwhere(cv2.circle(square, (radius, radius), radius, 1, -1))


def _odd(window_px: float) -> int:
    """The nearest odd number that is not too small a window."""
    return max(11, 2 * round((window_px - 1) / 2) + 1)


def _still_or_epipolar(before: NDArray, after: NDArray, threshold_px: float) -> NDArray[np.bool_]:
    """Points that follow one fundamental matrix; all of them when there are too few, or too little motion, to tell."""
    still_px = 0.5  # below this the matrix is noise and would throw out good points at random
    keep = None
    if len(before) >= 30 and np.median(np.linalg.norm(after - before, axis=1)) >= still_px:
        keep = epipolar_inliers(before, after, threshold_px)
    return np.ones(len(before), np.bool_) if keep is None else keep
