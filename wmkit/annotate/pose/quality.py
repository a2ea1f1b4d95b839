"""What the engine knows about its own result: residuals, support, angles, covariance and the second opinion."""

import numpy as np

from wmkit.annotate.pose.scene import Scene, widest_angle_deg
from wmkit.annotate.pose.second import Disagreement
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Trajectory
from wmkit.clip import PoseQuality
from wmkit.metrics import rotation_angle_rad

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
    angle_deg = np.zeros(len(scene.xyz))
    alive = np.flatnonzero(np.isfinite(scene.xyz[:, 0]))
    angle_deg[alive] = widest_angle_deg(scene, alive)
    posed = trajectory.posed
    seen = np.bincount(frame, minlength=len(tracks))
    per_frame = {
        "reprojection_px": _median_by(frame, error_px, len(tracks)),
        "inlier_ratio": np.where(posed, np.minimum(seen / np.maximum(_followed(tracks), 1), 1.0), np.nan),
        "parallax_deg": _median_by(frame, angle_deg[track], len(tracks)),
        "rotation_disagreement_deg": second.rotation_deg,
        "position_disagreement": second.position,
    }
    shrink = REFERENCE_SIDE_PX / max(scene.size)
    features = {
        "reprojection_px": float(np.median(error_px)) * shrink,
        "reprojection_px_high": float(np.nanpercentile(per_frame["reprojection_px"][posed], 90)) * shrink,
        "inlier_ratio": float(np.median(per_frame["inlier_ratio"][posed])),
        "inlier_ratio_low": float(np.percentile(per_frame["inlier_ratio"][posed], 10)),
        "weakest_link": _weakest_link(frame, track, posed),
        "parallax_deg": float(np.percentile(angle_deg[alive], 75)),
        "depth_spread": float(np.divide(*np.percentile(scene.in_camera()[usable, 2], (90, 10)))),
        "fastest_turn_deg": _fastest_turn_deg(trajectory),
        "posed_share": float(posed.mean()),
        "track_length": float(np.median(np.bincount(track)[alive])),
        "points_per_frame": float(np.median(seen[posed])),
        "path_depth": trajectory.path_length,
        **_certainty(trajectory),
        "focal_sigma_log": focal_sigma_log,
        "focal_share": float(np.median(scene.focal[posed])) / max(scene.size),
        **_disagreement(second),
    }
    return PoseQuality(**per_frame, features=tuple(features.items()))


def _followed(tracks: Tracks) -> np.ndarray:
    """(N,) tracks in each frame that live for three frames or more."""
    length = np.bincount(np.concatenate(tracks.ids), minlength=len(tracks.rgb))
    return np.array([np.count_nonzero(length[ids] >= 3) for ids in tracks.ids])


def _certainty(trajectory: Trajectory) -> dict[str, float]:
    """Median standard deviations of the posed frames, the position's as a share of the path."""
    posed, path = trajectory.posed, trajectory.path_length
    if trajectory.covariance is None:
        return {"covariance_rotation_deg": np.nan, "covariance_position": np.nan}
    sigma = np.sqrt(np.diagonal(trajectory.covariance[posed], axis1=1, axis2=2))
    turned, moved = (float(np.median(np.linalg.norm(part, axis=1))) for part in (sigma[:, :3], sigma[:, 3:]))
    return {
        "covariance_rotation_deg": float(np.degrees(turned)),
        "covariance_position": moved / path if path > 0 else np.nan,
    }


def _disagreement(second: Disagreement) -> dict[str, float]:
    return {
        "disagreement_rotation_deg": _rms(second.rotation_deg),
        "disagreement_position": _rms(second.position),
        "disagreement_rotation_deg_high": _high(second.rotation_deg),
        "disagreement_position_high": _high(second.position),
        "disagreement_focal": second.focal,
        "second_posed_share": second.posed_share,
        "disjoint": float(second.disjoint),
        "seam_rotation_deg": max((seam.rotation_deg for seam in second.seams), default=float("nan")),
        "seam_position": max((seam.position for seam in second.seams), default=float("nan")),
    }


def _weakest_link(frame: np.ndarray, track: np.ndarray, posed: np.ndarray) -> float:
    """Fewest tracks that reach from before to after any moment between posed frames; NaN with fewer than two."""
    rank = np.cumsum(posed)[frame] - 1  # posed frames counted from 0
    first, last = np.full(track.max() + 1, len(posed)), np.full(track.max() + 1, -1)
    np.minimum.at(first, track, rank)
    np.maximum.at(last, track, rank)
    reach = last > first
    begun = np.bincount(first[reach], minlength=len(posed)) - np.bincount(last[reach], minlength=len(posed))
    across = np.cumsum(begun)[: int(posed.sum()) - 1]
    return float(across.min()) if len(across) else float("nan")


def _fastest_turn_deg(trajectory: Trajectory) -> float:
    """Largest turn from one posed frame to the next; NaN with fewer than two."""
    rotation = trajectory.world_from_cam[trajectory.posed][:, :3, :3]
    if len(rotation) < 2:
        return float("nan")
    turned = rotation[1:] @ np.swapaxes(rotation[:-1], 1, 2)
    return float(np.degrees(rotation_angle_rad(turned).max()))


def _high(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, 95)) if len(known) else float("nan")


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
