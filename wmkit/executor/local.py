"""Worker processes on this machine: one process and one socket each, killed whole when late."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any

from wmkit.executor.gpus import GPU_ENV
from wmkit.executor.loop import Broken, Died, Event, Ready, Replied
from wmkit.executor.memory import MEMORY_EXIT
from wmkit.executor.task import THREAD_ENV, ItemTask, Reply

__all__ = ["LocalPool"]

BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from wmkit.executor.child import main
main(int(sys.argv[1]))
"""
LOG_TAIL_BYTES = 4000
EXIT_WAIT_S = 5.0
SIGNAL_HINTS: dict[int, str] = {
    signal.SIGKILL: " (often the kernel, out of memory)",
    signal.SIGXCPU: " (it used more CPU time than one item may)",
}
STACK_WAIT_S = 0.3  # for faulthandler to write where a hung worker is before it is killed


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen
    pipe: Any  # multiprocessing's Connection, whose name differs by platform
    log: Path


class LocalPool:
    """`size` fresh Python processes: none inherits state, so a worker is the same on its first and last item."""

    start_timeout_s: float | None = 120.0

    def __init__(self, task: ItemTask, size: int, gpus: tuple[str, ...] = ()) -> None:
        """`gpus`: one for each worker, which sees no other; none: workers see what this process does."""
        self.size = min(size, len(gpus)) if gpus else size
        self._gpus = gpus
        self._task = task
        self._workers: dict[int, _Worker] = {}
        self._logs = Path(tempfile.mkdtemp(prefix="wmkit-workers-"))

    def start(self, worker: int) -> None:
        """Start a process, in place of an earlier one of this number; it says Ready once the task is loaded."""
        if worker in self._workers:
            _end(self._workers.pop(worker))
        ours, theirs = Pipe()
        log = self._logs / f"{worker}.log"
        with open(log, "wb", buffering=0) as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.PIPE,  # never written: its end tells the worker that the driver is gone
                stdout=sink,  # C++ libraries write to both; the tail goes into the dead letter of a crash
                stderr=sink,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **THREAD_ENV, **({GPU_ENV: self._gpus[worker]} if self._gpus else {})},
                start_new_session=True,  # children die with the worker; Ctrl-C reaches the driver alone
            )
        theirs.close()  # or the socket would never report the worker's end
        self._workers[worker] = _Worker(process, ours, log)
        self.submit(worker, self._task)

    def submit(self, worker: int, payload: Any) -> None:
        """Send one item; a worker that died meanwhile is reported by the next `wait`."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._workers[worker].pipe.send(payload)

    def wait(self, timeout_s: float | None) -> list[Event]:
        """Messages and deaths since the last call."""
        by_pipe = {handle.pipe: number for number, handle in self._workers.items()}
        ready = connection.wait(list(by_pipe), timeout_s)
        return [self._event(number) for pipe, number in by_pipe.items() if pipe in ready]

    def kill(self, worker: int) -> str:
        """Kill the worker and its children; returns the stacks it was killed in."""
        self.stop(worker)
        handle = self._workers.pop(worker)
        _end(handle)
        return _tail(handle.log)

    def stop(self, worker: int) -> None:
        """Kill the worker and its children, but leave it to `wait` to report that: callable from another thread."""
        process = self._workers[worker].process
        process.send_signal(signal.SIGUSR1)  # faulthandler writes the stacks of all threads to the log
        time.sleep(STACK_WAIT_S)
        _kill_session(process)

    def close(self) -> None:
        """Kill what still runs and remove the logs."""
        for handle in self._workers.values():
            _end(handle)
        self._workers.clear()
        shutil.rmtree(self._logs, ignore_errors=True)

    def _event(self, worker: int) -> Event:
        handle = self._workers[worker]
        try:
            message = handle.pipe.recv()
        except (EOFError, ConnectionResetError):
            with suppress(subprocess.TimeoutExpired):
                handle.process.wait(EXIT_WAIT_S)
            code = handle.process.returncode
            _end(handle)
            del self._workers[worker]
            return Died(worker, _ended(code), _tail(handle.log), over_limit=code == MEMORY_EXIT)
        if isinstance(message, Reply):
            return Replied(worker, message)
        return Ready(worker) if message is None else Broken(worker, message)


def _kill_session(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(handle: _Worker) -> None:
    _kill_session(handle.process)
    with suppress(subprocess.TimeoutExpired):
        handle.process.wait(EXIT_WAIT_S)
    handle.pipe.close()
    if handle.process.stdin is not None:
        handle.process.stdin.close()


def _ended(code: int | None) -> str:
    if code is None:
        return "closed its socket and did not end"
    if code == MEMORY_EXIT:
        return "passed its memory limit and was stopped; give it more with --clip-memory-gib, or a shorter clip"
    if code >= 0:
        return f"ended by itself with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was ended by {name}{SIGNAL_HINTS.get(-code, '')}"


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""
