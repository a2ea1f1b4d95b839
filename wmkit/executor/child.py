"""Body of a worker process: load the task, then one reply an item until the driver hangs up.

Started by `wmkit.executor.local` as `python -c "...; main(fd)"` rather than through `multiprocessing`, which would
run the user's script again in every worker, and Ray's in every actor.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from wmkit.executor.heap import keep_freed_memory
from wmkit.executor.limits import limit_cpu
from wmkit.executor.memory import watch_memory
from wmkit.executor.task import run_item

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Serve the socket `descriptor`: first message in is the task, then items; out go None (ready) and replies.

    A string instead of None is the traceback of a task that cannot be loaded. Standard output and error are the
    worker's log, emptied before every item, so that what is left of a crash belongs to the item it died on.
    """
    faulthandler.enable(sys.stderr)
    faulthandler.register(signal.SIGUSR1, sys.stderr, all_threads=True)
    keep_freed_memory()
    threading.Thread(target=_die_with_driver, name="die-with-driver", daemon=True).start()
    pipe: Connection[Any, Any] = Connection(descriptor)
    try:
        task = pipe.recv()
    except Exception:  # noqa: BLE001 - whatever the task's module raises when imported; the driver stops the run
        pipe.send(traceback.format_exc())
        return
    if task.memory_gib is not None:
        threading.Thread(target=watch_memory, args=(task.memory_gib,), name="watch-memory", daemon=True).start()
    pipe.send(None)
    while True:
        try:
            payload = pipe.recv()
        except EOFError:
            return
        sys.stdout.flush()
        os.truncate(sys.stderr.fileno(), 0)
        if task.cpu_s is not None:
            limit_cpu(task.cpu_s)
        pipe.send(run_item(task, payload))


def _die_with_driver() -> None:
    """A killed driver must leave no worker behind: one could still write while the same command runs again.

    The driver holds the other end of standard input and never writes: reading returns when the driver is gone.
    """
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)  # the worker leads its own session: its children go with it, nobody else does
