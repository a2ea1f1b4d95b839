"""How a run tells its state: a bar on a terminal, one line every 30 s elsewhere, nothing in a library call."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Protocol, TextIO

from wmkit.clock import monotonic_s
from wmkit.corpus import LedgerRow, Status

__all__ = ["LineProgress", "Progress", "SilentProgress", "TerminalProgress", "progress_for"]

LINE_EVERY_S = 30.0


class Progress(Protocol):
    """What a run calls, always from one thread."""

    def note(self, text: str) -> None:
        """A stage before the clips, in a few words."""
        ...

    def start(self, total: int, done: Mapping[Status, int]) -> None:
        """Work begins on `total` clips, of which `done` were finished by earlier runs."""
        ...

    def advance(self, row: LedgerRow) -> None:
        """One more clip has its final outcome."""
        ...

    def stop(self) -> None:
        """Work ended, finished or not; called exactly once after `start`."""
        ...


class SilentProgress:
    """Tells nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def start(self, total: int, done: Mapping[Status, int]) -> None:
        """Nothing."""

    def advance(self, row: LedgerRow) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class LineProgress:
    """One line every 30 s, for logs: written by a thread of its own, since one clip can take minutes."""

    def __init__(self, stream: TextIO, every_s: float = LINE_EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s
        self._total = 0
        self._counts: Counter[Status] = Counter()
        self._resumed = 0
        self._start_s = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, text: str) -> None:
        """One line."""
        print(text, file=self._stream, flush=True)

    def start(self, total: int, done: Mapping[Status, int]) -> None:
        """Starts the clock and the thread, after a `stop` anew."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._tell, name="wmkit-progress", daemon=True)
        self._total, self._counts, self._resumed = total, Counter(done), sum(done.values())
        self._start_s = monotonic_s()
        self._thread.start()

    def advance(self, row: LedgerRow) -> None:
        """Counts; the thread tells."""
        self._counts[row.status] += 1

    def stop(self) -> None:
        """Ends the thread and tells a last time."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.note(self._line())

    def _tell(self) -> None:
        while not self._ended.wait(self._every_s):
            self.note(self._line())

    def _line(self) -> str:
        done = sum(self._counts.values())
        fresh, elapsed_s = done - self._resumed, monotonic_s() - self._start_s
        pace = "rate unknown, ETA unknown"
        if fresh and elapsed_s > 0:
            eta_s = (self._total - done) * elapsed_s / fresh
            pace = f"{60 * fresh / elapsed_s:.1f} clips/min, ETA {_clock(eta_s)}"
        if done == self._total:
            pace = f"all in {_clock(elapsed_s)}"
        return f"clips {done}/{self._total}, {pace}, {_told(self._counts)}"


class TerminalProgress:
    """A rich bar: clips, rate, time left, and how the clips ended."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._console = Console(file=stream)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=self._console,
            speed_estimate_period=3600,  # a clip can take minutes
        )
        self._counts: Counter[Status] = Counter()
        self._resumed = 0
        self._start_s = 0.0
        self._id = self._bar.add_task("clips", total=None, start=False, visible=False, rate="", told="")

    def note(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def start(self, total: int, done: Mapping[Status, int]) -> None:
        """Shows the bar."""
        self._counts, self._resumed = Counter(done), sum(done.values())
        self._start_s = monotonic_s()
        self._bar.update(self._id, total=total, completed=self._resumed, visible=True, told=_told(self._counts))
        self._bar.start_task(self._id)
        self._bar.start()

    def advance(self, row: LedgerRow) -> None:
        """Moves the bar by one clip."""
        self._counts[row.status] += 1
        fresh = sum(self._counts.values()) - self._resumed
        rate = f"{60 * fresh / max(monotonic_s() - self._start_s, 1e-3):.1f}/min"
        self._bar.update(self._id, advance=1, rate=rate, told=_told(self._counts))

    def stop(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.stop()


def progress_for(stream: TextIO) -> Progress:
    """The bar when `stream` (stderr, mostly) is a terminal, lines when it is a file or a pipe."""
    return TerminalProgress(stream) if stream.isatty() else LineProgress(stream)


def _told(counts: Mapping[Status, int]) -> str:
    return (
        f"posed {counts.get(Status.OK, 0)}, no trajectory {counts.get(Status.NO_TRAJECTORY, 0)}, "
        f"failed {counts.get(Status.FAILED, 0)}"
    )


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"
