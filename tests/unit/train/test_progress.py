"""What training tells on a terminal and in a log."""

import io

from wmkit.train.metrics_log import StepMetrics
from wmkit.train.progress import LineProgress, SilentProgress, TerminalProgress, TrainProgress, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(step: int, loss: float) -> StepMetrics:
    return StepMetrics(step=step, loss=loss, grad_norm=1.0, lr=0.1, seconds=0.5, wait_s=0.0, peak_gib=1.5)


def steps(progress: TrainProgress, first: int, last: int, total: int, loss: float | None = 0.5) -> None:
    progress.note("4 samples")
    progress.start(total, first)
    for step in range(first + 1, last + 1):
        progress.advance(step, None if loss is None else row(step, loss))
    progress.stop()


def test_the_stream_decides() -> None:
    assert isinstance(progress_for(Terminal()), TerminalProgress)
    assert isinstance(progress_for(io.StringIO()), LineProgress)


def test_a_log_gets_a_line_when_it_is_time_and_one_at_the_end() -> None:
    often, seldom = io.StringIO(), io.StringIO()
    steps(LineProgress(often, every_s=0.0), 2, 5, 10)
    steps(LineProgress(seldom), 2, 5, 10)
    assert [line.split(",")[0] for line in often.getvalue().splitlines()] == [
        "4 samples", "step 3/10", "step 4/10", "step 5/10", "step 5/10",
    ]  # fmt: skip
    assert len(seldom.getvalue().splitlines()) == 2
    last = seldom.getvalue().splitlines()[-1]
    assert "loss 0.500" in last
    assert "steps/s" in last
    assert "ETA" in last


def test_sampling_has_steps_but_no_loss() -> None:
    stream = io.StringIO()
    steps(LineProgress(stream), 0, 2, 2, loss=None)
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("step 2/2, ")
    assert "steps/s" in last
    assert "loss" not in last


def test_nothing_done_has_no_rate() -> None:
    stream = io.StringIO()
    steps(LineProgress(stream), 4, 4, 4)
    assert stream.getvalue().splitlines()[-1] == "step 4/4"


def test_a_bar_tells_step_and_loss() -> None:
    stream = Terminal()
    steps(TerminalProgress(stream), 0, 3, 3)
    assert "4 samples" in stream.getvalue()
    assert "3/3" in stream.getvalue()
    assert "loss 0.500" in stream.getvalue()


def test_silence() -> None:
    steps(SilentProgress(), 0, 2, 2)
