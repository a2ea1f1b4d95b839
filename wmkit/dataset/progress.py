"""How far a build or a check is: a bar on a terminal, one line every 30 s elsewhere."""

from collections.abc import Callable
from typing import TextIO

from wmkit.clock import monotonic_s

__all__ = ["Count", "counter_for"]

Count = Callable[[int, int], None]  # (done, total)

LINE_EVERY_S = 30.0


def counter_for(stream: TextIO, noun: str) -> Count:
    """A function to call with (done, total) after every one; it tells `stream` (stderr, mostly)."""
    return _terminal(stream, noun) if stream.isatty() else _Lines(stream, noun)


class _Lines:
    """A line at the first call after every 30 s."""

    def __init__(self, stream: TextIO, noun: str) -> None:
        self._stream, self._noun = stream, noun
        self._start_s = self._told_s = monotonic_s()

    def __call__(self, done: int, total: int) -> None:
        now_s = monotonic_s()
        if now_s - self._told_s < LINE_EVERY_S:
            return
        self._told_s = now_s
        rate = done / (now_s - self._start_s)
        left_s = round((total - done) / rate)
        eta = f"{left_s // 60}:{left_s % 60:02d}"
        print(f"{self._noun} {done}/{total}, {60 * rate:.1f}/min, ETA {eta}", file=self._stream, flush=True)


def _terminal(stream: TextIO, noun: str) -> Count:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(noun),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )
    task = bar.add_task(noun, total=None, rate="")
    start_s = monotonic_s()

    def count(done: int, total: int) -> None:
        if not bar.live.is_started:
            bar.start()
        rate = f"{60 * done / max(monotonic_s() - start_s, 1e-3):.1f}/min"
        bar.update(task, completed=done, total=total, rate=rate)
        if done == total:
            bar.stop()

    return count
