"""p_good on cases that its calibration never saw: other seeds, another motion family, another real sequence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.confidence.fit import Cases, fit_calibration
from wmkit.camera import Array
from wmkit.errors import InputError

__all__ = ["REAL", "held_out_probability"]

REAL = "real:"
PARTS = 5  # of the seeds; one is judged by the others
Row = Mapping[str, Any]
Mask = NDArray[np.bool_]


def held_out_probability(rows: Sequence[Row]) -> Array:
    """(N,) p_good of posed rows with evidence, in their order, each by a calibration fitted without it.

    A synthetic case is judged by the seeds of the other four fifths and by all motion families but its own; a real one
    by all synthetic cases and the other real sequences. Raises InputError when a fold leaves nothing to fit.
    """
    cases = Cases.of(rows)
    if len(cases) != len(rows):
        raise InputError("held out: expected posed rows with evidence only")
    part = np.array([row["seed"] % PARTS for row in rows])
    real = np.array([str(group).startswith(REAL) for group in cases.group])
    result = np.full(len(cases), np.nan)
    for group in np.unique(cases.group):
        own = cases.group == group
        if str(group).startswith(REAL):
            result[own] = _by_others(cases, ~own, own)
            continue
        for number in range(PARTS):
            held = own & (part == number)
            if held.any():
                result[held] = _by_others(cases, ~own & (real | (part != number)), held)
    return result


def _by_others(cases: Cases, others: Mask, held: Mask) -> Array:
    fitted = fit_calibration(cases.pick(others), backend="held-out", engine="", fitted_on={})
    return cases.pick(held).probability(fitted)
