"""A GPU of its own for every worker: as many workers as GPUs, each told of one alone."""

import pytest
import torch

from tests.faults.tasks import own_gpu
from wmkit.errors import InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run, run_items
from wmkit.executor.gpus import visible_gpus


def test_every_local_worker_sees_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "visible_gpus", lambda: ("4", "GPU-abc"))
    outcomes: list[Outcome] = []
    items = [Item(key=str(number), payload="") for number in range(6)]
    options = ExecutorOptions(kind="local", workers=5, gpu=True)
    run_items(items, ItemTask(function=own_gpu, config=0.3), options, outcomes.append)
    assert [outcome.failure for outcome in outcomes] == [None] * 6
    seen = {outcome.result for outcome in outcomes}
    assert len(seen) <= 2, "no worker changes its GPU, and there are no more than GPUs"
    assert {gpu for _, gpu in seen} <= {"4", "GPU-abc"}
    assert len({pid for pid, _ in seen}) == len({gpu for _, gpu in seen})


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_none_is_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "visible_gpus", lambda: ())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    items, task = [Item(key="a", payload="")], ItemTask(function=own_gpu, config=0.0)
    options = ExecutorOptions(kind=kind, gpu=True)
    with pytest.raises(InputError, match="expected a GPU for every worker, found none on this machine"):
        run_items(items, task, options, lambda _: None)


def test_visible_gpus_are_named_as_cuda_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-x")
    assert visible_gpus() == ("3", "GPU-x")
