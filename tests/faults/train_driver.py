"""`python -m tests.faults.train_driver OUT STEPS RESUME [DIE_AT]`: one run of the small model, for tests that kill it.

DIE_AT is "before:WORD", "after:WORD" (the rename that puts a file or folder with WORD in its name in place), "step:N"
(when the batch of step N is asked for) or "writing:NAME" (when step 5 begins, while the first file of the checkpoint
NAME is half written: its thread never ends).
"""

import os
import signal
import sys
import threading
from pathlib import Path

from tests.faults.driver import die_at
from tests.train_doubles import FACTS, DrawnBatch, batch_of, small_config
from wmkit.train import saving
from wmkit.train.loop import train

HALF_WRITTEN = threading.Event()


def half_write(name: str) -> None:
    whole = saving.write_synced

    def half(path: Path, data: bytes) -> None:
        if path.parent.name != f".{name}.tmp":
            whole(path, data)
            return
        whole(path, data[: len(data) // 2])
        HALF_WRITTEN.set()
        threading.Event().wait()

    saving.write_synced = half


def main(out: str, steps: str, resume: str, point: str = "") -> None:
    kind, _, word = point.partition(":")
    deadly = int(word) if kind == "step" else 5 if kind == "writing" else -1
    if kind == "writing":
        half_write(word)
    elif kind in ("before", "after"):
        die_at(point)

    def batches(step: int) -> DrawnBatch:
        if step == deadly and (kind == "step" or HALF_WRITTEN.wait(60)):
            os.kill(os.getpid(), signal.SIGKILL)
        return batch_of(step)

    train(small_config(f"steps={steps}", "save_every=2"), batches, FACTS, Path(out), resume=resume == "resume")


if __name__ == "__main__":
    main(*sys.argv[1:])
