"""The whole engine on rendered worlds with exact cameras: accuracy, refusals and sameness."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.annotate.pose.test_tracks import Pictures
from wmkit.annotate.pose import TrackSfmConfig
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import Intrinsics, ScaleKind
from wmkit.camera_paths import PureRotation, Static
from wmkit.clip import NoTrajectory
from wmkit.metrics import absolute_trajectory_error, rotation_error
from wmkit.worlds import DEMO_CLIPS, WorldClip

ROOM = replace(DEMO_CLIPS[0], intrinsics=Intrinsics.from_fov(66.0, 320, 180), frames=20, fps=8.0)


class Rendered(Pictures):
    """A world's pictures with a little sensor noise, as a FrameSource."""

    def __init__(self, clip: WorldClip) -> None:
        rng = np.random.default_rng(0)
        noisy = [frame.rgb + rng.normal(0, 2, frame.rgb.shape) for frame in clip.render("numpy")]
        super().__init__(np.clip(np.array(noisy), 0, 255).astype(np.uint8))

    @property
    def view(self) -> Any:
        view = super().view
        view.time_s = np.arange(len(self.rgb)) / 8.0
        return view


@pytest.fixture(scope="module")
def room() -> PoseEstimate:
    estimate = TrackSfmConfig().build("cpu").estimate(Rendered(ROOM), 0)
    assert isinstance(estimate, PoseEstimate)
    return estimate


def test_poses_a_room_uncalibrated(room: PoseEstimate) -> None:
    truth = ROOM.trajectory
    assert room.trajectory.posed.all()
    error_m = absolute_trajectory_error(room.trajectory, truth, with_scale=True).value
    # the engine's promise on easy footage is 0.5 % of the path; at 320 px it is measured near 0.1 %
    assert error_m < 0.005 * truth.path_length
    assert rotation_error(room.trajectory, truth).value < 0.3
    focal = room.intrinsics[0].fx / ROOM.intrinsics.fx
    assert abs(focal - 1) < 0.03


def test_the_world_starts_at_the_first_camera_in_units_of_depth(room: PoseEstimate) -> None:
    assert room.trajectory.scale is ScaleKind.UP_TO_SCALE
    np.testing.assert_allclose(room.trajectory.world_from_cam[0], np.eye(4), atol=1e-12)
    in_camera = room.points.xyz @ room.trajectory.cam_from_world[0, :3, :3].T
    assert (in_camera[:, 2] > 0).mean() > 0.95
    # the median over all observations, not over the first frame's points: the same within the scene's depth range
    assert 0.5 < np.median(in_camera[:, 2]) < 2.0


def test_covariance_belongs_to_every_posed_frame(room: PoseEstimate) -> None:
    covariance = room.trajectory.covariance
    assert covariance is not None
    assert (covariance[0] == 0).all()
    assert (np.linalg.eigvalsh(covariance[1:])[:, 0] > 0).all()
    # LK's errors are correlated along a track, so the formal deviation is optimistic; but not by two orders
    deviation = np.sqrt(np.trace(covariance[1:, 3:, 3:], axis1=1, axis2=2).mean())
    error = absolute_trajectory_error(room.trajectory, ROOM.trajectory, with_scale=True).value
    share = error / ROOM.trajectory.path_length * room.trajectory.path_length
    assert deviation > share / 100


def test_points_carry_their_evidence(room: PoseEstimate) -> None:
    assert len(room.points) > 200
    assert (room.points.track_length >= 3).all()
    assert (room.points.error_px <= 2.5).all()
    assert room.points.rgb.std() > 10


@pytest.mark.parametrize(
    ("clip", "reason"),
    [(replace(ROOM, path=Static()), "static"), (replace(ROOM, path=PureRotation(pan_deg=30.0)), "pure_rotation")],
)
def test_footage_without_translation_is_named(clip: WorldClip, reason: str) -> None:
    outcome = TrackSfmConfig().build("cpu").estimate(Rendered(clip), 0)
    assert isinstance(outcome, NoTrajectory)
    assert outcome.reason == reason


def test_a_focal_length_nobody_believes_is_no_trajectory() -> None:
    outcome = TrackSfmConfig(focal_share=(2.0, 5.0)).build("cpu").estimate(Rendered(ROOM), 0)
    assert isinstance(outcome, NoTrajectory)
    assert outcome.reason == "focal_diverged"


def test_a_blank_clip_has_too_few_tracks() -> None:
    blank = Rendered(replace(ROOM, frames=3))
    blank.rgb[:] = 128
    outcome = TrackSfmConfig().build("cpu").estimate(blank, 0)
    assert isinstance(outcome, NoTrajectory)
    assert outcome.reason == "too_few_tracks"


def test_the_same_pixels_give_the_same_bytes(room: PoseEstimate) -> None:
    again = TrackSfmConfig().build("cpu").estimate(Rendered(ROOM), 0)
    assert isinstance(again, PoseEstimate)
    assert again.trajectory.world_from_cam.tobytes() == room.trajectory.world_from_cam.tobytes()
    assert again.points.xyz.tobytes() == room.points.xyz.tobytes()
    assert again.trajectory.covariance is not None
    assert room.trajectory.covariance is not None
    assert again.trajectory.covariance.tobytes() == room.trajectory.covariance.tobytes()
    assert again.intrinsics == room.intrinsics
