"""The camera convention: intrinsics under resize, pixel centres, what a trajectory refuses, covariance units."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from wmkit.camera import Array, Intrinsics, ScaleEstimate, ScaleKind, ScaleVote, Trajectory, frozen_array, invert_rigid
from wmkit.errors import InputError

CAMERA = Intrinsics(fx=500, fy=510, cx=321, cy=239, width=640, height=480)


def fields(count: int = 3) -> dict[str, Any]:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count)
    return {
        "world_from_cam": poses,
        "time_s": np.arange(count) / 16,
        "posed": np.ones(count, np.bool_),
        "scale": ScaleKind.UP_TO_SCALE,
    }


@given(width=st.integers(1, 4000), height=st.integers(1, 4000), x=st.floats(-1, 1), y=st.floats(-1, 1))
def test_resize_multiplies_all_four_and_moves_no_ray(width: int, height: int, x: float, y: float) -> None:
    small = CAMERA.resized(width, height)
    sx, sy = width / 640, height / 480
    np.testing.assert_allclose(small.row, CAMERA.row * [sx, sy, sx, sy], rtol=1e-14)
    pixel, small_pixel = CAMERA.matrix @ [x, y, 1], small.matrix @ [x, y, 1]
    # rounding of pixels up to 1e4
    np.testing.assert_allclose(small_pixel[:2], pixel[:2] * [sx, sy], rtol=1e-12, atol=1e-9)


def test_pixel_centres_are_half_integers() -> None:
    """A 2x2 block averaged into one pixel: the mean of its four centres is the new pixel's centre."""
    centres = np.array([[x + 0.5, y + 0.5, 1] for x in (10, 11) for y in (20, 21)])
    rays = centres @ np.linalg.inv(CAMERA.matrix).T
    half = CAMERA.resized(320, 240).matrix @ rays.mean(axis=0)
    np.testing.assert_allclose(half[:2], [5.5, 10.5], atol=1e-12)


def test_fov_reaches_from_border_to_border() -> None:
    camera = Intrinsics.from_fov(80, 640, 480)
    assert camera.fov_x_deg == pytest.approx(80)
    assert (camera.cx, camera.cy) == (320, 240)
    shifted = Intrinsics(fx=100, fy=100, cx=0, cy=50, width=100, height=100)
    assert shifted.fov_x_deg == pytest.approx(45)
    assert shifted.fov_y_deg == pytest.approx(2 * np.degrees(np.arctan(0.5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 0.0}, "positive focal lengths"),
        ({"fy": -1.0}, "positive focal lengths"),
        ({"width": 0}, "positive focal lengths and size"),
        ({"cx": np.nan}, "finite fx fy cx cy"),
        ({"fx": np.inf}, "finite fx fy cx cy"),
    ],
)
def test_intrinsics_refuse(change: dict[str, Any], message: str) -> None:
    good = {"fx": 500.0, "fy": 510.0, "cx": 321.0, "cy": 239.0, "width": 640, "height": 480}
    with pytest.raises(InputError, match=message):
        Intrinsics(**(good | change))


@pytest.mark.parametrize("fov_x_deg", [0, 180, -5, np.nan])
def test_from_fov_refuses(fov_x_deg: float) -> None:
    with pytest.raises(InputError, match="fov_x_deg"):
        Intrinsics.from_fov(fov_x_deg, 64, 48)


def test_frozen_array_copies_and_names_the_shape() -> None:
    mine = np.zeros((2, 3))
    frozen = frozen_array(mine, np.float64, (None, 3), "thing")
    mine[:] = 7
    assert not frozen.any()
    with pytest.raises(ValueError, match="read-only"):
        frozen[0, 0] = 1
    with pytest.raises(InputError, match=re.escape("thing: expected shape (N, 4), got (2, 3)")):
        frozen_array(mine, np.float64, (None, 4), "thing")


@given(
    rotvec=st.tuples(*[st.floats(-3, 3)] * 3),
    translation=st.tuples(*[st.floats(-1e3, 1e3)] * 3),
    point=st.tuples(*[st.floats(-1e3, 1e3)] * 3),
)
def test_invert_rigid_undoes_a_transform(rotvec: tuple, translation: tuple, point: tuple) -> None:
    b_from_a = np.eye(4)
    b_from_a[:3, :3], b_from_a[:3, 3] = Rotation.from_rotvec(rotvec).as_matrix(), translation
    a_from_b = invert_rigid(b_from_a)
    np.testing.assert_allclose(a_from_b @ b_from_a, np.eye(4), atol=1e-9)  # translations up to 1e3, float64
    there_and_back = a_from_b @ b_from_a @ np.array([*point, 1])
    np.testing.assert_allclose(there_and_back[:3], point, atol=1e-8)
    np.testing.assert_allclose(invert_rigid(a_from_b), b_from_a, atol=1e-9)


def test_invert_rigid_keeps_unposed_rows_apart() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 2, 3] = 5
    poses[1] = np.nan
    inverse = invert_rigid(poses)
    assert np.isnan(inverse[1]).all()
    np.testing.assert_array_equal(inverse[[0, 2], 2, 3], [-5, -5])


def changed(**change: object) -> dict[str, Any]:
    return fields() | change


def bad_rotation(matrix: Array) -> dict[str, Any]:
    good = fields()
    good["world_from_cam"][1, :3, :3] = matrix
    return good


def bad_value(row: int, column: int, value: float) -> dict[str, Any]:
    good = fields()
    good["world_from_cam"][1, row, column] = value
    return good


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (changed(world_from_cam=np.zeros((3, 3, 4))), "world_from_cam: expected shape"),
        (changed(time_s=np.arange(4.0)), "time_s: expected shape"),
        (changed(posed=np.ones(2, np.bool_)), "posed: expected shape"),
        (changed(time_s=np.array([0, 1, 1])), "strictly increasing"),
        (changed(time_s=np.array([0, np.nan, 1])), "strictly increasing"),
        (changed(posed=np.array([True, False, True])), "NaN in every row whose `posed` is false"),
        (bad_rotation(2 * np.eye(3)), "orthonormal"),
        (bad_rotation(np.diag([1.0, 1, -1])), "det \\+1"),
        (bad_rotation(np.eye(3) + 1e-4), "orthonormality error"),
        (bad_value(3, 0, 1e-9), "last row"),
        (bad_value(0, 3, np.nan), "finite numbers in every posed row"),
        (bad_value(0, 3, np.inf), "finite numbers in every posed row"),
        (fields(0), "at least one frame"),
        (changed(covariance=np.zeros((3, 3, 3))), "covariance: expected shape"),
        (changed(covariance=np.full((3, 6, 6), np.nan)), "finite values in posed rows"),
        (changed(covariance=np.tile(np.triu(np.ones((6, 6))), (3, 1, 1))), "symmetric"),
        (changed(covariance=np.tile(-np.eye(6), (3, 1, 1))), "negative eigenvalue"),
    ],
)
def test_trajectory_refuses(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Trajectory(**bad)


def test_trajectory_refuses_an_unknown_unit() -> None:
    with pytest.raises(ValueError, match="not a valid ScaleKind"):
        Trajectory(**changed(scale="feet"))


def gaps() -> Trajectory:
    good = fields(4)
    good["world_from_cam"][[1, 3]] = np.nan
    good["posed"][[1, 3]] = False
    covariance = np.tile(np.eye(6), (4, 1, 1))
    covariance[0] = 0
    covariance[[1, 3]] = np.nan
    return Trajectory(**good, covariance=covariance)


def test_unposed_rows_stay_nan_everywhere() -> None:
    path = gaps()
    for values in (path.position, path.rotation, path.cam_from_world, path.covariance):
        assert values is not None
        assert np.isnan(values[[1, 3]]).all()
        assert np.isfinite(values[[0, 2]]).all()
    assert path.path_length == 2  # from the first to the third camera: the gap is bridged by a straight line
    assert len(path) == 4
    metric = path.metric_copy(3)
    assert np.isnan(metric.position[[1, 3]]).all()
    assert metric.covariance is not None
    assert np.isnan(metric.covariance[[1, 3]]).all()


def test_trajectory_cannot_be_written_to() -> None:
    path = gaps()
    for values in (path.world_from_cam, path.time_s, path.posed, path.covariance):
        assert values is not None
        assert not values.flags.writeable


def test_metric_copy_scales_covariance_as_samples_do() -> None:
    """Monte Carlo: draw poses from the covariance, scale them, and estimate the covariance again.

    Right-multiplied tangent: pose = mean @ Exp(rotation, translation), so the translation noise lives in the camera.
    """
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6)) * 0.02
    covariance = root @ root.T
    mean = np.eye(4)
    mean[:3, :3], mean[:3, 3] = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_matrix(), [1, 2, 3]
    path = Trajectory(
        world_from_cam=mean[None],
        time_s=np.zeros(1),
        posed=np.ones(1, np.bool_),
        scale=ScaleKind.UP_TO_SCALE,
        covariance=covariance[None],
    )
    scaled = path.metric_copy(2.5)
    draws = rng.multivariate_normal(np.zeros(6), covariance, size=200_000)
    # translation of mean @ [Exp(w) | v] is mean_t + mean_R @ v: scale it as `metric_copy` scales positions
    position = 2.5 * (mean[:3, 3] + draws[:, 3:] @ mean[:3, :3].T)
    seen = np.column_stack([draws[:, :3], (position - scaled.position[0]) @ scaled.rotation[0]])
    assert scaled.covariance is not None
    # 200 000 draws: each entry within 1 % of the largest (relative standard error sqrt(2 / n) = 0.3 %)
    np.testing.assert_allclose(np.cov(seen.T), scaled.covariance[0], atol=0.01 * scaled.covariance[0].max())
    assert scaled.scale is ScaleKind.METRIC


@pytest.mark.parametrize(
    ("value", "low", "high", "message"),
    [
        (0.0, 0.0, 1.0, "positive finite"),
        (-1.0, -2.0, 1.0, "positive finite"),
        (np.nan, 1.0, 2.0, "positive finite"),
        (1.0, 0.0, 2.0, "0 < low <= value <= high"),
        (3.0, 1.0, 2.0, "0 < low <= value <= high"),
    ],
)
def test_scale_estimate_refuses(value: float, low: float, high: float, message: str) -> None:
    vote = ScaleVote(cue="camera_height", value=1.0, sigma_log=0.1)
    with pytest.raises(InputError, match=message):
        ScaleEstimate(value=value, low=low, high=high, votes=(vote,))


def test_scale_wants_a_vote_and_a_vote_wants_a_positive_value() -> None:
    with pytest.raises(InputError, match="at least one cue"):
        ScaleEstimate(value=1.0, low=0.9, high=1.1, votes=())
    with pytest.raises(InputError, match="scale of cue gps"):
        ScaleVote(cue="gps", value=0.0, sigma_log=0.1)
    with pytest.raises(InputError, match="sigma_log of cue gps"):
        ScaleVote(cue="gps", value=1.0, sigma_log=-0.1)
