"""Set the wall clock of every Python process by hours, back and forth, five times a second.

Python imports a module of this name when it starts: with this folder in PYTHONPATH a run and all its workers are under
it. The kernel's clock is left alone.
"""

import time

SHIFTS_S = (0.0, 3 * 3600.0, -5 * 3600.0, 26 * 3600.0, -90.0, 7200.0, -26 * 3600.0)

_true_ns = time.time_ns


def _set_ns() -> int:
    now_ns = _true_ns()
    return now_ns + int(SHIFTS_S[now_ns // 200_000_000 % len(SHIFTS_S)] * 1e9)


time.time_ns = _set_ns
time.time = lambda: _set_ns() / 1e9
