"""Fusion of scale votes: the arithmetic, the interval's honesty, and the odd cases."""

import math

import numpy as np
import pytest

from wmkit.annotate.scale.fuse import fuse
from wmkit.camera import ScaleVote


def vote(value: float, sigma_log: float, cue: str = "a") -> ScaleVote:
    return ScaleVote(cue=cue, value=value, sigma_log=sigma_log)


def test_no_votes_is_no_estimate() -> None:
    assert fuse(()) is None


def test_one_vote_is_its_own_interval() -> None:
    estimate = fuse([vote(2.0, 0.1)])
    assert estimate is not None
    # 1.959964 is the normal's 97.5 % point; rounding only beyond that.
    assert estimate.value == pytest.approx(2.0, rel=1e-15)
    assert estimate.low == pytest.approx(2.0 * math.exp(-0.1959964), rel=1e-8)
    assert estimate.high == pytest.approx(2.0 * math.exp(0.1959964), rel=1e-8)
    assert estimate.disagreement is None


def test_votes_are_weighted_by_their_inverse_variance_in_log_space() -> None:
    votes = (vote(1.0, 0.1, "a"), vote(math.e, 0.2, "b"))
    estimate = fuse(votes)
    assert estimate is not None
    assert math.log(estimate.value) == pytest.approx((0 / 0.01 + 1 / 0.04) / (1 / 0.01 + 1 / 0.04), rel=1e-12)
    sigma = (1 / 0.01 + 1 / 0.04) ** -0.5
    assert math.log(estimate.high / estimate.low) == pytest.approx(2 * 1.959964 * sigma, rel=1e-6)
    assert estimate.disagreement == pytest.approx(1 / math.hypot(0.1, 0.2), rel=1e-12)
    assert estimate.votes == votes


def test_disagreement_is_that_of_the_worst_pair() -> None:
    estimate = fuse([vote(1.0, 0.1, "a"), vote(1.1, 0.1, "b"), vote(2.0, 0.1, "c")])
    assert estimate is not None
    assert estimate.disagreement == pytest.approx(math.log(2) / math.hypot(0.1, 0.1), rel=1e-12)


def test_an_exact_vote_decides_and_the_others_only_disagree() -> None:
    estimate = fuse([vote(3.0, 0.0, "factor"), vote(4.0, 0.05, "camera_height")])
    assert estimate is not None
    assert (estimate.low, estimate.value, estimate.high) == (3.0, 3.0, 3.0)
    assert estimate.disagreement == pytest.approx(math.log(4 / 3) / 0.05, rel=1e-12)


def test_exact_votes_that_differ_span_the_interval() -> None:
    estimate = fuse([vote(2.0, 0.0, "a"), vote(8.0, 0.0, "b")])
    assert estimate is not None
    assert estimate.value == pytest.approx(4.0, rel=1e-12)
    assert (estimate.low, estimate.high) == (2.0, 8.0)
    assert estimate.disagreement is not None
    assert estimate.disagreement > 1e5  # ln 4 over a millionth, the least that two exact numbers may differ by


def test_a_vanishing_sigma_is_no_overflow() -> None:
    estimate = fuse([vote(2.0, 1e-300, "a"), vote(3.0, 0.1, "b")])
    assert estimate is not None
    assert estimate.value == pytest.approx(2.0, rel=1e-12)


def test_the_interval_covers_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    sigmas, truth, covered = (0.05, 0.1, 0.3), 7.0, 0
    for _ in range(1000):
        estimate = fuse([vote(truth * math.exp(s * rng.standard_normal()), s, str(s)) for s in sigmas])
        assert estimate is not None
        covered += estimate.low <= truth <= estimate.high
    # Binomial(1000, 0.95) has a standard deviation of 6.9: four of them.
    assert abs(covered - 950) < 28
