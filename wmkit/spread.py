"""An even selection out of a row of things: the one way in which frames, clips or points are thinned."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["evenly_spread"]


def evenly_spread(count: int, most: int) -> NDArray[np.int64]:
    """(M,) increasing indices, M = min(count, most), below `count`: the first, the last and even steps between.

    Of `most` = 1 the first alone.
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
