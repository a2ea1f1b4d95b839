"""Checkpoints are written while training goes on, one at a time.

The steps wait until all tensors were copied to the CPU, and for the checkpoint before; a thread does the rest. A
checkpoint has its name when all of it is on disk, see `wmkit.train.checkpoint`: a run that ends before goes on from the
one before. What goes wrong on the thread is raised at the next step.
"""

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from wmkit.atomic import fsync_folder, put_in_place, write_atomic, write_synced
from wmkit.errors import InputError
from wmkit.train.checkpoint import (
    CONFIG,
    CRITIC,
    CRITIC_OPTIMIZER,
    EMA,
    LATEST,
    MODEL_NAME,
    OPTIMIZER,
    STATE,
    RunState,
    Trained,
    moments_of,
    step_of,
)
from wmkit.train.config import TrainConfig
from wmkit.train.parallel import ALONE, Team, whole

__all__ = ["Saving"]


class Saving:
    """What writes a run's checkpoints; as a context it waits for the last of them. Every process of a team has one."""

    def __init__(self, run: Path, config: TrainConfig, team: Team = ALONE) -> None:
        self._run, self._config, self._group = run, config, team.beside()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wmkit-checkpoint")
        self._going: Future[Any] | None = None

    def begin(self, trained: Trained, state: RunState) -> Path:
        """Copy what there is to save and go on; the folder that it is going to be. Every process of the team calls.

        Waits for the checkpoint before, and raises what `check` raises.
        """
        self._wait()
        folder = self._run / "checkpoints" / f"step-{state.step:06d}"
        scratch = folder.with_name(f".{folder.name}.tmp")
        texts = {CONFIG: _json_bytes(self._config.to_json()), STATE: _json_bytes(state.to_json())}
        files = _tensors(trained)
        if self._group is None:
            copies = {name: {key: _copied(tensor) for key, tensor in held.items()} for name, held in files.items()}
            self._going = self._thread.submit(self._write, folder, scratch, copies, texts)
            return folder
        from wmkit.train.sharded_save import FirstSteps, begin_sharded_save

        steps = FirstSteps(lambda: _make_scratch(scratch), lambda: self._publish(folder, scratch, texts))
        self._going = begin_sharded_save(files, scratch, steps, self._group)
        return folder

    def check(self) -> None:
        """Raise what went wrong with the checkpoint that was begun last, if it did by now.

        InputError where the disk would not have it.
        """
        if self._going is not None and self._going.done():
            self._wait()

    def __enter__(self) -> "Saving":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the checkpoint that was begun last; raises what went wrong with it unless something else did."""
        try:
            self._wait()
        except InputError:
            if error is None:
                raise
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        going, self._going = self._going, None
        failure = None if going is None else going.exception()
        if failure is None:
            return
        failure = _cause(failure)
        if isinstance(failure, OSError):
            raise InputError(
                f"{self._run}: expected to write a checkpoint there, got: {failure.strerror or failure}; the same "
                "command goes on from the one before"
            ) from failure
        raise failure

    def _write(
        self, folder: Path, scratch: Path, files: Mapping[str, dict[str, Tensor]], texts: Mapping[str, bytes]
    ) -> None:
        _make_scratch(scratch)
        for name, tensors in files.items():
            write_synced(scratch / name, save(tensors))
        self._publish(folder, scratch, texts)

    def _publish(self, folder: Path, scratch: Path, texts: Mapping[str, bytes]) -> None:
        """The tensors are on disk: put the rest beside them, give the folder its name, remove those beyond `keep`."""
        for name, data in texts.items():
            write_synced(scratch / name, data)
        fsync_folder(scratch)
        if folder.exists():  # a run killed between this rename and `latest` does the step again, to the same bytes
            shutil.rmtree(folder)
        put_in_place(scratch, folder)
        write_atomic(self._run / LATEST, f"{folder.name}\n".encode())
        for old in sorted(folder.parent.glob("step-*"), key=step_of)[: -self._config.keep]:
            if old != folder:
                shutil.rmtree(old)


def _tensors(trained: Trained) -> dict[str, dict[str, Tensor]]:
    """What a checkpoint holds, by file and name, where it lies."""
    found = {
        MODEL_NAME: trained.model.state_dict(),
        OPTIMIZER: moments_of(trained.model, trained.optimizer),
    }
    if trained.mean is not None:
        found[EMA] = trained.mean.tensors
    if trained.critic is not None:
        found[CRITIC] = trained.critic.model.state_dict()
        found[CRITIC_OPTIMIZER] = moments_of(trained.critic.model, trained.critic.optimizer)
    return found


def _copied(tensor: Tensor) -> Tensor:
    return whole(tensor.detach()).to("cpu", copy=True, memory_format=torch.contiguous_format)


def _make_scratch(scratch: Path) -> None:
    for stale in scratch.parent.glob(".step-*.tmp"):  # of a run that was killed while it wrote
        shutil.rmtree(stale)
    scratch.mkdir(parents=True)


def _cause(failure: BaseException) -> BaseException:
    """The first process's own error, of what DCP tells all of them."""
    failures: Mapping[int, tuple[BaseException, Any]] = getattr(failure, "failures", {})
    return next((told for told, _ in failures.values()), failure)


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
