"""What a run tells on a terminal and in a log."""

import io
import threading

from wmkit.annotate.progress import LineProgress, SilentProgress, TerminalProgress, progress_for
from wmkit.corpus import LedgerRow, Status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Told(io.StringIO):
    """Wakes who waits for a line that has `word` in it."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word, self.seen = word, threading.Event()

    def write(self, text: str) -> int:
        if self.word in text:
            self.seen.set()
        return super().write(text)


def row(status: Status) -> LedgerRow:
    return LedgerRow(clip_id="ab", source="x.mp4", status=status)


def test_the_stream_decides() -> None:
    assert isinstance(progress_for(Terminal()), TerminalProgress)
    assert isinstance(progress_for(io.StringIO()), LineProgress)


def test_a_log_gets_a_line_now_and_then_though_no_clip_ends() -> None:
    stream = Told("clips 1/4")
    progress = LineProgress(stream, every_s=0.01)
    progress.start(4, {Status.OK: 1})
    assert stream.seen.wait(60)
    progress.stop()
    assert "clips 1/4, rate unknown, ETA unknown, posed 1, no trajectory 0, failed 0" in stream.getvalue()


def test_a_log_ends_with_the_counts() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.note("found 4 clips")
    progress.start(4, {Status.OK: 1})
    for status in (Status.OK, Status.NO_TRAJECTORY):
        progress.advance(row(status))
    progress.stop()
    first, last = stream.getvalue().splitlines()
    assert first == "found 4 clips"
    assert last.startswith("clips 3/4, ")
    assert "clips/min, ETA 0:" in last
    assert last.endswith("posed 2, no trajectory 1, failed 0")


def test_all_done_has_no_time_left() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.start(1, {})
    progress.advance(row(Status.FAILED))
    progress.stop()
    assert stream.getvalue() == "clips 1/1, all in 0:00:00, posed 0, no trajectory 0, failed 1\n"


def test_a_terminal_shows_a_bar_with_the_counts() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream)
    progress.note("found [3] clips")
    progress.start(3, {Status.OK: 1})
    progress.advance(row(Status.FAILED))
    progress.stop()
    text = stream.getvalue()
    assert "found [3] clips" in text, "a name in brackets is no markup"
    assert "2/3" in text
    assert "posed 1, no trajectory 0, failed 1" in text


def test_a_library_call_tells_nothing(capsys) -> None:
    progress = SilentProgress()
    progress.note("x")
    progress.start(1, {})
    progress.advance(row(Status.OK))
    progress.stop()
    assert capsys.readouterr() == ("", "")


def test_one_progress_tells_of_one_corpus_after_another() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    for total in (1, 2):
        progress.start(total, {})
        progress.advance(row(Status.OK))
        progress.stop()
    first, second = stream.getvalue().splitlines()
    assert first.startswith("clips 1/1, all in")
    assert second.startswith("clips 1/2, ")
