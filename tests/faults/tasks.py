"""Tasks that misbehave on purpose; imported by worker processes."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from wmkit.errors import ClipError


def misbehave(folder: str, what: str) -> str:
    """Do what the payload says. `name:once` misbehaves on the first attempt alone (a file remembers)."""
    action, _, once = what.partition(":")
    if once == "once":
        mark = Path(folder) / f"{action}.seen"
        if mark.exists():
            return f"{action} survived"
        mark.touch()
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "sysexit":
            sys.exit(3)
        case "hang":
            time.sleep(600)
        case "clip_error":
            raise ClipError("decode", "no_video_stream", "expected a video stream, got none")
        case "bug":
            raise ValueError("two\nlines")
        case "memory":
            raise MemoryError("big")
        case "hoard":
            hoard = bytearray(700 << 20)
            hoard[:: 1 << 12] = bytes([1]) * len(hoard[:: 1 << 12])
            time.sleep(600)
        case "threads":
            return ",".join(os.environ[name] for name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"))
        case "burn":
            while True:
                pass
        case "pid":
            return str(os.getpid())
    return f"{action} done"


def children(folder: str, seconds: str) -> str:
    """Start a child process, note its pid, and hang."""
    import subprocess

    child = subprocess.Popen(["sleep", seconds])
    (Path(folder) / "child.pid").write_text(str(child.pid))
    time.sleep(float(seconds))
    return "done"


def own_gpu(slow_s: float, _: str) -> tuple[int, str]:
    """Which worker this is, and which GPU it sees; slow enough that other workers get items too."""
    time.sleep(slow_s)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]
