"""`python -m tests.faults.train_driver OUT STEPS RESUME [DIE_AT]`: one run of the small model, for tests that kill it.

DIE_AT is "before:WORD", "after:WORD" (the rename that puts a file or folder with WORD in its name in place) or
"step:N" (when the batch of step N is asked for).
"""

import os
import signal
import sys
from pathlib import Path

from tests.faults.driver import die_at
from tests.train_doubles import FACTS, DrawnBatch, batch_of, small_config
from wmkit.train.loop import train


def main(out: str, steps: str, resume: str, point: str = "") -> None:
    deadly = int(point.removeprefix("step:")) if point.startswith("step:") else -1
    if point and deadly < 0:
        die_at(point)

    def batches(step: int) -> DrawnBatch:
        if step == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch_of(step)

    train(small_config(f"steps={steps}", "save_every=2"), batches, FACTS, Path(out), resume=resume == "resume")


if __name__ == "__main__":
    main(*sys.argv[1:])
