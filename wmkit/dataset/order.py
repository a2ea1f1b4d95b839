"""Which sample the n-th draw of a run is: pure functions of (seed, n), so nothing has to be remembered to go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wmkit.clip import rng_for
from wmkit.errors import InputError

__all__ = ["BlockShuffle", "Mixture", "Segment"]


class BlockShuffle:
    """Each of `count` samples once an epoch, in an order of that epoch alone.

    Neighbours on disk make blocks of `block` samples. An epoch takes the blocks in random order, `window` of them at a
    time, and shuffles the samples these hold: reads stay within `window` places, and block * window samples mix. A
    folder that fits into one window is shuffled whole.
    """

    __slots__ = ("_block", "_cached", "_seed", "_window", "count")

    def __init__(self, count: int, seed: int, *, block: int, window: int) -> None:
        self.count, self._seed, self._block, self._window = count, seed, block, window
        self._cached: tuple[int, NDArray[np.int64]] | None = None

    def sample(self, draw: int) -> int:
        """The sample of the draw-th place of all epochs, laid end to end."""
        epoch, place = divmod(draw, self.count)
        cached = self._cached  # read once: another thread may be in another epoch
        if cached is None or cached[0] != epoch:
            self._cached = cached = (epoch, self.order(epoch))
        return int(cached[1][place])

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(count,) the samples of one epoch in their order."""
        name = f"epoch {epoch}"
        shuffled = rng_for(self._seed, name, "sample order").permutation(self.count)
        blocks = -(-self.count // self._block)
        turn = rng_for(self._seed, name, "block order").permutation(blocks)
        # A shuffle sorted stably by window is a shuffle of every window.
        window = turn[shuffled // self._block] // self._window
        return shuffled[np.argsort(window, kind="stable")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """From draw `first` on, `weights[k]` of every sum(weights) draws are from source k: exactly, not on average."""

    first: int
    weights: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.first < 0 or not self.weights or min(self.weights) < 0 or not any(self.weights):
            raise InputError(f"weights: expected whole numbers of at least 0, not all 0, got {list(self.weights)}")


class Mixture:
    """Which source each draw comes from, and the how-manieth of that source it is.

    Draws are dealt in rounds of sum(weights), each in an order of its own. A segment ends where the next begins, and
    counts go on over it, so no source starts anew because weights have changed.
    """

    __slots__ = ("_cached", "_counts", "_seed", "segments")

    def __init__(self, seed: int, segments: Sequence[Segment]) -> None:
        """Segments in order, the first from draw 0; InputError otherwise."""
        firsts = [segment.first for segment in segments]
        sources = {len(segment.weights) for segment in segments}
        if firsts[:1] != [0] or any(one >= other for one, other in pairwise(firsts)) or len(sources) != 1:
            raise InputError(f"weights: expected one for each source and changes in order from draw 0, got {firsts}")
        self.segments, self._seed = tuple(segments), seed
        self._cached: tuple[tuple[int, int], NDArray[np.int64]] | None = None
        # Draws of every source before each segment.
        self._counts: list[tuple[int, ...]] = [(0,) * sources.pop()]
        for number, (_, after) in enumerate(pairwise(segments)):
            self._counts.append(self._taken(number, after.first))

    def at(self, draw: int) -> tuple[int, int]:
        """(source, how many draws that source had before)."""
        number = max(k for k, segment in enumerate(self.segments) if segment.first <= draw)
        segment = self.segments[number]
        if len(segment.weights) == 1:
            return 0, draw
        turn, place = divmod(draw - segment.first, sum(segment.weights))
        dealt = self._round(number, turn)
        source = int(dealt[place])
        before = int((dealt[:place] == source).sum())
        return source, self._counts[number][source] + turn * segment.weights[source] + before

    def taken(self, draw: int) -> tuple[int, ...]:
        """How many draws of every source come before this one."""
        return self._taken(max(k for k, segment in enumerate(self.segments) if segment.first <= draw), draw)

    def first_with(self, counts: Sequence[int]) -> int | None:
        """The least number of draws that hold `counts` of every source; None when one is no longer drawn from."""
        last = len(self.segments) - 1
        short = [want > have for want, have in zip(counts, self._counts[last], strict=True)]
        if any(lacks and not weight for lacks, weight in zip(short, self.segments[last].weights, strict=True)):
            return None
        low, high = 0, 1
        while not self._holds(high, counts):
            low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._holds(middle, counts) else (middle + 1, high)
        return low

    def _holds(self, draws: int, counts: Sequence[int]) -> bool:
        return all(have >= want for have, want in zip(self.taken(draws), counts, strict=True))

    def _taken(self, number: int, end: int) -> tuple[int, ...]:
        """Draws of every source before draw `end`, which segment `number` reaches."""
        segment = self.segments[number]
        turns, rest = divmod(end - segment.first, sum(segment.weights))
        last = np.bincount(self._round(number, turns)[:rest], minlength=len(segment.weights))
        shares = zip(self._counts[number], segment.weights, last.tolist(), strict=True)
        return tuple(before + turns * weight + more for before, weight, more in shares)

    def _round(self, number: int, turn: int) -> NDArray[np.int64]:
        """The sources of one round, in order."""
        cached = self._cached
        if cached is None or cached[0] != (number, turn):
            weights = self.segments[number].weights
            rng = rng_for(self._seed, f"segment {number} round {turn}", "mixture")
            self._cached = cached = ((number, turn), rng.permutation(np.repeat(np.arange(len(weights)), weights)))
        return cached[1]
