"""The kinds of fault, and how each hits a run that works: at a random moment, or tells that it came too late."""

import os
import random
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUILD", "ENDS", "HANG_TIMEOUT_S", "INNER", "Running", "descendants", "strike"]

ROOT = Path(__file__).parents[2]
INNER = {  # the run goes on, or ends in one line
    "local": ("worker", "disk", "hang", "segfault", "clock"),
    "ray": ("actor", "actors_worker"),
}
ENDS = {"local": ("driver", "two_drivers"), "ray": ("driver_of_ray", "raylet")}  # the run is over
BUILD = ("build", "disk_of_build")  # of build-shards
MAX_FILE_BYTES = 30_000  # about the largest file of a clip: any from none to nearly all of them still fit
FULL_S = 6.0  # that a disk is full at most
HANG_TIMEOUT_S = 45.0  # of a clip, where one hangs
HOURS = (3, -5, 26, -0.025, -26)


@dataclass
class Running:
    """A process, what it says in files (pipes would be held open by what outlives it), and its folder of mischief."""

    process: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(cls, words: Sequence[str]) -> "Running":
        folder = Path(tempfile.mkdtemp(prefix="run-"))
        path = [str(ROOT / "tests/faults/mischief"), str(ROOT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "WMKIT_CHAOS_FOLDER": str(folder)}
        with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
            process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr)
        return cls(process, folder)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> tuple[str, str]:
        """Standard output and error so far."""
        return (self.folder / "stdout").read_text(), (self.folder / "stderr").read_text()

    def sleep(self, seconds: float) -> bool:
        """Whether it still runs after so long."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.alive


def strike(kind: str, run: Running, rng: random.Random, second: Callable[[], None] | None = None) -> bool:
    """Hit the run now; False when it ended before that. `second` starts a second driver and sees it refused."""
    if kind in _VICTIMS:
        return _kill(run, rng, _VICTIMS[kind])
    match kind:
        case "two_drivers" if second is not None:
            second()
            return _kill(run, rng, lambda pid: [pid])
        case "disk" | "disk_of_build":
            return _full(run, rng)
        case "clock":
            (run.folder / "clock").write_text(str(rng.choice(HOURS) * 3600))
            return run.sleep(1.0)
        case "hang" | "segfault":
            (run.folder / kind).touch()
            while run.sleep(0.1) and (run.folder / kind).exists():
                pass
            if kind == "hang" and rng.random() < 0.5:
                run.sleep(HANG_TIMEOUT_S)  # else the fault that follows may hit before the hang is noticed
            return (run.folder / f"{kind}.hit").exists()
    raise ValueError(kind)


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs; those that end meanwhile are left out."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, listed.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return [""]


def _workers(pid: int) -> list[int]:
    return [child for child in descendants(pid) if any("wmkit.executor.child" in word for word in _words(child))]


def _actors(pid: int) -> list[int]:
    return [child for child in descendants(pid) if _words(child)[0].startswith("ray::_Supervisor")]


def _raylets(pid: int) -> list[int]:
    return [child for child in descendants(pid) if _words(child)[0].endswith("/raylet")]


_VICTIMS: dict[str, Callable[[int], list[int]]] = {
    "driver": lambda pid: [pid],
    "driver_of_ray": lambda pid: [pid],
    "build": lambda pid: [pid],
    "worker": _workers,
    "actor": _actors,
    "actors_worker": _workers,
    "raylet": _raylets,
}


def _kill(run: Running, rng: random.Random, victims_of: Callable[[int], list[int]]) -> bool:
    """Kill one of the processes that the driver's id leads to, as soon as there is one."""
    while run.alive:
        victims = victims_of(run.process.pid)
        if victims:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
                return True
        run.sleep(0.1)
    return False


def _limit(pid: int, file_bytes: int) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))


def _full(run: Running, rng: random.Random) -> bool:
    """Files of all its processes end at some size for a while, and then no longer do."""
    size, end_s, alive = rng.randrange(MAX_FILE_BYTES), time.monotonic() + rng.uniform(0.2, FULL_S), run.alive
    while run.alive and time.monotonic() < end_s:
        for pid in [run.process.pid, *descendants(run.process.pid)]:
            _limit(pid, size)
        run.sleep(0.2)
    for pid in [run.process.pid, *descendants(run.process.pid)]:
        _limit(pid, resource.RLIM_INFINITY)
    return alive
