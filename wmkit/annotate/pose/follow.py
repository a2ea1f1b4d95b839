"""Points followed through a clip whatever its steps: tracks where they hold, matched SIFT where they break.

Given poses are checked and their points triangulated from these; nothing here estimates a pose.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.tracks import TrackConfig, Tracks, track_points
from wmkit.video.frames import FrameSource

__all__ = ["follow_points"]

HOLDING = 60  # tracks that two neighbours share in the median; below it the steps are too wide to track
FEATURES = 4000
REACH = 2  # frames back that a frame is matched with: a chain survives one bad frame
RATIO = 0.8  # Lowe's
MATCH_PX, MIN_MATCHES = 2.0, 20
HALF_PX = 0.5  # OpenCV puts the centre of the first pixel at 0, we at 0.5


def follow_points(frames: FrameSource, config: TrackConfig) -> Tracks:
    """Tracks of a clip; of wide steps, chains of SIFT matches that follow one fundamental matrix (MAGSAC).

    Deterministic; holds the descriptors of three frames.
    """
    tracks = track_points(frames, config)
    shared = [len(tracks.common(index, index + 1)[0]) for index in range(len(tracks) - 1)]
    if np.median(shared) >= HOLDING:
        return tracks
    chains = _chains(frames, tracks)
    shared_by_chains = [len(chains.common(index, index + 1)[0]) for index in range(len(chains) - 1)]
    return chains if np.median(shared_by_chains) > np.median(shared) else tracks


class _Chains:
    """Union of pairwise matches, one observation a frame and track."""

    def __init__(self) -> None:
        self.ids: list[NDArray[np.int64]] = []
        self.xy: list[NDArray[np.float32]] = []
        self.rgb: list[NDArray[np.uint8]] = []
        self.descriptors: list[NDArray[np.float32] | None] = []
        self.born = 0

    def add(self, rgb: NDArray[np.uint8], sift: "cv2.SIFT") -> None:
        found, descriptors = sift.detectAndCompute(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), None)  # pyright: ignore[reportArgumentType, reportCallIssue]
        xy = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
        descriptors = np.zeros((0, 128), np.float32) if descriptors is None else np.asarray(descriptors, np.float32)
        ids = np.full(len(xy), -1, np.int64)
        for back in range(1, min(REACH, len(self.xy)) + 1):
            before, here = _matches(self.xy[-back], self.descriptors[-back], xy, descriptors)
            known = self.ids[-back][before]
            free = (ids[here] < 0) & ~np.isin(known, ids)
            ids[here[free]] = known[free]
        new = ids < 0
        ids[new] = np.arange(self.born, self.born + new.sum())
        self.born += int(new.sum())
        column, row = np.clip(np.rint(xy[new]).astype(int).T, 0, np.array([[rgb.shape[1] - 1], [rgb.shape[0] - 1]]))
        self.rgb.append(rgb[row, column])
        self.ids.append(ids)
        self.xy.append(xy)
        self.descriptors.append(descriptors)
        if len(self.descriptors) > REACH:
            self.descriptors[-REACH - 1] = None  # what is out of reach is let go


def _chains(frames: FrameSource, tracks: Tracks) -> Tracks:
    sift = cv2.SIFT.create(nfeatures=FEATURES)
    chains = _Chains()
    for window in frames.windows():
        for rgb in window.rgb:
            chains.add(rgb, sift)
    order = [np.argsort(ids, kind="stable") for ids in chains.ids]
    return replace(
        tracks,
        ids=tuple(ids[at] for ids, at in zip(chains.ids, order, strict=True)),
        xy=tuple(xy[at] + np.float32(HALF_PX) for xy, at in zip(chains.xy, order, strict=True)),
        rgb=np.concatenate(chains.rgb),
    )


def _matches(
    xy_a: NDArray, descriptors_a: NDArray | None, xy_b: NDArray, descriptors_b: NDArray
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of a and b that match: ratio test, mutual, on one fundamental matrix; a point is used once."""
    nothing = np.zeros(0, np.intp), np.zeros(0, np.intp)
    if descriptors_a is None or min(len(descriptors_a), len(descriptors_b)) < MIN_MATCHES:
        return nothing
    # Hellinger distance of SIFT (Arandjelovic & Zisserman 2012): unit vectors, so the dot product orders them
    a, b = (np.sqrt(d / np.maximum(d.sum(axis=1, keepdims=True), 1e-9)) for d in (descriptors_a, descriptors_b))
    likeness = a @ b.T
    best_b = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best_b] == np.arange(len(a))
    top = np.partition(likeness, -2, axis=1)[:, -2:]
    distance = np.sqrt(np.maximum(2 - 2 * top, 0))
    good = np.flatnonzero(mutual & (distance[:, 1] < RATIO * distance[:, 0]))
    if len(good) < MIN_MATCHES:
        return nothing
    params = cv2.UsacParams()
    params.score, params.sampler = cv2.SCORE_METHOD_MAGSAC, cv2.SAMPLING_UNIFORM
    params.loMethod, params.threshold = cv2.LOCAL_OPTIM_SIGMA, MATCH_PX
    params.confidence, params.maxIterations, params.randomGeneratorState = 0.999, 5000, 0
    params.isParallel = False
    try:
        _, mask = cv2.findFundamentalMat(xy_a[good], xy_b[best_b[good]], params)
    except cv2.error:  # OpenCV 5.0.0 asserts when local optimisation finds no model
        return nothing
    if mask is None or mask.sum() < MIN_MATCHES:
        return nothing
    kept = good[mask[:, 0] == 1]
    return kept, best_b[kept]
