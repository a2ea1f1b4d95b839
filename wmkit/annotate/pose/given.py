"""Poses from a file instead of an estimate: checked against the images, points triangulated, nothing moved.

World and unit are the file's own, UP_TO_SCALE until a cue says otherwise; a file that says metres sets the hint. The
covariance and the evidence come from how far the images would have the cameras elsewhere (`given_noise.py`). Only scale
and depth are added afterwards, as SANA-WM does with published poses.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from wmkit.annotate.pose.check_given import Diagnosis, diagnose, find_focal
from wmkit.annotate.pose.follow import follow_points
from wmkit.annotate.pose.given_file import GivenCameras, beside, given_cameras
from wmkit.annotate.pose.given_noise import given_noise
from wmkit.annotate.pose.given_points import given_points, given_scene, with_points
from wmkit.annotate.pose.quality import measure_quality
from wmkit.annotate.pose.scale_step import scale_step
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.second import Disagreement
from wmkit.annotate.pose.tracks import TrackConfig, Tracks
from wmkit.annotate.protocols import UNHASHED, PoseEstimate
from wmkit.camera import Array, CameraPrior, Intrinsics, ScaleKind, Trajectory
from wmkit.clip import QUALITY_ROWS, NoTrajectory, PoseQuality
from wmkit.errors import ClipError, InputError
from wmkit.hashes import hash_of_path
from wmkit.video.frames import ClipFile, FrameSource

__all__ = ["Given", "GivenConfig", "cameras_and_rows", "given_config"]

METRIC_SIGMA_LOG = 0.02  # of a file that says metres: visual-inertial and laser references are good to 1 to 3 %
CODES = {"direction": "wrong_direction", "axes": "wrong_axes", "direction+axes": "wrong_direction_and_axes"}
CODES |= {"rotation": "wrong_rotation", "quaternion": "wrong_quaternion_order", "handed": "wrong_handedness"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenConfig:
    """`path` of one pose file, or "" for the one that lies beside each clip (`given_file.beside`).

    digest  sha256 of the file's content, which decides results; "" with `path` empty: then the file beside a clip is
            part of the clip.
    """

    name: ClassVar[str] = "given"
    licence: ClassVar[str] = "Apache-2.0"

    path: str = field(metadata={UNHASHED: True})
    digest: str
    tracks: TrackConfig = TrackConfig()
    max_error_px: float = 4.0
    min_angle_deg: float = 0.5

    @property
    def reads_beside(self) -> bool:
        """Whether no file was named."""
        return not self.path

    def beside(self, file: ClipFile) -> tuple[Path, ...]:
        """The poses beside a clip, if there are any."""
        try:
            return (beside(file),)
        except ClipError:
            return ()

    def build(self, device: str) -> "Given":
        """The backend; it runs on the CPU whatever `device` says."""
        return Given(self)


def given_config(poses: str) -> GivenConfig:
    """What `--poses FILE|auto` says; InputError when the file is missing."""
    if poses == "auto":
        return GivenConfig(path="", digest="")
    path = Path(poses)
    if not path.exists():
        raise InputError(f"--poses: expected a file, a COLMAP folder or auto, found nothing at {poses}")
    try:
        return GivenConfig(path=str(path.resolve()), digest=hash_of_path(path))
    except OSError as error:
        raise InputError(f"--poses: expected a readable file, got {error}") from error


class Given:
    """PoseEstimator of `GivenConfig`."""

    def __init__(self, config: GivenConfig) -> None:
        self.config = config

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        """The file's poses at the clip's frames.

        Raises ClipError("pose", code): what `given_cameras` raises; wrong_direction, wrong_axes,
        wrong_direction_and_axes, wrong_rotation, wrong_quaternion_order, wrong_handedness, poses_do_not_fit when the
        images refute the file; intrinsics_unknown.
        """
        path = Path(self.config.path) if self.config.path else beside(frames.file)
        cameras, rows = cameras_and_rows(path, frames, prior)
        tracks = cameras.straightened(follow_points(frames, self.config.tracks))
        diagnosis = diagnose(cameras, tracks, rows)
        _refuse(diagnosis, cameras.file)
        if rows is None:
            rows = _found_rows(cameras, tracks)
        view = frames.view
        scene = given_scene(cameras.world_from_cam, rows, tracks)
        noise = given_noise(scene, tracks)
        scene = with_points(scene, self.config.max_error_px, self.config.min_angle_deg)
        trajectory = Trajectory(
            world_from_cam=cameras.world_from_cam,
            time_s=view.time_s,
            posed=cameras.posed,
            scale=ScaleKind.UP_TO_SCALE,
            covariance=noise.covariance,
        )
        quality = _quality(scene, tracks, trajectory, noise.between)
        step = ("scale_step", scale_step(cameras.world_from_cam, rows, tracks))
        return PoseEstimate(
            trajectory=trajectory,
            intrinsics=tuple(
                Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=view.width, height=view.height)
                for fx, fy, cx, cy in rows.tolist()
            ),
            points=given_points(scene, tracks),
            metric_hint_sigma_log=METRIC_SIGMA_LOG if cameras.metric else None,
            lens=cameras.lens,
            quality=replace(quality, features=(*quality.features, step)),
        )


def cameras_and_rows(path: Path, frames: FrameSource, prior: CameraPrior | None) -> tuple[GivenCameras, Array | None]:
    """The file at the clip's frames, and intrinsics (N, 4) px: the file's, else the prior's, else None."""
    cameras = given_cameras(path, frames)
    if cameras.rows is not None or prior is None:
        return cameras, cameras.rows
    row = prior.intrinsics(frames.view.width, frames.view.height).row
    return cameras, np.tile(row, (len(frames.view), 1))


def _refuse(diagnosis: Diagnosis, file: str) -> None:
    if diagnosis.verdict == "wrong":
        code = CODES[diagnosis.rows[0].kind]
        raise ClipError("pose", code, f"{file}: {diagnosis.line()}; `wmkit doctor CLIP --poses {file}` has the table")
    if diagnosis.verdict == "no_fit":
        advice = "are they of this clip, in this order, with these intrinsics?"
        raise ClipError("pose", "poses_do_not_fit", f"{file}: {diagnosis.line()}; {advice}")


def _quality(scene: Scene, tracks: Tracks, trajectory: Trajectory, between: Disagreement) -> PoseQuality:
    """The evidence as for an estimate, in a unit of the median depth: the adjusted cameras are the other opinion.

    NaN by frame, and no feature, where the motion gives no point.
    """
    if not scene.usable.any():
        unknown = {name: np.full(len(tracks), np.nan) for name in QUALITY_ROWS}
        return PoseQuality(**unknown, features=())
    unit = float(np.median(scene.in_camera()[scene.usable, 2]))
    per_unit = np.array([1.0, 1.0, 1.0, 1 / unit, 1 / unit, 1 / unit])
    poses = trajectory.world_from_cam.copy()
    poses[:, :3, 3] /= unit
    covariance = None if trajectory.covariance is None else trajectory.covariance * per_unit[:, None] * per_unit
    relative = replace(trajectory, world_from_cam=poses, covariance=covariance)
    return measure_quality(scene, tracks, relative, float("nan"), between)


def _found_rows(cameras: GivenCameras, tracks: Tracks) -> Array:
    """Intrinsics of a file without any: the focal length that its own poses ask for."""
    focal_px = find_focal(cameras.world_from_cam, tracks)
    if focal_px is None:
        message = f"{cameras.file}: expected intrinsics, it holds none and its motion does not determine them"
        raise ClipError("pose", "intrinsics_unknown", f"{message}; give --intrinsics or --fov-deg")
    row = np.array([focal_px, focal_px, tracks.width / 2, tracks.height / 2])
    return np.tile(row, (len(tracks), 1))
