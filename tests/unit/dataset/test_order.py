"""The order of draws: every sample once an epoch, near one another on disk, and mixtures exact to the draw."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.dataset.order import BlockShuffle, Mixture, Segment
from wmkit.errors import InputError

SMALL = st.integers(1, 9)


@given(st.integers(1, 300), st.integers(0, 5), SMALL, SMALL, st.integers(0, 3))
def test_an_epoch_holds_every_sample_once(count: int, seed: int, block: int, window: int, epoch: int) -> None:
    shuffle = BlockShuffle(count, seed, block=block, window=window)
    drawn = [shuffle.sample(draw) for draw in range(epoch * count, (epoch + 1) * count)]
    assert sorted(drawn) == list(range(count))


@given(st.integers(1, 200), SMALL, SMALL, st.lists(st.integers(0, 900), max_size=8))
def test_a_draw_does_not_depend_on_those_before(count: int, block: int, window: int, draws: list[int]) -> None:
    used = BlockShuffle(count, 1, block=block, window=window)
    for draw in draws:
        assert used.sample(draw) == BlockShuffle(count, 1, block=block, window=window).sample(draw)


@given(st.integers(1, 300), st.integers(0, 5), SMALL, SMALL)
def test_draws_of_one_window_come_from_as_many_blocks(count: int, seed: int, block: int, window: int) -> None:
    """The short last block may shift what follows it, so a stretch of draws touches two windows at most."""
    order = BlockShuffle(count, seed, block=block, window=window).order(0)
    for start in range(0, count, block * window):
        assert len(set((order[start : start + block * window] // block).tolist())) <= 2 * window


def test_a_window_mixes_and_epochs_differ() -> None:
    """400 samples, 4 blocks of 10 a window: neighbours in order are no neighbours on disk, and no epoch is another."""
    shuffle = BlockShuffle(400, 3, block=10, window=4)
    orders = [shuffle.order(epoch) for epoch in range(3)]
    for order in orders:
        # In disk order all 399 steps are +1; shuffled within a window, one in 40 is.
        assert (np.diff(order) == 1).sum() < 30
        # Every window of 40 draws is of exactly four blocks: the locality that was asked for.
        assert all(len(set((order[at : at + 40] // 10).tolist())) == 4 for at in range(0, 400, 40))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], BlockShuffle(400, 4, block=10, window=4).order(0))


WEIGHTS = st.lists(st.integers(0, 6), min_size=2, max_size=4).filter(any)


@given(WEIGHTS, st.integers(0, 9), st.integers(1, 5))
def test_every_round_has_exact_counts(weights: list[int], seed: int, rounds: int) -> None:
    mixture = Mixture(seed, [Segment(first=0, weights=tuple(weights))])
    total = sum(weights)
    for turn in range(rounds):
        drawn = Counter(mixture.at(draw)[0] for draw in range(turn * total, (turn + 1) * total))
        assert [drawn[source] for source in range(len(weights))] == weights


@given(st.lists(st.tuples(st.integers(1, 40), WEIGHTS), min_size=1, max_size=4), st.integers(0, 9))
def test_counts_go_on_over_changes_of_weights(parts: list[tuple[int, list[int]]], seed: int) -> None:
    """Of every source the draws are its 0th, 1st, 2nd, ... whatever the weights were before, changed mid-round too."""
    sources = len(parts[0][1])
    segments, first = [], 0
    for length, weights in parts:
        padded = (weights + [1] * sources)[:sources]
        segments.append(Segment(first=first, weights=tuple(padded if any(padded) else [1] * sources)))
        first += length
    mixture = Mixture(seed, segments)
    seen: Counter[int] = Counter()
    for draw in range(first):
        source, before = mixture.at(draw)
        assert before == seen[source]
        seen[source] += 1


def test_a_later_change_leaves_earlier_draws_alone() -> None:
    before = Mixture(0, [Segment(first=0, weights=(3, 1))])
    after = Mixture(0, [Segment(first=0, weights=(3, 1)), Segment(first=50, weights=(0, 1))])
    assert [after.at(draw) for draw in range(50)] == [before.at(draw) for draw in range(50)]
    assert {after.at(draw)[0] for draw in range(50, 90)} == {1}


@pytest.mark.parametrize(
    "segments",
    [
        [],
        [(1, (1,))],
        [(0, (1, 1)), (0, (1, 2))],
        [(0, (1, 1)), (5, (1, 2)), (4, (1, 1))],
        [(0, (1, 1)), (5, (1,))],
    ],
)
def test_segments_that_are_none_are_refused(segments: list[tuple[int, tuple[int, ...]]]) -> None:
    with pytest.raises(InputError, match="expected one for each source"):
        Mixture(0, [Segment(first=first, weights=weights) for first, weights in segments])


@pytest.mark.parametrize("weights", [(), (0, 0), (1, -1)])
def test_weights_that_are_none_are_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="whole numbers"):
        Segment(first=0, weights=weights)


@pytest.mark.parametrize("seed", range(4))
def test_the_first_draw_that_holds_counts(seed: int) -> None:
    """Held against counting draw after draw, across a change of weights."""
    rng = np.random.default_rng(seed)
    segments = [Segment(first=0, weights=(3, 1, 2)), Segment(first=int(rng.integers(1, 30)), weights=(1, 4, 1))]
    mixture = Mixture(seed, segments)
    drawn = [mixture.at(draw)[0] for draw in range(300)]
    for _ in range(20):
        counts = rng.integers(0, 12, 3).tolist()
        wanted = next(n for n in range(300) if all(drawn[:n].count(k) >= counts[k] for k in range(3)))
        assert mixture.first_with(counts) == wanted
        assert mixture.taken(wanted) == tuple(drawn[:wanted].count(k) for k in range(3))


def test_a_source_that_is_no_longer_drawn_from_is_never_enough() -> None:
    mixture = Mixture(0, [Segment(first=0, weights=(1, 1)), Segment(first=10, weights=(0, 1))])
    assert mixture.first_with((5, 50)) is not None
    assert mixture.first_with((6, 0)) is None
