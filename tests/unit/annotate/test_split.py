"""Where long videos are parted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.annotate.split import SplitConfig, borders_of
from wmkit.errors import InputError


@given(
    frames=st.integers(1, 200),
    fps=st.floats(1, 120),
    cuts=st.sets(st.integers(0, 220), max_size=6),
    clip_seconds=st.floats(0.05, 60),
)
def test_parts_are_all_of_it_and_none_too_long(frames: int, fps: float, cuts: set[int], clip_seconds: float) -> None:
    time_s = np.arange(frames) / fps
    borders = np.array(borders_of(time_s, sorted(cuts), clip_seconds))
    assert (np.diff(borders) > 0).all()
    part = np.searchsorted(borders, time_s, side="right")  # of each frame
    assert set(part.tolist()) == set(range(len(borders) + 1)), "every part has a frame"
    for cut in cuts:
        if 0 < cut < frames:
            assert part[cut] != part[cut - 1]
    counts = np.bincount(part)
    assert (counts <= max(1, np.floor(clip_seconds * fps + 1 + 1e-6))).all(), "a part is a frame over at most"
    away = np.abs(borders[:, None] - time_s).min(axis=1) if len(borders) else np.array([1.0])
    assert (away > 0.49 / fps).all(), "borders lie between frames, where rounding moves none across"


def test_a_shot_that_fits_is_left_alone_and_a_long_one_is_parted_evenly() -> None:
    time_s = np.arange(250) / 10
    assert borders_of(time_s, [], 25.0) == ()
    assert borders_of(time_s, [50], 10.0) == pytest.approx((4.95, 14.95))
    assert borders_of(time_s, [], 10.0) == pytest.approx((8.35, 16.65))


def test_variable_rates_part_by_time() -> None:
    time_s = np.concatenate([np.arange(10) / 10, 1 + np.arange(10) / 2])
    (border,) = borders_of(time_s, [], 3.0)
    assert border == pytest.approx(2.75)  # half of 5.5 + 0.5 s lies at frame 14, 3.0 s


def test_a_length_of_nothing_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="--clip-seconds: expected a positive number of seconds"):
            SplitConfig(clip_seconds=wrong)
