"""How fast a run goes: what is counted, what is told, and what is left out where nobody knows it."""

import torch

from tests.train_doubles import small_config
from wmkit.model.work import count_work
from wmkit.train.estimate import recipe_grid
from wmkit.train.metrics_log import StepMetrics
from wmkit.train.pace import Pace, StepWork, peak_memory_gib, step_work
from wmkit.train.recipes import recipe

CPU = torch.device("cpu")


def row(step: int, wait_s: float = 0.0) -> StepMetrics:
    return StepMetrics(step=step, loss=0.5, grad_norm=1.0, lr=0.1, seconds=0.1, wait_s=wait_s, peak_gib=1.5)


def test_the_work_of_a_step_is_forward_and_twice_as_much_back() -> None:
    config = small_config()
    work = step_work(config, CPU)
    assert work.tokens == 2 * 3 * 4 * 6  # clips, latent frames, rows, columns
    assert work.flop == 3 * 2 * sum(part.flop for part in count_work(config.model, recipe_grid(config)))
    assert work.peak_flop_s is None, "a CPU has no data sheet here"
    for name in ("tiny-cpu-ode", "tiny-cpu-dmd", "tiny-cpu-refiner"):
        assert step_work(recipe(name), CPU).flop is None, "other models' passes are not counted"


def test_a_share_of_the_peak_is_told_where_the_peak_is_known() -> None:
    gpu, cpu = (Pace(10, 2, StepWork(tokens=100, flop=10**9, peak_flop_s=peak)) for peak in (1e12, None))
    for pace in (gpu, cpu):
        for step in (3, 4):
            pace.add(step, row(step))
    rates = gpu.rates()
    assert rates["tokens_s"] == 100 * rates["steps_s"]
    assert rates["mfu"] == rates["flop_s"] / 1e12
    assert " MFU " in gpu.told()
    assert "GFLOP/s" not in gpu.told()
    assert "mfu" not in cpu.rates()
    assert "GFLOP/s" in cpu.told()
    assert "1.50 GiB" in cpu.told()


def test_waiting_is_a_share_of_the_time(monkeypatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("wmkit.train.pace.monotonic_s", lambda: now_s[0])
    pace = Pace(10, 0, StepWork(tokens=8, flop=None))
    now_s[0] += 4.0
    pace.add(1, row(1, wait_s=0.5))
    pace.add(2, row(2, wait_s=0.5))
    assert pace.rates() == {"steps_s": 0.5, "tokens_s": 4.0, "wait": 0.25}
    assert pace.line() == "step 2/10, loss 0.500, 0.50 steps/s, 4 tokens/s, 25 % waiting for data, 1.50 GiB, ETA 0:16"


def test_steps_without_figures_have_a_rate_alone() -> None:
    pace = Pace(4, 0)
    pace.add(2, None)
    assert set(pace.rates()) == {"steps_s"}
    assert pace.told().endswith(" steps/s")


def test_this_process_holds_memory() -> None:
    held = peak_memory_gib(CPU)
    assert held is not None
    assert 0.01 < held < 1000
