"""Sparse points of cameras that are known: triangulated from tracks, the cameras untouched."""

import numpy as np

from wmkit.annotate.pose.scene import Scene, drop_outliers, triangulate
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array, invert_rigid
from wmkit.clip import Points

__all__ = ["given_points", "given_scene", "with_points"]


def given_scene(world_from_cam: Array, rows: Array, tracks: Tracks) -> Scene:
    """All observations under the poses (N, 4, 4), NaN where a frame has none; no track has a point yet.

    rows (N, 4) fx fy cx cy px. Each frame's camera may differ, a scene's are alike: observations are where one common
    camera would see them.
    """
    if not np.isfinite(world_from_cam[:, 0, 0]).any():
        raise AssertionError("given poses have at least one")
    common = np.median(rows, axis=0)
    common[:2] = common[:2].mean()
    frame = np.repeat(np.arange(len(tracks)), [len(ids) for ids in tracks.ids])
    xy = np.concatenate(tracks.xy).astype(np.float64)
    return Scene(
        cam_from_world=invert_rigid(world_from_cam),
        focal=np.full(len(tracks), common[0]),
        centre=common[2:],
        xyz=np.full((len(tracks.rgb), 3), np.nan),
        obs_frame=frame,
        obs_track=np.concatenate(tracks.ids).astype(np.intp),
        obs_xy=(xy - rows[frame, 2:]) / rows[frame, :2] * common[0] + common[2:],
        size=(tracks.width, tracks.height),
    )


def with_points(scene: Scene, max_error_px: float, min_angle_deg: float) -> Scene:
    """The scene with a point for every track that three frames or more agree on, and without what does not agree.

    Observations farther than `max_error_px` and points without `min_angle_deg` of parallax are left out; a camera that
    does not move has none.
    """
    scene = triangulate(scene, max_error_px, min_angle_deg)
    return drop_outliers(scene, max_error_px, min_angle_deg, min_inliers=0)


def given_points(scene: Scene, tracks: Tracks) -> Points:
    """The points of a scene, in the world and unit of its poses."""
    usable = scene.usable
    count = len(scene.xyz)
    length = np.bincount(scene.obs_track[usable], minlength=count)
    error = np.bincount(scene.obs_track[usable], weights=scene.error_px()[usable], minlength=count)
    seen = np.flatnonzero(np.isfinite(scene.xyz[:, 0]) & (length >= 3))
    return Points(
        xyz=scene.xyz[seen],
        rgb=tracks.rgb[seen],
        error_px=(error[seen] / length[seen]).astype(np.float32),
        track_length=length[seen].astype(np.int32),
    )
