"""A worker that frees memory does not have the kernel clear it again for the next frame."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from wmkit.executor.heap import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
begun = faults()
for _ in range(20):
    frames = [np.ones(2**20) for _ in range(3)]  # 24 MiB, 6144 pages
    del frames
print(faults() - begun)
"""


def faults(keep: str) -> int:
    """Pages that the kernel had to supply for twenty times the same arrays."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, keep], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_not_cleared_again() -> None:
    """The first round needs its pages either way, or a few huge ones; the other nineteen should need none."""
    assert faults("keep") < 2 * 6144
    assert faults("keep") < faults("default") / 3
