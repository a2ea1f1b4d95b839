"""The peak of a process is its own, whatever its parent held."""

import subprocess
import sys

PARENT = """
import subprocess, sys
import numpy as np
from wmkit.executor.memory import peak_gib, resident_gib
held = np.ones(2**26)  # half a GiB
child = [sys.executable, "-c", "from wmkit.executor.memory import peak_gib; print(peak_gib())"]
theirs = float(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
del held
print(peak_gib(), resident_gib(), theirs)
"""


def test_a_child_does_not_inherit_its_parents_peak() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT], check=True, capture_output=True, text=True)
    own, now, of_child = map(float, done.stdout.split())
    assert own > 0.5
    assert now < 0.4  # what is given back counts in the peak alone
    assert of_child < 0.4
