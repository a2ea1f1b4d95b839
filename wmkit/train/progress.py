"""How training and sampling tell their state: a bar on a terminal, a line every 30 s elsewhere, else nothing."""

from typing import Protocol, TextIO

from wmkit.clock import monotonic_s
from wmkit.train.metrics_log import StepMetrics
from wmkit.train.pace import Pace, StepWork

__all__ = ["LineProgress", "SilentProgress", "TerminalProgress", "TrainProgress", "progress_for"]

LINE_EVERY_S = 30.0


class TrainProgress(Protocol):
    """What the work calls, always from one thread."""

    def note(self, text: str) -> None:
        """Something to know, in one line."""
        ...

    def start(self, steps: int, done: int, work: StepWork | None = None) -> None:
        """Work begins: `steps` in all, of which `done` were done by earlier runs; `work` of each, where it counts."""
        ...

    def advance(self, done: int, row: StepMetrics | None) -> None:
        """`done` steps are done, the last of them with these figures if it has any."""
        ...

    def stop(self) -> None:
        """Work ended, finished or not; called exactly once after `start`."""
        ...


class SilentProgress:
    """Tells nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def start(self, steps: int, done: int, work: StepWork | None = None) -> None:
        """Nothing."""

    def advance(self, done: int, row: StepMetrics | None) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class LineProgress:
    """One line every 30 s, for logs: told by the step that ends after the time is up."""

    def __init__(self, stream: TextIO, every_s: float = LINE_EVERY_S) -> None:
        self._stream, self._every_s = stream, every_s
        self._pace = Pace(0, 0)
        self._told_s = 0.0

    def note(self, text: str) -> None:
        """One line."""
        print(text, file=self._stream, flush=True)

    def start(self, steps: int, done: int, work: StepWork | None = None) -> None:
        """Starts the clock."""
        self._pace, self._told_s = Pace(steps, done, work), monotonic_s()

    def advance(self, done: int, row: StepMetrics | None) -> None:
        """Counts, and tells when it is time."""
        self._pace.add(done, row)
        if monotonic_s() - self._told_s >= self._every_s:
            self._told_s = monotonic_s()
            self.note(self._pace.line())

    def stop(self) -> None:
        """Tells a last time."""
        self.note(self._pace.line())


class TerminalProgress:
    """A rich bar: steps, loss, rate, time left."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._console = Console(file=stream)
        self._bar = Bar(
            TextColumn("steps"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._pace = Pace(0, 0)
        self._id = self._bar.add_task("steps", total=None, start=False, visible=False, told="")

    def note(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def start(self, steps: int, done: int, work: StepWork | None = None) -> None:
        """Shows the bar."""
        self._pace = Pace(steps, done, work)
        self._bar.update(self._id, total=steps, completed=done, visible=True)
        self._bar.start_task(self._id)
        self._bar.start()

    def advance(self, done: int, row: StepMetrics | None) -> None:
        """Moves the bar by one step."""
        self._pace.add(done, row)
        self._bar.update(self._id, completed=done, told=self._pace.told())

    def stop(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.stop()


def progress_for(stream: TextIO) -> TrainProgress:
    """The bar when `stream` (stderr, mostly) is a terminal, lines when it is a file or a pipe."""
    return TerminalProgress(stream) if stream.isatty() else LineProgress(stream)
