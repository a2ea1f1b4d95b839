"""The program's one door to the time of day and to durations. CPU time (`time.process_time`) is no clock, not here."""

import time
from datetime import UTC, datetime

__all__ = ["monotonic_s", "utc_now"]


def utc_now() -> datetime:
    """Wall clock, in UTC, for people to read: it jumps when somebody sets it, so nothing is decided or sorted by it."""
    return datetime.fromtimestamp(time.time(), UTC)


def monotonic_s() -> float:
    """Seconds since some point: for deadlines, rates and durations. Nothing sets it back or ahead."""
    return time.monotonic()
