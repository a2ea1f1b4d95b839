"""Work that is done on GPUs alone: a worker for each of them, and no others."""

import pytest

from tests.faults.tasks import own_gpu
from wmkit.errors import InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items


def test_every_local_worker_sees_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    outcomes: list[Outcome] = []
    items = [Item(key=str(number), payload="") for number in range(6)]
    options = ExecutorOptions(kind="local", workers=5, gpu_workers=2)
    run_items(items, ItemTask(function=own_gpu, config=0.3, gpu=True), options, outcomes.append)
    assert [outcome.failure for outcome in outcomes] == [None] * 6
    seen = {outcome.result for outcome in outcomes}
    assert len(seen) <= 2, "no worker changes its GPU, and there are no more than GPUs"
    assert {gpu for _, gpu in seen} <= {"4", "GPU-abc"}
    assert len({pid for pid, _ in seen}) == len({gpu for _, gpu in seen})


def test_none_is_one_line() -> None:
    items, task = [Item(key="a", payload="")], ItemTask(function=own_gpu, config=0.0, gpu=True)
    with pytest.raises(InputError, match="expected at least one for work that is done on GPUs alone"):
        run_items(items, task, ExecutorOptions(kind="local", gpu_workers=0), lambda _: None)
