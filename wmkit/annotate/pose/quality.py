"""What the engine knows about its own result: residuals, support, angles, covariance and the second opinion."""

import numpy as np

from wmkit.annotate.pose.scene import Scene, widest_angle_deg
from wmkit.annotate.pose.second import Disagreement
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Trajectory
from wmkit.clip import PoseQuality

__all__ = ["measure_quality"]

REFERENCE_SIDE_PX = 640  # residuals of clips of different size compare at this long side


def measure_quality(
    scene: Scene, tracks: Tracks, trajectory: Trajectory, focal_sigma_log: float, second: Disagreement
) -> PoseQuality:
    """Evidence by frame, and the clip-level features that a calibration of `p_good` reads.

    `scene` holds the inliers alone, `tracks` everything that was followed.
    """
    usable = scene.usable
    frame, track, error_px = scene.obs_frame[usable], scene.obs_track[usable], scene.error_px()[usable]
    count = len(tracks)
    angle_deg = np.zeros(len(scene.xyz))
    alive = np.flatnonzero(np.isfinite(scene.xyz[:, 0]))
    angle_deg[alive] = widest_angle_deg(scene, alive)
    length = np.bincount(np.concatenate(tracks.ids), minlength=len(tracks.rgb))
    followed = np.array([np.count_nonzero(length[ids] >= 3) for ids in tracks.ids])
    seen = np.bincount(frame, minlength=count)
    posed = trajectory.posed
    per_frame = {
        "reprojection_px": _median_by(frame, error_px, count),
        "inlier_ratio": np.where(posed, np.minimum(seen / np.maximum(followed, 1), 1.0), np.nan),
        "parallax_deg": _median_by(frame, angle_deg[track], count),
        "rotation_disagreement_deg": second.rotation_deg,
        "position_disagreement": second.position,
    }
    shrink = REFERENCE_SIDE_PX / max(scene.size)
    sigma = (
        np.sqrt(np.diagonal(trajectory.covariance[posed], axis1=1, axis2=2))
        if trajectory.covariance is not None
        else None
    )
    path = trajectory.path_length
    features = {
        "reprojection_px": float(np.median(error_px)) * shrink,
        "inlier_ratio": float(np.median(per_frame["inlier_ratio"][posed])),
        "parallax_deg": float(np.percentile(angle_deg[alive], 75)),
        "posed_share": float(posed.mean()),
        "track_length": float(np.median(np.bincount(track)[alive])),
        "points_per_frame": float(np.median(seen[posed])),
        "path_depth": path,
        "covariance_rotation_deg": np.nan
        if sigma is None
        else float(np.degrees(np.median(np.linalg.norm(sigma[:, :3], axis=1)))),
        "covariance_position": np.nan
        if sigma is None or path <= 0
        else float(np.median(np.linalg.norm(sigma[:, 3:], axis=1))) / path,
        "focal_sigma_log": focal_sigma_log,
        "focal_share": float(np.median(scene.focal[posed])) / max(scene.size),
        "disagreement_rotation_deg": _rms(second.rotation_deg),
        "disagreement_position": _rms(second.position),
        "disagreement_focal": second.focal,
        "second_posed_share": second.posed_share,
        "disjoint": float(second.disjoint),
        "seam_rotation_deg": max((seam.rotation_deg for seam in second.seams), default=float("nan")),
        "seam_position": max((seam.position for seam in second.seams), default=float("nan")),
    }
    return PoseQuality(**per_frame, features=tuple(features.items()))


def _rms(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if len(known) else float("nan")


def _median_by(slot: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(count,) median of the values of each slot, NaN for an empty one."""
    result = np.full(count, np.nan)
    order = np.lexsort((values, slot))
    number, start, size = np.unique(slot[order], return_index=True, return_counts=True)
    result[number] = (values[order[start + (size - 1) // 2]] + values[order[start + size // 2]]) / 2
    return result
