"""Who is told of a run while it goes: progress, TensorBoard's event files, and who looks at the model now and then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from wmkit.errors import ConfigError, InputError
from wmkit.train.checkpoint import Trained
from wmkit.train.metrics_log import StepMetrics
from wmkit.train.pace import Pace, StepWork
from wmkit.train.progress import SilentProgress, TrainProgress

__all__ = ["EventProgress", "Watch"]


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


class EventProgress:
    """Another progress, and event files of every step beside it; a resumed run's repeated steps hide the first ones."""

    def __init__(self, folder: Path, inner: TrainProgress) -> None:
        """InputError where the package tensorboard is not installed."""
        if find_spec("tensorboard") is None:
            raise InputError("--tensorboard: expected the package tensorboard; run: pip install 'wmkit[tensorboard]'")
        from torch.utils.tensorboard.writer import SummaryWriter

        self._open = lambda first: SummaryWriter(str(folder), purge_step=first)
        self._inner, self._writer, self._pace = inner, None, Pace(0, 0)

    def note(self, text: str) -> None:
        """As the other progress does."""
        self._inner.note(text)

    def start(self, steps: int, done: int, work: StepWork | None = None) -> None:
        """Opens a file."""
        self._writer, self._pace = self._open(done + 1), Pace(steps, done, work)
        self._inner.start(steps, done, work)

    def advance(self, done: int, row: StepMetrics | None) -> None:
        """Loss, gradient norm and learning rate of the step; rates since the start; memory."""
        self._inner.advance(done, row)
        self._pace.add(done, row)
        if row is None or self._writer is None:
            return
        values = {"loss": row.loss, "grad_norm": row.grad_norm, "lr": row.lr, "seconds": row.seconds}
        values |= {f"pace/{name}": value for name, value in self._pace.rates().items()}
        if row.peak_gib is not None:
            values["pace/peak_gib"] = row.peak_gib
        for name, value in values.items():
            self._writer.add_scalar(name, value, done)

    def stop(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
        self._inner.stop()
