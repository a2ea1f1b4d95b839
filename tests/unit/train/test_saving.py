"""Checkpoints are written beside the steps: one at a time, of the step they are named by, and their errors are told."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from tests.train_doubles import FACTS, DrawnBatch, batch_of, run, small_config
from tests.unit.train.parallel_worker import torchrun
from wmkit.errors import InputError
from wmkit.train import saving
from wmkit.train.loop import train
from wmkit.train.metrics_log import StepMetrics, read_metrics
from wmkit.train.progress import SilentProgress
from wmkit.train.sharded_save import header_and_places
from wmkit.train.watch import Watch

PATIENCE_S = 60.0  # a writer that nobody lets go is a test that fails


class Seen(SilentProgress):
    """Calls `done` after every step."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self.done = done

    def advance(self, done: int, row: StepMetrics | None) -> None:
        self.done(done)


def watched(out: Path, done: Callable[[int], None], *settings: str) -> Path:
    return train(small_config(*settings), batch_of, FACTS, out, watch=Watch(progress=Seen(done))).checkpoint


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first checkpoint's files wait for the step after it; they are of the step before all the same."""
    out, go_on, kept = tmp_path / "run", threading.Event(), saving.write_synced
    held: list[bool] = []

    def slow(path: Path, data: bytes) -> None:
        if path.parent.name == ".step-000002.tmp":
            held.append(go_on.wait(PATIENCE_S))
        kept(path, data)

    def done(step: int) -> None:
        if step == 3:
            assert not (out / "latest").exists()
            assert [path.name for path in (out / "checkpoints").iterdir()] == [".step-000002.tmp"]
            go_on.set()

    monkeypatch.setattr(saving, "write_synced", slow)
    watched(out, done, "steps=5", "keep=9")
    assert held
    assert all(held), "a step waited for the checkpoint before it"
    monkeypatch.undo()
    run(tmp_path / "quick", "steps=5", "keep=9")
    for path in sorted((tmp_path / "quick" / "checkpoints").glob("*/*")):
        assert path.read_bytes() == (out / path.relative_to(tmp_path / "quick")).read_bytes(), path


def test_two_are_never_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is saved, and the next one's copy is only made when the folder of the last has its name."""
    out, copied, put = tmp_path / "run", saving._tensors, saving.put_in_place
    seen: list[list[str]] = []

    def copying(trained: object) -> object:
        seen.append(sorted(path.name for path in (out / "checkpoints").iterdir()))
        return copied(trained)  # type: ignore[arg-type]

    def slowly(source: Path, target: Path) -> None:
        time.sleep(0.05)  # long enough for a step of this model
        put(source, target)

    monkeypatch.setattr(saving, "_tensors", copying)
    monkeypatch.setattr(saving, "put_in_place", slowly)
    run(out, "steps=4", "save_every=1", "keep=9")
    assert seen == [[f"step-{step:06d}" for step in range(1, before)] for before in range(1, 5)]


def test_a_full_disk_is_one_line_at_a_later_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, kept = tmp_path / "run", saving.write_synced

    def full(path: Path, data: bytes) -> None:
        if path.parent.name == ".step-000004.tmp":
            raise OSError(errno.ENOSPC, "No space left on device")
        kept(path, data)

    monkeypatch.setattr(saving, "write_synced", full)
    with pytest.raises(
        InputError, match=r"run: expected to write a checkpoint there, got: No space left on device; the"
    ):
        watched(out, lambda step: time.sleep(0.01), "steps=500", "save_every=2")
    assert (out / "latest").read_text() == "step-000002\n"
    # The checkpoint after it waits for it; a step before that asks.
    assert 4 <= len(read_metrics(out / "metrics.jsonl")) <= 6
    monkeypatch.undo()
    again, whole = run(out, "steps=6"), run(tmp_path / "whole", "steps=6")
    assert again.resumed == 2
    for path in whole.checkpoint.iterdir():
        assert path.read_bytes() == (again.checkpoint / path.name).read_bytes(), path.name


def test_a_run_that_fails_tells_why_and_keeps_what_it_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the checkpoint in the making; where that fails too, the run's own error is told."""

    def broken(step: int) -> DrawnBatch:
        if step == 2:
            raise InputError("no batch 2")
        return batch_of(step)

    kept = saving.write_synced
    monkeypatch.setattr(saving, "write_synced", lambda path, data: (time.sleep(0.1), kept(path, data)))
    with pytest.raises(InputError, match="no batch 2"):
        train(small_config(), broken, FACTS, tmp_path / "slow")
    assert (tmp_path / "slow" / "latest").read_text() == "step-000002\n"

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving, "write_synced", full)
    with pytest.raises(InputError, match="no batch 2"):
        train(small_config(), broken, FACTS, tmp_path / "full")


def test_the_header_of_a_sharded_file_is_the_library_s() -> None:
    tensors = {
        "b.weight": torch.arange(6.0).reshape(2, 3),
        "a": torch.tensor(2.0),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "other half": torch.ones(1, dtype=torch.float16),
        "long": torch.tensor([5]),
        "wide": torch.ones(1, 1, dtype=torch.float64),
        "mask": torch.tensor([True, False, True]),
        "none": torch.zeros(0, 4),
        'größe "1"\n': torch.ones(2, dtype=torch.int32),
    }
    wanted = save(tensors)
    head, places = header_and_places({name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()})
    assert wanted[: len(head)] == head
    for name, tensor in tensors.items():
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert wanted[places[name] : places[name] + len(data)] == data


@pytest.mark.timeout(300)  # two processes import torch
def test_two_processes_write_the_files_of_one(tmp_path: Path) -> None:
    """Beside the steps, no tensor gathered; one process goes on from them. What one of them cannot write both tell."""
    torchrun("tests.unit.train.saving_worker", 2, str(tmp_path))
    for rank in range(2):
        assert (tmp_path / f"held{rank}").read_text() == "True", "a step waited for the checkpoint before it"
        told = (tmp_path / f"told{rank}").read_text()
        assert "full: expected to write a checkpoint there, got: No space left on device" in told
    assert not (tmp_path / "full" / "latest").exists()
    one = run(tmp_path / "one", "optimizer.ema_decay=0.9")
    for name in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
        alone, shared = one.checkpoint / name, tmp_path / "two" / "checkpoints" / "step-000004" / name
        size = int.from_bytes(alone.read_bytes()[:8], "little")
        assert shared.read_bytes()[: 8 + size] == alone.read_bytes()[: 8 + size], "another header"
        assert shared.stat().st_size == alone.stat().st_size
        wanted, found = load_file(alone), load_file(shared)
        for key, value in wanted.items():
            # float32; the team adds the same gradients in another order, four steps of AdamW long.
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-4)
    longer = run(tmp_path / "two", "steps=6", "optimizer.ema_decay=0.9")
    assert (longer.resumed, longer.steps) == (4, 6)
