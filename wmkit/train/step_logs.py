"""Where a run's figures go besides metrics.jsonl: TensorBoard's event files, Weights & Biases."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from wmkit.atomic import write_atomic
from wmkit.errors import InputError

__all__ = ["EventFiles", "StepLog", "WandbRun"]

WANDB_ID = "wandb-id"


class StepLog(Protocol):
    """Figures by name, step after step."""

    def open(self, first: int) -> None:
        """Steps from `first` on follow, counted from 1; what is there of later ones is done again."""
        ...

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Those of one step."""
        ...

    def close(self) -> None:
        """No more steps; called only after `open`."""
        ...


class EventFiles:
    """TensorBoard's; a resumed run's repeated steps hide the first ones."""

    def __init__(self, folder: Path) -> None:
        """InputError where the package tensorboard is not installed."""
        if find_spec("tensorboard") is None:
            raise InputError("--tensorboard: expected the package tensorboard; run: pip install 'wmkit[tensorboard]'")
        self._folder, self._writer = folder, None

    def open(self, first: int) -> None:
        """A file of its own."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=first)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """A scalar each."""
        assert self._writer is not None
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends the file."""
        assert self._writer is not None
        self._writer.close()


class WandbRun:
    """A run of a Weights & Biases project, named as the run's folder; OUT/wandb-id says which, and a resumed run goes
    on in it. Whether it is online, offline or disabled is wandb's own matter (`wandb login`, WANDB_MODE).
    """

    def __init__(self, project: str, out: Path, config: Mapping[str, Any]) -> None:
        """InputError where the package wandb is not installed."""
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            wandb = None
        if not hasattr(wandb, "init"):  # a folder that is called wandb can be imported, too
            raise InputError("--wandb: expected the package wandb; run: pip install 'wmkit[wandb]'")
        self._wandb: Any = wandb
        self._project, self._out, self._config, self._run = project, out, config, None

    def open(self, first: int) -> None:
        """Joins the run, or starts it; InputError where wandb would not."""
        known = self._out / WANDB_ID
        self._out.mkdir(parents=True, exist_ok=True)
        try:
            self._run = self._wandb.init(
                project=self._project,
                name=self._out.resolve().name,
                dir=str(self._out),
                id=known.read_text(encoding="utf-8").strip() if known.is_file() else None,
                resume="allow",
                config=dict(self._config),
            )
        except self._wandb.Error as error:
            told = " ".join(str(error).split())
            raise InputError(f"--wandb: expected a run, got: {told}; log in, or set WANDB_MODE=offline") from error
        write_atomic(known, f"{self._run.id}\n".encode())

    def add(self, values: Mapping[str, float], step: int) -> None:
        """One row."""
        assert self._run is not None
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Waits until wandb has all of it."""
        assert self._run is not None
        self._run.finish()
