"""The peak of a process is its own, whatever its parent held."""

import subprocess
import sys

import numpy as np

from wmkit.executor.memory import peak_gib, resident_gib


def test_a_child_does_not_inherit_its_parents_peak() -> None:
    held = np.ones(2**26)  # half a GiB
    child = subprocess.run(
        [sys.executable, "-c", "from wmkit.executor.memory import peak_gib; print(peak_gib())"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert peak_gib() > 0.5
    assert float(child.stdout) < 0.3
    del held
    assert resident_gib() < 0.4  # what is given back counts no more, but in the peak
    assert peak_gib() > 0.5
