"""Robust two-view geometry of point pairs by OpenCV's USAC with the MAGSAC++ score (Barath et al., CVPR 2020)."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["epipolar_inliers", "homography_inliers"]


def epipolar_inliers(
    before: NDArray[np.float32], after: NDArray[np.float32], threshold_px: float
) -> NDArray[np.bool_] | None:
    """(n,) pairs of points (n, 2) px that follow one fundamental matrix; None when no matrix is found."""
    try:
        _, mask = cv2.findFundamentalMat(before, after, _usac(threshold_px))
    except cv2.error:  # OpenCV 5.0.0 asserts when local optimisation finds no model (usac/estimator.cpp:418)
        return None
    return None if mask is None else mask[:, 0] == 1


def homography_inliers(
    before: NDArray[np.float32], after: NDArray[np.float32], threshold_px: float
) -> NDArray[np.bool_] | None:
    """(n,) pairs of points (n, 2) px that follow one homography; None when no matrix is found."""
    try:
        _, mask = cv2.findHomography(before, after, _usac(threshold_px))
    except cv2.error:
        return None
    return None if mask is None else mask[:, 0] == 1


def _usac(threshold_px: float) -> cv2.UsacParams:
    """Fixed seed, one thread: the same points give the same answer."""
    params = cv2.UsacParams()
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.sampler = cv2.SAMPLING_UNIFORM
    params.loMethod = cv2.LOCAL_OPTIM_SIGMA
    params.threshold = threshold_px
    params.confidence = 0.999
    params.maxIterations = 2000
    params.randomGeneratorState = 0
    params.isParallel = False
    return params
