"""What a video's pixels say besides its cameras: does a place look the same when it is seen again, does the end blur?

revisit_psnr, revisit_ssim     of pairs of frames whose asked cameras stand within 0.5 m and 20 degrees of one
                               another, the camera having been elsewhere between; the five nearest pairs, as
                               SANA-WM-Bench stores them. PSNR of RGB (peak 255), SSIM of luma (Wang et al. 2004:
                               Gaussian of 11 px, sigma 1.5)
sharpness_drop, contrast_drop  of the last 10 s against the first (of thirds, where a video is shorter than 20 s):
                               log2 of the ratio of mean squared Laplacians of luma, and of standard deviations of
                               luma; positive when the end is worse

No network's opinion is in them: LPIPS and VBench's imaging quality are not measured here, and do not compare. What a
video shows decides the drops too: hold them against those of a real video along the same path.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import ScaleKind, Trajectory
from wmkit.metrics import Metric, rotation_angle_rad
from wmkit.video.frames import FrameSource, FrameWindow

__all__ = ["PICTURE_FIGURES", "picture_figures", "psnr_db", "revisit_pairs", "ssim"]

PICTURE_FIGURES = ("revisit_psnr", "revisit_ssim", "sharpness_drop", "contrast_drop")
NEAR_M, NEAR_DEG, MOST_PAIRS = 0.5, 20.0, 5
WINDOW_S = 10.0
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
NO_REVISIT = f"the path comes back nowhere to within {NEAR_M:g} m and {NEAR_DEG:g} degrees after it has left"
NO_METRES = f"the path's unit is not said to be the metre, so that {NEAR_M:g} m of it are unknown"


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of every frame, and the pixels of those of pairs."""

    detail: NDArray[np.float64]
    spread: NDArray[np.float64]
    kept: dict[int, NDArray[np.uint8]]


def picture_figures(source: FrameSource, path: Trajectory) -> tuple[dict[str, Metric], dict[str, str]]:
    """PICTURE_FIGURES by name, and the reason of each that this path and video do not allow; `path` has a row a frame.

    One pass over the frames, of which ten at most are kept.
    """
    pairs = revisit_pairs(path) if path.scale is ScaleKind.METRIC else ()
    seen = _see(source.windows(), {index for pair in pairs for index in pair})
    metrics: dict[str, Metric] = {}
    why = "" if pairs else NO_REVISIT if path.scale is ScaleKind.METRIC else NO_METRES
    for name, unit, measure in (("revisit_psnr", "dB", psnr_db), ("revisit_ssim", "", ssim)):
        if pairs:
            values = [measure(seen.kept[first], seen.kept[second]) for first, second in pairs]
            metrics[name] = _metric(name, float(np.mean(values)), unit, f"mean over {len(pairs)} revisits", len(pairs))
    first, last = _ends(path.time_s)
    for name, values in (("sharpness_drop", seen.detail), ("contrast_drop", seen.spread)):
        before, after = (float(values[rows].mean()) for rows in (first, last))
        if before > 0 and after > 0:
            told = f"log2 of the first {first.sum()} frames' over the last {last.sum()} frames'"
            metrics[name] = _metric(name, float(np.log2(before / after)), "octaves", told, len(values))
    flat = "the first or the last frames are of one colour"
    reasons = {"revisit_psnr": why, "revisit_ssim": why, "sharpness_drop": flat, "contrast_drop": flat}
    return metrics, {name: reason for name, reason in reasons.items() if name not in metrics}


def revisit_pairs(path: Trajectory) -> tuple[tuple[int, int], ...]:
    """(earlier, later) frames of one place, the nearest first, at most five; no frame is in two pairs."""
    rows = np.flatnonzero(path.posed)
    position, rotation = path.position[rows], path.world_from_cam[rows, :3, :3]
    found: list[tuple[float, int, int]] = []
    for here in range(len(rows)):
        distance = np.linalg.norm(position[here:] - position[here], axis=1)
        turn_deg = np.degrees(rotation_angle_rad(np.swapaxes(rotation[here : here + 1], 1, 2) @ rotation[here:]))
        near = (distance < NEAR_M) & (turn_deg < NEAR_DEG)
        again = near & (np.cumsum(~near) > 0)  # only once it has been elsewhere
        found += [(float(distance[ahead]), here, here + int(ahead)) for ahead in np.flatnonzero(again)]
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for _, first, second in sorted(found):
        if len(pairs) < MOST_PAIRS and not used & {first, second}:
            pairs.append((int(rows[first]), int(rows[second])))
            used |= {first, second}
    return tuple(pairs)


def psnr_db(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Of two RGB pictures (h, w, 3), peak 255; 100 for equal ones, which have none."""
    error = float(np.mean((first.astype(np.float32) - second) ** 2))
    return 100.0 if error == 0 else min(100.0, 10 * float(np.log10(255**2 / error)))


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Structural similarity of the luma of two RGB pictures (h, w, 3), 1 for equal ones (Wang et al. 2004)."""

    def blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT), dtype=np.float64)

    a, b = ((picture @ LUMA).astype(np.float64) for picture in (first, second))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _see(windows: Iterator[FrameWindow], wanted: set[int]) -> _Seen:
    detail, spread, kept = [], [], {}
    for window in windows:
        for index, rgb in enumerate(window.rgb, start=window.start):
            luma = rgb @ LUMA
            detail.append(float(np.mean(cv2.Laplacian(luma, cv2.CV_32F) ** 2)))
            spread.append(float(luma.std()))
            if index in wanted:
                kept[index] = rgb.copy()
    return _Seen(np.array(detail), np.array(spread), kept)


def _ends(time_s: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which frames are of the first window, and of the last."""
    span_s = float(time_s[-1] - time_s[0])
    window_s = WINDOW_S if span_s >= 2 * WINDOW_S else span_s / 3
    return time_s - time_s[0] <= window_s, time_s[-1] - time_s <= window_s


def _metric(name: str, value: float, unit: str, definition: str, count: int) -> Metric:
    return Metric(name=name, value=value, unit=unit, definition=definition, count=count)
