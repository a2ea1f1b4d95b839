"""Fusion of scale votes: the arithmetic, the interval's honesty, and the odd cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.annotate.scale.fuse import fuse, fuse_votes
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


def test_two_cues_that_contradict_make_no_scale() -> None:
    fusion = fuse_votes([vote(2.0, 0.05, "gps"), vote(4.0, 0.1, "camera_height")])
    assert fusion.estimate is None
    assert fusion.disagreement == pytest.approx(math.log(2) / math.hypot(0.05, 0.1), rel=1e-12)
    assert fusion.problem.startswith("cues_contradict: gps 2 (±5 %), camera_height 4 (±10 %)")
    assert "\n" not in fusion.problem


def test_a_majority_outvotes_one() -> None:
    votes = [vote(2.0, 0.05, "a"), vote(9.0, 0.05, "b"), vote(2.1, 0.05, "c")]
    fusion = fuse_votes(votes)
    assert fusion.estimate == fuse([votes[0], votes[2]])
    assert fusion.outvoted == (votes[1],)
    assert fusion.disagreement is not None
    assert fusion.disagreement > 3


def test_two_against_two_is_no_majority() -> None:
    fusion = fuse_votes([vote(2.0, 0.05, "a"), vote(2.0, 0.05, "b"), vote(9.0, 0.05, "c"), vote(9.0, 0.05, "d")])
    assert fusion.estimate is None


VOTES = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.001, 0.5)), min_size=1, max_size=6)


@given(rows=VOTES, factor=st.floats(0.01, 100))
def test_fusion_follows_the_unit_and_forgets_the_order(rows: list[tuple[float, float]], factor: float) -> None:
    votes = [vote(value, sigma, str(index)) for index, (value, sigma) in enumerate(rows)]
    fusion = fuse_votes(votes)
    scaled = fuse_votes([vote(v.value * factor, v.sigma_log, v.cue) for v in reversed(votes)])
    if fusion.disagreement is not None and abs(fusion.disagreement - 3) < 1e-6:
        return  # rounding may put a contradiction of exactly 3 on either side
    if fusion.estimate is None or scaled.estimate is None:
        return
    if {v.cue for v in fusion.estimate.votes} == {v.cue for v in scaled.estimate.votes}:
        assert scaled.estimate.value == pytest.approx(fusion.estimate.value * factor, rel=1e-9)
    values = [v.value for v in fusion.estimate.votes]
    assert min(values) * (1 - 1e-9) <= fusion.estimate.value <= max(values) * (1 + 1e-9)
    assert fusion.estimate.disagreement is None or fusion.estimate.disagreement <= 3
