"""Lens models against pycolmap's own, folds, and the pinhole that a lens is delivered in."""

import numpy as np
import pycolmap
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.camera import MAX_PINHOLE_FOV_DEG, Intrinsics, Lens
from wmkit.errors import InputError

SIZE = (640, 480)
BARREL = {
    "SIMPLE_RADIAL": (400.0, 318.0, 243.0, -0.12),
    "RADIAL": (400.0, 318.0, 243.0, -0.25, 0.06),
    "OPENCV": (400.0, 404.0, 318.0, 243.0, -0.25, 0.06, 0.002, -0.003),
    "SIMPLE_RADIAL_FISHEYE": (300.0, 318.0, 243.0, 0.05),
    "RADIAL_FISHEYE": (300.0, 318.0, 243.0, 0.05, -0.02),
    "OPENCV_FISHEYE": (300.0, 303.0, 318.0, 243.0, 0.05, -0.02, 0.01, -0.003),
}
PINCUSHION = {
    "SIMPLE_RADIAL": (500.0, 318.0, 243.0, 0.2),
    "RADIAL": (500.0, 318.0, 243.0, -0.1, 0.3),  # slower than a pinhole first, faster further out, no fold
    "OPENCV": (500.0, 480.0, 318.0, 243.0, 0.2, 0.05, -0.004, 0.003),
}
LENSES = [
    Lens(model=model, params=params, width=SIZE[0], height=SIZE[1])
    for table in (BARREL, PINCUSHION)
    for model, params in table.items()
]
named = pytest.mark.parametrize("lens", LENSES, ids=lambda lens: f"{lens.model}-{lens.params[-1]:g}")
UNIT = Intrinsics(fx=1.0, fy=1.0, cx=0.0, cy=0.0, width=SIZE[0], height=SIZE[1])


def peer_of(lens: Lens) -> pycolmap.Camera:
    return pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=list(lens.params))


@named
def test_both_ways_as_pycolmap(lens: Lens) -> None:
    xy = np.random.default_rng(0).uniform((0, 0), SIZE, size=(500, 2))
    ray = lens.to_pinhole(xy, UNIT)
    expected = np.array(peer_of(lens).cam_from_img(xy))
    known = np.isfinite(ray).all(axis=1)
    assert known.mean() > 0.95, "these lenses fold outside the picture, or in its very corners"
    # pycolmap stops its own iteration at a step of 1e-10; the slope of the inverse grows it near the rim
    np.testing.assert_allclose(ray[known], expected[known], rtol=0, atol=1e-7)
    depth = np.column_stack([ray[known], np.ones(known.sum())])
    forward = np.array(peer_of(lens).img_from_cam(depth))
    np.testing.assert_allclose(lens.from_pinhole(ray[known], UNIT), forward, rtol=0, atol=1e-9)


@named
def test_there_and_back(lens: Lens) -> None:
    pinhole = lens.default_pinhole()
    xy = np.random.default_rng(1).uniform((0, 0), SIZE, size=(500, 2))
    np.testing.assert_allclose(lens.to_pinhole(lens.from_pinhole(xy, pinhole), pinhole), xy, rtol=0, atol=1e-6)


@given(k1=st.floats(-0.4, 0.4), k2=st.floats(-0.3, 0.3), x=st.floats(0, 640), y=st.floats(0, 480))
def test_whatever_is_found_is_right(k1: float, k2: float, x: float, y: float) -> None:
    """An inverse is exact or NaN, for any coefficients: never a point of the branch beyond the fold."""
    lens = Lens(model="RADIAL", params=(400.0, 320.0, 240.0, k1, k2), width=640, height=480)
    xy = np.array([[x, y]])
    ray = lens.to_pinhole(xy, UNIT)
    if np.isfinite(ray).all():
        np.testing.assert_allclose(lens.from_pinhole(ray, UNIT), xy, rtol=0, atol=1e-6)
        r2 = float((ray**2).sum())
        assert 1 + 3 * k1 * r2 + 5 * k2 * r2 * r2 > -1e-6, "g' has not yet turned"


def test_beyond_the_fold_is_nan_both_ways() -> None:
    lens = Lens(model="SIMPLE_RADIAL", params=(400.0, 320.0, 240.0, -0.5), width=640, height=480)
    fold = np.sqrt(1 / 1.5)  # g' = 1 - 1.5 r² = 0
    edge = fold * (1 - 0.5 * fold**2) * 400
    far = lens.to_pinhole(np.array([[320 + edge - 0.1, 240], [320 + edge + 0.1, 240]]), UNIT)
    assert np.isfinite(far[0]).all()
    assert np.isnan(far[1]).all()
    rays = lens.from_pinhole(np.array([[fold - 1e-3, 0], [fold + 1e-3, 0]]), UNIT)
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1]).all()


def test_a_fisheye_has_no_pinhole_at_90_degrees() -> None:
    lens = Lens(model="SIMPLE_RADIAL_FISHEYE", params=(200.0, 320.0, 240.0, 0.0), width=640, height=480)
    xy = np.array([[320 + 200 * np.radians(80), 240], [320 + 200 * np.radians(91), 240]])
    rays = lens.to_pinhole(xy, UNIT)
    np.testing.assert_allclose(rays[0], [np.tan(np.radians(80)), 0], rtol=1e-12)
    assert np.isnan(rays[1]).all()
    assert lens.default_pinhole().fov_x_deg == pytest.approx(MAX_PINHOLE_FOV_DEG), "the cap, not the picture, limits it"


@named
def test_default_pinhole_is_full_and_the_widest(lens: Lens) -> None:
    pinhole = lens.default_pinhole()
    core = lens.undistorted_core
    assert (pinhole.cx, pinhole.cy, pinhole.width, pinhole.height) == (core.cx, core.cy, *SIZE)
    assert pinhole.fx / pinhole.fy == pytest.approx(core.fx / core.fy)

    def margin_px(camera: Intrinsics) -> float:
        y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] + 0.5
        source = lens.from_pinhole(np.column_stack([x.ravel(), y.ravel()]), camera)
        return float(np.min([source - 0.5, np.array(SIZE) - 0.5 - source]))

    assert margin_px(pinhole) >= -1e-5, "every pixel of the delivered frame lies inside the source picture"
    wider = Intrinsics(
        fx=pinhole.fx * 0.99, fy=pinhole.fy * 0.99, cx=core.cx, cy=core.cy, width=SIZE[0], height=SIZE[1]
    )
    assert not margin_px(wider) >= 0 or wider.fov_x_deg > MAX_PINHOLE_FOV_DEG


def test_without_distortion_the_lens_is_its_pinhole() -> None:
    lens = Lens(model="OPENCV", params=(400.0, 410.0, 318.0, 243.0, 0, 0, 0, 0), width=640, height=480)
    np.testing.assert_allclose(lens.default_pinhole().row, lens.params[:4], rtol=1e-7)


@named
@pytest.mark.parametrize("size", [(320, 240), (480, 240)])
def test_resize_moves_no_ray(lens: Lens, size: tuple[int, int]) -> None:
    small = lens.resized(*size)
    xy = np.random.default_rng(2).uniform((0, 0), SIZE, size=(50, 2))
    shrunk = xy * np.array(size) / SIZE
    np.testing.assert_allclose(small.to_pinhole(shrunk, UNIT), lens.to_pinhole(xy, UNIT), rtol=0, atol=1e-9)
    assert (small.width, small.height) == size
    assert (small.model == lens.model) == (size == (320, 240) or "OPENCV" in lens.model)


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("FOV", (1.0, 1.0, 1.0, 1.0, 1.0), "expected one of the models"),
        ("RADIAL", (1.0, 1.0, 1.0, 1.0), "expected 5 finite parameters of RADIAL"),
        ("SIMPLE_RADIAL", (1.0, 1.0, 1.0, np.nan), "expected 4 finite"),
        ("SIMPLE_RADIAL", (0.0, 1.0, 1.0, 0.1), "positive focal lengths"),
    ],
)
def test_bad_lenses(model: str, params: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Lens(model=model, params=params, width=640, height=480)


def test_points_need_two_columns() -> None:
    with pytest.raises(InputError, match=r"\(K, 2\), got \(2,\)"):
        LENSES[0].to_pinhole(np.zeros(2), UNIT)
