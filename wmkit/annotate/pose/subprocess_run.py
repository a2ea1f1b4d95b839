"""A foreign program under a time and a memory limit, dead with all its children when either is passed."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from wmkit.clock import monotonic_s
from wmkit.errors import ClipError

__all__ = ["run_limited"]

POLL_S = 0.1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
LOG_TAIL = 300


def run_limited(command: Sequence[str], log: Path, timeout_s: float, memory_gib: float) -> None:
    """Run `command` to its end, its output in `log`.

    Raises ClipError("pose", code): command_not_started, command_timeout, command_memory, command_failed (with the end
    of its log).
    """
    libc = ctypes.CDLL(None)  # loaded here: nothing may be looked up between fork and exec

    def die_with_us() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with log.open("wb") as output:
        process = _start(command, output, die_with_us)
        try:
            code = _watched(process, command[0], monotonic_s() + timeout_s, timeout_s, memory_gib)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children too, which may outlive it
            process.wait()
    if code != 0:
        tail = " ".join(log.read_bytes()[-4 * LOG_TAIL :].decode(errors="replace").split())[-LOG_TAIL:]
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        raise ClipError("pose", "command_failed", f"expected {command[0]} to end with 0, it {ended}: {tail}")


def _start(command: Sequence[str], output: IO[bytes], die_with_us: Callable[[], None]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_us,  # noqa: PLW1509 - two words to the kernel, looked up before the fork
        )
    except OSError as error:
        message = f"expected to start {command[0]}, got: {error.strerror}; check --pose-command"
        raise ClipError("pose", "command_not_started", message) from error


def _watched(process: "subprocess.Popen[bytes]", name: str, end_s: float, timeout_s: float, memory_gib: float) -> int:
    """The exit code; ClipError when a limit is passed first."""
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            pass
        if monotonic_s() > end_s:
            raise ClipError("pose", "command_timeout", f"expected {name} to end within {timeout_s:g} s; it was killed")
        used_gib = _group_bytes(process.pid) / 2**30
        if used_gib > memory_gib:
            message = f"expected {name} to stay within {memory_gib:g} GiB, it used {used_gib:.2f}; it was killed"
            raise ClipError("pose", "command_memory", message)


def _group_bytes(group: int) -> int:
    """Resident memory of every process of a process group."""
    total = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            total += int(fields[21]) * PAGE_BYTES if int(fields[2]) == group else 0
    return total
