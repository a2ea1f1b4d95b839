"""How fast a run goes: steps, tokens and operations a second, what it waits for data, the most memory it held."""

from dataclasses import dataclass

import torch

from wmkit.clock import monotonic_s
from wmkit.model.work import count_work
from wmkit.train.config import TrainConfig
from wmkit.train.estimate import GPUS, recipe_grid
from wmkit.train.metrics_log import StepMetrics

__all__ = ["Pace", "StepWork", "peak_memory_gib", "step_work"]

SMOOTH = 0.9  # weight of the past in the shown loss: single losses jump with their noise level


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """What one step has to do, all processes together.

    tokens        latent cells of its clips.
    flop          of forward and backward, twice the forward's; what is computed again is not counted. None where a
                  step is more than these (a teacher's passes).
    peak_flop_s   of all GPUs by their data sheet; None on a CPU and on a GPU that `estimate.GPUS` does not know.
    """

    tokens: int
    flop: int | None
    peak_flop_s: float | None = None


def step_work(config: TrainConfig, device: torch.device, processes: int = 1) -> StepWork:
    """The work of a step of this run, counted on the meta device; `device` is that of each process."""
    grid = recipe_grid(config)
    flop = None
    if not config.learns_from_models:
        flop = 3 * config.data.batch_size * sum(part.flop for part in count_work(config.model, grid))
    return StepWork(
        tokens=config.data.batch_size * grid.tokens,
        flop=flop,
        peak_flop_s=_peak_flop_s(device, config.parallel.precision, processes),
    )


def _peak_flop_s(device: torch.device, precision: str, processes: int) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).lower()
    for gpu in GPUS.values():
        if gpu.name in name:
            return 1e12 * processes * (gpu.half_tflop_s if precision == "bfloat16" else gpu.tf32_tflop_s)
    return None


def peak_memory_gib(device: torch.device) -> float | None:
    """The most that this process held: of the GPU's memory, or resident; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    from wmkit.executor.memory import peak_gib

    try:
        return peak_gib()
    except (OSError, StopIteration):
        return None


class Pace:
    """Steps, smoothed loss, rates, share of the time that went by waiting, and time left, since it was made."""

    def __init__(self, steps: int, done: int, work: StepWork | None = None) -> None:
        self.steps, self.done, self._first, self._work = steps, done, done, work
        self._loss: float | None = None
        self._wait_s, self._peak_gib = 0.0, None
        self._start_s = monotonic_s()

    def add(self, done: int, row: StepMetrics | None) -> None:
        """`done` steps are done; `row` is the last one's, None where steps have none."""
        self.done = done
        if row is not None:
            self._loss = row.loss if self._loss is None else SMOOTH * self._loss + (1 - SMOOTH) * row.loss
            self._wait_s += row.wait_s or 0.0
            self._peak_gib = row.peak_gib

    def rates(self) -> dict[str, float]:
        """What is known of: steps_s, tokens_s, flop_s (a second), mfu (share of the peak), wait (of the time)."""
        rate = self._rate()
        found = {"steps_s": rate}
        if self._work is not None:
            found |= {"tokens_s": rate * self._work.tokens, "wait": self._wait_s / self._elapsed_s()}
            if self._work.flop is not None:
                found["flop_s"] = rate * self._work.flop
                if self._work.peak_flop_s is not None:
                    found["mfu"] = found["flop_s"] / self._work.peak_flop_s
        return found

    def told(self) -> str:
        """As `loss 0.512, 3.10 steps/s, 3968 tokens/s, 31.2 GFLOP/s, 2 % waiting for data, 0.61 GiB`."""
        rates = self.rates()
        parts = [] if self._loss is None else [f"loss {self._loss:.3f}"]
        parts.append(f"{rates['steps_s']:.2f} steps/s")
        if "tokens_s" in rates:
            parts.append(f"{rates['tokens_s']:.0f} tokens/s")
        if "mfu" in rates:
            parts.append(f"MFU {100 * rates['mfu']:.1f} %")
        elif "flop_s" in rates:
            parts.append(f"{rates['flop_s'] / 1e9:.1f} GFLOP/s")
        if "wait" in rates:
            parts.append(f"{100 * rates['wait']:.0f} % waiting for data")
        if self._peak_gib is not None:
            parts.append(f"{self._peak_gib:.2f} GiB")
        return ", ".join(parts)

    def line(self) -> str:
        """One line for a log."""
        if self.done == self._first:
            return f"step {self.done}/{self.steps}"
        left_s = round((self.steps - self.done) / self._rate())
        return f"step {self.done}/{self.steps}, {self.told()}, ETA {left_s // 60}:{left_s % 60:02d}"

    def _rate(self) -> float:
        return (self.done - self._first) / self._elapsed_s()

    def _elapsed_s(self) -> float:
        return max(monotonic_s() - self._start_s, 1e-3)
