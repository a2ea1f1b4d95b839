"""Reliability figures against hand computations and against what is known of honest probabilities."""

import numpy as np
import pytest

from wmkit.annotate.confidence.reliability import (
    calibration_error,
    calibration_error_interval,
    rate,
    reliability_bins,
)
from wmkit.errors import InputError


def test_calibration_error_by_hand() -> None:
    # [0.2, 0.3): mean 0.25, one of two true; [0.9, 1]: mean 0.95, two of three true. (2 * 0.25 + 3 * |0.95 - 2/3|) / 5
    probability = np.array([0.22, 0.28, 0.9, 0.95, 1.0])
    truth = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert calibration_error(probability, truth) == pytest.approx((2 * 0.25 + 3 * (0.95 - 2 / 3)) / 5, abs=1e-12)
    low, high = reliability_bins(probability, truth)
    assert (low.low, low.high, low.mean) == (0.2, 0.3, pytest.approx(0.25))
    assert (low.observed.hits, low.observed.total) == (1, 2)
    assert (high.low, high.high, high.observed.total) == (0.9, 1.0, 3)  # 1.0 belongs to the last bin


def test_opposite_errors_do_not_cancel_across_bins() -> None:
    probability = np.repeat([0.3, 0.7], 50)
    truth = np.concatenate([np.repeat([1.0, 0.0], [25, 25]), np.repeat([1.0, 0.0], [25, 25])])
    assert calibration_error(probability, truth) == pytest.approx(0.2, abs=1e-12)


def test_honest_probabilities_have_a_small_error_whose_interval_is_above_zero() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=4000)
    truth = (rng.uniform(size=4000) < probability).astype(float)
    error = calibration_error(probability, truth)
    low, high = calibration_error_interval(probability, truth, draws=200)
    assert error < 0.03  # sqrt(10 / 4000) / 4 = 0.0125 expected
    assert 0 < low <= high < 0.05
    assert calibration_error_interval(probability, truth, draws=200) == (low, high)
    assert calibration_error(np.full(4000, 0.9), truth) > 0.35


def test_wilson_interval_by_hand() -> None:
    # Wilson's own formula at 95 %: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), n = 10, p = 0.8
    one = rate(8, 10)
    assert (one.low, one.high) == (pytest.approx(0.4901625, abs=1e-6), pytest.approx(0.9433178, abs=1e-6))
    assert rate(10, 10).high == pytest.approx(1.0)
    assert rate(10, 10).low == pytest.approx(10 / (10 + 1.959963984540054**2), abs=1e-12)
    assert np.isnan(rate(0, 0).value)
    assert rate(0, 0).to_json()["value"] is None


@pytest.mark.parametrize(("hits", "total"), [(-1, 3), (4, 3)])
def test_a_rate_refuses(hits: int, total: int) -> None:
    with pytest.raises(InputError, match="rate"):
        rate(hits, total)


@pytest.mark.parametrize(
    ("probability", "truth"), [([1.2], [1.0]), ([np.nan], [1.0]), ([0.5], [0.5]), ([], [])], ids=str
)
def test_calibration_error_refuses(probability: list, truth: list) -> None:
    with pytest.raises(InputError, match="calibration"):
        calibration_error(np.array(probability), np.array(truth))
