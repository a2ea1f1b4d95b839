"""metrics.jsonl: one line a step, in the order of the steps, without repeats after a resume.

    {"step": 1, "loss": ..., "grad_norm": ..., "lr": ..., "seconds": ..., "wait_s": ..., "peak_gib": ...}

`step` counts from 1 (so many steps are done), `grad_norm` is before clipping, `seconds` is the step's own time, without
`wait_s`, the wait for its batch; `peak_gib` is the most memory that the process (on a GPU: the GPU) held so far. The
last two are null where they were not measured, and absent from files of older versions. Times make this file the one
part of a run that differs between equal runs.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from wmkit.atomic import sync_file, write_atomic

__all__ = ["MetricsLog", "StepMetrics", "read_metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """Figures of one optimizer step; see the module for what they mean."""

    step: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float
    wait_s: float | None = None
    peak_gib: float | None = None


def read_metrics(path: Path) -> list[StepMetrics]:
    """Every complete line; a last one cut short by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            rows.append(StepMetrics(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return rows


class MetricsLog:
    """Appends to a run's metrics.jsonl; rows after `step`, which a resumed run does again, are dropped first."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [row for row in read_metrics(path) if row.step <= step]
        write_atomic(path, "".join(_line(row) for row in kept).encode())
        self._path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)  # a line is on disk when its step is done

    def add(self, row: StepMetrics, *, durable: bool = False) -> None:
        """One more step. `durable` waits for the disk: before a checkpoint, after which none so far is done again."""
        self._file.write(_line(row))
        if durable:
            sync_file(self._path)

    def close(self) -> None:
        """No more steps."""
        self._file.close()


def _line(row: StepMetrics) -> str:
    return json.dumps(asdict(row)) + "\n"
