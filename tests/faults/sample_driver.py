"""`python -m tests.faults.sample_driver RUN BENCH OUT [DIE_AT]`: one benchmark in one process, for tests that kill it.

DIE_AT as in `tests.faults.driver`; in one process the worker's own renames are points too. "at:WORD" kills it when a
file with WORD in its name has its first bytes.
"""

import json
import os
import signal
import sys
from pathlib import Path

from tests.faults.driver import die_at
from tests.precompute_doubles import in_this_process
from wmkit.executor import ExecutorOptions
from wmkit.sample import SampleOptions
from wmkit.sample import benchmark as module
from wmkit.sample import run as run_module


def die_amid(word: str) -> None:
    real = run_module.write_mp4

    def deadly(path: Path, frames, *arguments, **named):
        def some():
            for count, frame in enumerate(frames):
                if word in path.name and count == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield frame

        return real(path, some(), *arguments, **named)

    run_module.write_mp4 = deadly


def main(run: str, bench: str, out: str, point: str = "") -> None:
    if point.startswith("at:"):
        die_amid(point.removeprefix("at:"))
    elif point:
        die_at(point)
    module.run_items = in_this_process  # pyright: ignore[reportPrivateImportUsage]
    options = SampleOptions(checkpoint=Path(run), steps=1)
    print(json.dumps(module.sample_benchmark(Path(bench), Path(out), options, ExecutorOptions()).to_json()))


if __name__ == "__main__":
    main(*sys.argv[1:])
