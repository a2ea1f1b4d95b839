"""The evidence of a result, against numbers worked out by hand on three cameras and a few points."""

from dataclasses import replace

import numpy as np
import pytest

from wmkit.annotate.pose.quality import measure_quality
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.second import Disagreement
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import ScaleKind, Trajectory, invert_rigid
from wmkit.clip import PoseQuality

SIZE = (1280, 720)  # the long side is twice the one residuals are compared at
FOCAL_PX = 640.0
ERRORS_PX = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 2.0], [3.0, 6.0, 6.0]])  # frame by point


def cameras() -> np.ndarray:
    """world_from_cam of four frames at x = 0, 1, 2, and one without a pose."""
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, 0, 3] = np.arange(4)
    poses[3] = np.nan
    return poses


def hand_scene() -> Scene:
    """Three points 10 units ahead, seen by three frames, each off by its own number of px along x."""
    xyz = np.array([[0.0, 0.0, 10.0], [1.0, 0.5, 10.0], [2.0, -0.5, 10.0]])
    frame, track = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    exact = FOCAL_PX * (xyz[track] - cameras()[frame, :3, 3])[:, :2] / 10 + np.array(SIZE) / 2
    return Scene(
        cam_from_world=invert_rigid(cameras()),
        focal=np.full(4, FOCAL_PX),
        centre=np.array(SIZE) / 2,
        xyz=np.vstack([xyz, [[np.nan] * 3] * 2]),
        obs_frame=frame,
        obs_track=track,
        obs_xy=exact + np.column_stack([ERRORS_PX.ravel(), np.zeros(9)]),
        size=SIZE,
    )


def followed() -> Tracks:
    """Five tracks in all frames but the last; the fifth lives for two frames and is nobody's to count."""
    ids = [np.arange(5), np.arange(5), np.arange(4), np.arange(3, 4)]
    return Tracks(
        ids=tuple(row.astype(np.int64) for row in ids),
        xy=tuple(np.zeros((len(row), 2), np.float32) for row in ids),
        rgb=np.zeros((5, 3), np.uint8),
        thumbnail=np.zeros((4, 24, 32), np.uint8),
        width=SIZE[0],
        height=SIZE[1],
    )


def trajectory(covariance: np.ndarray | None) -> Trajectory:
    return Trajectory(
        world_from_cam=cameras(),
        time_s=np.arange(4.0),
        posed=np.array([True, True, True, False]),
        scale=ScaleKind.UP_TO_SCALE,
        covariance=covariance,
    )


SECOND = Disagreement(
    rotation_deg=np.array([0.3, np.nan, 0.4, np.nan]),
    position=np.array([0.06, np.nan, 0.08, np.nan]),
    focal=0.05,
    posed_share=0.75,
    disjoint=True,
)


@pytest.fixture
def measured() -> PoseQuality:
    sigma = np.array([3e-3, 0.0, 4e-3, 0.0, 0.06, 0.08])
    covariance = np.tile(np.diag(sigma**2), (4, 1, 1))
    covariance[3] = np.nan
    return measure_quality(hand_scene(), followed(), trajectory(covariance), 0.02, SECOND)


def test_rows_by_frame(measured: PoseQuality) -> None:
    np.testing.assert_allclose(measured.reprojection_px, [2.0, 2.0, 6.0, np.nan])
    # four tracks live for three frames or more, and three of them are inliers
    np.testing.assert_allclose(measured.inlier_ratio, [0.75, 0.75, 0.75, np.nan])
    widest_deg = np.degrees(
        [
            np.arccos(10 / np.hypot(10, 2)),  # straight ahead of the first camera, 2 aside of the last
            np.arccos((100.25 - 1) / np.sqrt((101.25) ** 2)),  # 1 right of the first, 1 left of the last, 0.5 up
            np.arccos(100.25 / np.sqrt(104.25 * 100.25)),
        ]
    )
    np.testing.assert_allclose(measured.parallax_deg, [*[np.median(widest_deg)] * 3, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(measured.rotation_disagreement_deg, SECOND.rotation_deg)
    np.testing.assert_array_equal(measured.position_disagreement, SECOND.position)


def test_features_of_the_clip(measured: PoseQuality) -> None:
    features = dict(measured.features)
    want = {
        "reprojection_px": 2.0 / 2,  # at 640 px
        "reprojection_px_high": 5.2 / 2,  # 2, 2 and 6: nine tenths of the way
        "inlier_ratio": 0.75,
        "inlier_ratio_low": 0.75,
        "weakest_link": 3.0,
        "depth_spread": 1.0,
        "fastest_turn_deg": 0.0,
        "posed_share": 0.75,
        "track_length": 3.0,
        "points_per_frame": 3.0,
        "path_depth": 2.0,
        "covariance_rotation_deg": np.degrees(5e-3),
        "covariance_position": 0.1 / 2,
        "focal_sigma_log": 0.02,
        "focal_share": 0.5,
        "disagreement_rotation_deg": np.sqrt((0.3**2 + 0.4**2) / 2),
        "disagreement_position": np.sqrt((0.06**2 + 0.08**2) / 2),
        "disagreement_rotation_deg_high": 0.395,
        "disagreement_position_high": 0.079,
        "disagreement_focal": 0.05,
        "second_posed_share": 0.75,
        "disjoint": 1.0,
    }
    for name, value in want.items():
        assert features[name] == pytest.approx(value, rel=1e-9), name


def test_what_is_unknown_is_nan() -> None:
    nothing = np.full(4, np.nan)
    second = Disagreement(rotation_deg=nothing, position=nothing, focal=np.nan, posed_share=0.0, disjoint=False)
    features = dict(measure_quality(hand_scene(), followed(), trajectory(None), 0.02, second).features)
    unknown = {name for name, value in features.items() if np.isnan(value)}
    assert unknown == {
        "covariance_rotation_deg",
        "covariance_position",
        "disagreement_rotation_deg",
        "disagreement_position",
        "disagreement_rotation_deg_high",
        "disagreement_position_high",
        "disagreement_focal",
        "seam_rotation_deg",  # of clips in one piece
        "seam_position",
    }
    assert features["disjoint"] == 0.0


def test_residuals_worsen_with_the_pictures() -> None:
    """A check that can fail: every observation twice as far off doubles the residual and touches no angle."""
    scene = hand_scene()
    exact = scene.obs_xy - np.column_stack([ERRORS_PX.ravel(), np.zeros(9)])
    worse = replace(scene, obs_xy=exact + 2 * (scene.obs_xy - exact))
    one, two = (dict(measure_quality(s, followed(), trajectory(None), 0.02, SECOND).features) for s in (scene, worse))
    assert two["reprojection_px"] == pytest.approx(2 * one["reprojection_px"])
    assert two["parallax_deg"] == one["parallax_deg"]


def test_a_clip_is_as_strong_as_its_weakest_link() -> None:
    scene = hand_scene()
    last = scene.obs_frame == 2
    broken = scene.keep(~last | (scene.obs_track == 1))  # the third camera hangs on one track
    assert dict(measure_quality(broken, followed(), trajectory(None), 0.02, SECOND).features)["weakest_link"] == 1.0
    gap = scene.keep(scene.obs_frame != 1)  # what is seen before and after a frame ties across it
    assert dict(measure_quality(gap, followed(), trajectory(None), 0.02, SECOND).features)["weakest_link"] == 3.0


def test_the_fastest_turn_is_the_largest_between_neighbours() -> None:
    poses = cameras()
    for index, angle in enumerate(np.radians([0.0, 10.0, 40.0])):
        poses[index, :2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turning = replace(trajectory(None), world_from_cam=poses)
    features = dict(measure_quality(hand_scene(), followed(), turning, 0.02, SECOND).features)
    assert features["fastest_turn_deg"] == pytest.approx(30.0)
