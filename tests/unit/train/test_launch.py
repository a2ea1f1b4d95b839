"""What starts a run's processes, and what the command line of each is."""

import sys
from pathlib import Path

import pytest

from wmkit.errors import ConfigError, InputError
from wmkit.train import launch as module
from wmkit.train.launch import LauncherName, _cause, launch, launcher_of
from wmkit.train.run import TrainOptions


@pytest.mark.parametrize(
    ("asked", "processes", "address", "found"),
    [
        (None, 1, None, "local"),
        (None, 2, None, "torchrun"),
        (None, 1, "auto", "ray"),
        ("torchrun", 1, None, "torchrun"),
        ("ray", 2, None, "ray"),
        ("ray", 64, "10.0.0.1:6379", "ray"),
    ],
)
def test_what_starts_them(asked: LauncherName | None, processes: int, address: str | None, found: str) -> None:
    assert launcher_of(asked, processes, address) == found


@pytest.mark.parametrize(
    ("asked", "processes", "address", "words"),
    [
        (None, 0, None, "--processes: expected at least 1, got 0"),
        ("local", 2, None, "--launcher local: expected --processes 1, got 2"),
        ("torchrun", 2, "auto", "--ray-address: expected --launcher ray, got torchrun"),
    ],
)
def test_what_cannot_be(asked: LauncherName | None, processes: int, address: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        launcher_of(asked, processes, address)


def test_every_option_reaches_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(module.subprocess, "call", lambda command: started.append(command) or 3)
    options = TrainOptions(
        recipe="tiny-cpu-gdn",
        data=Path("s"),
        out=Path("r"),
        settings=("steps=2", "seed=1"),
        start=Path("before"),
        resume=True,
        tensorboard=True,
        wandb="rooms",
        sample_every=5,
    )
    assert launch(options, 4, json_output=True) == 3
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert command[command.index("--nproc-per-node") + 1] == "4"
    assert command[command.index("wmkit") + 1 :] == [
        "train", "tiny-cpu-gdn", "--data", "s", "--out", "r", "--set", "steps=2", "--set", "seed=1",
        "--start", "before", "--sample-every", "5", "--wandb", "rooms", "--resume", "--tensorboard", "--json",
    ]  # fmt: skip


def test_the_error_below_ray_s_own_is_the_one_that_counts() -> None:
    class FailedError(Exception):
        def __init__(self, **failures: Exception) -> None:
            super().__init__("Training failed\nworker 1 was lost")
            self.worker_failures = failures

    class TaskError(Exception):
        cause = ConfigError("model.width: expected 16, got 32")

    assert _cause(FailedError(worker=TaskError())) is TaskError.cause
    lost = _cause(FailedError(worker=OSError("gone")))
    assert isinstance(lost, InputError)
    assert str(lost).endswith("got: worker 1 was lost")
