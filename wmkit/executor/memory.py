"""A worker's memory limit: it watches what it holds resident and ends itself, by an exit code of its own.

Not the kernel's limits: RLIMIT_AS and RLIMIT_DATA count what is reserved, of which allocators and model libraries take
many times what they use, and how a C++ library takes a refusal is up to it.
"""

import os
import sys
import time
from pathlib import Path

__all__ = ["MEMORY_EXIT", "peak_gib", "resident_gib", "watch_memory"]

MEMORY_EXIT = 83  # of no meaning to a shell or to Python
POLL_S = 0.1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def watch_memory(limit_gib: float) -> None:
    """Return never; end this process when it holds more than `limit_gib` resident."""
    while (used := resident_gib()) <= limit_gib:
        time.sleep(POLL_S)
    sys.stderr.write(f"held {used:.2f} GiB, its limit is {limit_gib:g} GiB\n")
    sys.stderr.flush()
    os._exit(MEMORY_EXIT)


def resident_gib() -> float:
    """Memory this process holds resident, in GiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 2**30


def peak_gib() -> float:
    """The most that this process has held resident, in GiB.

    Not getrusage's ru_maxrss: that of a process which was just started is what its parent held.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
