"""The kernel's limits on a worker: what stops it when nobody else is quick enough to."""

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["address_space", "limit_cpu"]

PAGE_BYTES = resource.getpagesize()


def limit_cpu(cpu_s: float) -> None:
    """From now on this process may use `cpu_s` more seconds of CPU; then SIGXCPU ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + cpu_s)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


@contextmanager
def address_space(more_gib: float) -> Iterator[None]:
    """While the body runs this process may reserve `more_gib` GiB beyond what it has: MemoryError, not a full machine.

    For a stage that starts no thread, program or model: those reserve many times what they use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    reserved = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE_BYTES
    limit = reserved + int(more_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
