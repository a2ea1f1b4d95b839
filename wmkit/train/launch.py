"""One command, several processes on this machine: torchrun starts them, each trains its part of the run."""

import os
import subprocess
import sys
from collections.abc import Sequence

from wmkit.errors import InputError

__all__ = ["is_launched", "launch"]


def is_launched() -> bool:
    """Whether torchrun, ours or the user's own, has started this process."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run `wmkit ARGUMENTS` as so many processes of this machine; the exit code, that of the first to fail.

    On several machines start torchrun there yourself: `torchrun --nnodes 8 --nproc-per-node 8 ... -m wmkit train`.
    Raises InputError for fewer than one process.
    """
    if processes < 1:
        raise InputError(f"--processes: expected at least 1, got {processes}")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.call([*run, "-m", "wmkit", *arguments])
