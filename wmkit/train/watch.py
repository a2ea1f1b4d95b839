"""Who is told of a run while it goes: progress, logs of its figures, and who looks at the model now and then."""

from collections.abc import Callable
from dataclasses import dataclass, field

from wmkit.errors import ConfigError
from wmkit.train.checkpoint import Trained
from wmkit.train.metrics_log import StepMetrics
from wmkit.train.pace import Pace, StepWork
from wmkit.train.progress import SilentProgress, TrainProgress
from wmkit.train.step_logs import StepLog

__all__ = ["LoggedProgress", "Watch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told of the steps, and who is shown the model after every `look_every`-th of them; 0: nobody."""

    progress: TrainProgress = field(default_factory=SilentProgress)
    look: Callable[[int, Trained], None] | None = None
    look_every: int = 0

    def __post_init__(self) -> None:
        if self.look_every < 0:
            raise ConfigError(f"--sample-every: expected a number of steps, 0 for none, got {self.look_every}")

    def show(self, step: int, trained: Trained) -> None:
        """Step `step` is done."""
        if self.look is not None and self.look_every and step % self.look_every == 0:
            self.look(step, trained)


class LoggedProgress:
    """Another progress, and every step's figures into a log beside it."""

    def __init__(self, log: StepLog, inner: TrainProgress) -> None:
        self._log, self._inner, self._pace = log, inner, Pace(0, 0)

    def note(self, text: str) -> None:
        """As the other progress does."""
        self._inner.note(text)

    def start(self, steps: int, done: int, work: StepWork | None = None) -> None:
        """Opens the log; raises what that raises."""
        self._log.open(done + 1)
        self._inner.start(steps, done, work)
        self._pace = Pace(steps, done, work)

    def advance(self, done: int, row: StepMetrics | None) -> None:
        """Loss, gradient norm and learning rate of the step; rates since the start; memory."""
        self._inner.advance(done, row)
        self._pace.add(done, row)
        if row is None:
            return
        values = {"loss": row.loss, "grad_norm": row.grad_norm, "lr": row.lr, "seconds": row.seconds}
        values |= {f"pace/{name}": value for name, value in self._pace.rates().items()}
        if row.peak_gib is not None:
            values["pace/peak_gib"] = row.peak_gib
        self._log.add(values, done)

    def stop(self) -> None:
        """Closes the log."""
        self._log.close()
        self._inner.stop()
