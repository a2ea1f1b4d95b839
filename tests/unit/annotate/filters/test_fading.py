"""The contrast of details changes in a blend, and in nothing that merely moves."""

import numpy as np
import pytest
from skimage import data, transform

from wmkit.annotate.filters.fading import contrast_change

ONE, OTHER = (np.asarray(transform.resize(picture(), (160, 280))) * 255 for picture in (data.coffee, data.astronaut))


def grey(picture: np.ndarray, x: int = 0, y: int = 0) -> np.ndarray:
    return picture[y : y + 144, x : x + 256].mean(axis=2)


def as_uint8(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def blend(share: float) -> np.ndarray:
    return as_uint8((1 - share) * grey(ONE) + share * grey(OTHER))


def test_in_a_blend_details_come_and_go() -> None:
    steps = [contrast_change(blend(k / 9), blend((k + 1) / 9)) for k in range(2, 7)]
    assert min(step or 0.0 for step in steps) > 0.087  # the limit of cross_fade
    ends = contrast_change(blend(0.0), blend(1.0))
    assert ends is None or ends < 0.087  # two shots have no details in common


@pytest.mark.parametrize(("x", "y"), [(0, 0), (7, 3), (20, 0)])
def test_motion_keeps_contrast_and_so_does_grain(x: int, y: int) -> None:
    rng = np.random.default_rng(x)
    still, moved = (as_uint8(grey(ONE, *at) + rng.normal(0, 3, (144, 256))) for at in ((0, 0), (x, y)))
    change = contrast_change(still, moved)
    assert change is not None
    assert change < 0.06  # grain of three levels against patches of twenty and more


def test_what_all_lose_together_is_a_change_too() -> None:
    change = contrast_change(as_uint8(grey(ONE)), as_uint8(0.7 * grey(ONE)))
    assert change == pytest.approx(-np.log(0.7), abs=0.03)  # rounding to grey levels


def test_a_picture_without_details_says_nothing() -> None:
    assert contrast_change(np.full((144, 256), 90, np.uint8), np.full((144, 256), 90, np.uint8)) is None
