"""An even selection: its ends, its size, its steps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wmkit.spread import evenly_spread


@given(count=st.integers(0, 500), most=st.integers(1, 500))
def test_first_last_and_even_steps(count: int, most: int) -> None:
    chosen = evenly_spread(count, most)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, most)
    if count and most > 1:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
    if len(chosen) > 1:
        steps = np.diff(chosen)
        assert steps.min() >= 1
        assert steps.max() - steps.min() <= 1
