"""Described features of single frames and their matches: RootSIFT (Arandjelović & Zisserman, CVPR 2012), on the CPU.

Only frames that tracks leave unconnected are described. XFeat finds about 1.7 times the matches in about the same
time but needs torch, kornia and weights in every worker; SIFT poses the same clips (LOG.md).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.coarse_flow import PIXEL_CENTRE
from wmkit.annotate.pose.epipolar import epipolar_inliers

__all__ = ["FeatureConfig", "Features", "describe", "match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Knobs of description and matching.

    max_features   strongest features kept of a frame.
    contrast       SIFT's contrast threshold: OpenCV's default 0.04 leaves dim rooms bare.
    ratio          a match's distance over that of its runner-up (Lowe, IJCV 2004).
    epipolar_px    MAGSAC threshold of the pair's fundamental matrix.
    min_matches    that must agree with it, or the pair counts as unmatched.
    """

    max_features: int = 4000
    contrast: float = 0.01
    ratio: float = 0.85
    epipolar_px: float = 2.0
    min_matches: int = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Features of one frame, strongest first.

    xy          (n, 2) float32 px, pixel centres at half-integers.
    rgb         (n, 3) uint8, colour there.
    descriptor  (n, 128) float32 of unit length.
    """

    xy: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    descriptor: NDArray[np.float32]


def describe(rgb: NDArray[np.uint8], config: FeatureConfig) -> Features:
    """RootSIFT features of one frame, strongest first, one a place: of several orientations the strongest stays."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    detector = cv2.SIFT.create(
        nfeatures=config.max_features,
        contrastThreshold=config.contrast,
        enable_precise_upscale=True,  # without it every feature lies a quarter of a pixel too far up and left
    )
    keypoints, descriptor = detector.detectAndCompute(gray, None)
    if descriptor is None or len(keypoints) == 0:
        return Features(xy=np.zeros((0, 2), np.float32), rgb=np.zeros((0, 3), np.uint8), descriptor=_none())
    xy = np.array([point.pt for point in keypoints], np.float32)
    strength = np.array([point.response for point in keypoints])
    order = np.argsort(-strength, kind="stable")
    _, first = np.unique(np.round(xy[order], 2), axis=0, return_index=True)
    keep = order[np.sort(first)]
    descriptor = descriptor[keep] / np.maximum(descriptor[keep].sum(axis=1, keepdims=True), 1e-9)
    column, row = np.rint(xy[keep]).astype(int).T
    height, width = gray.shape
    colour = rgb[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return Features(xy=xy[keep] + PIXEL_CENTRE, rgb=colour, descriptor=np.sqrt(descriptor).astype(np.float32))


def match(a: Features, b: Features, config: FeatureConfig) -> NDArray[np.intp]:
    """(m, 2) positions in `a` and `b` of mutual nearest neighbours that one fundamental matrix explains; m may be 0."""
    if min(len(a.xy), len(b.xy)) < config.min_matches:
        return np.zeros((0, 2), np.intp)
    similarity = a.descriptor @ b.descriptor.T
    best = similarity.argmax(axis=1)
    mutual = np.flatnonzero(similarity.argmax(axis=0)[best] == np.arange(len(a.xy)))
    nearest = similarity[mutual, best[mutual]]
    similarity[mutual, best[mutual]] = -1.0
    second = similarity[mutual].max(axis=1)
    clear = (1 - nearest) < config.ratio**2 * (1 - second)  # squared distances of unit vectors: 2 - 2 cos
    pairs = np.stack([mutual, best[mutual]], axis=1)[clear]
    if len(pairs) < config.min_matches:
        return np.zeros((0, 2), np.intp)
    inlier = epipolar_inliers(a.xy[pairs[:, 0]], b.xy[pairs[:, 1]], config.epipolar_px)
    if inlier is None or np.count_nonzero(inlier) < config.min_matches:
        return np.zeros((0, 2), np.intp)
    return pairs[inlier]


def _none() -> NDArray[np.float32]:
    return np.zeros((0, 128), np.float32)
