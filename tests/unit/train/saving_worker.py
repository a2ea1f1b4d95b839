"""One process of the sharded checkpoint's test, started by torchrun: python -m ... FOLDER."""

import errno
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from tests.train_doubles import FACTS, DrawnBatch, batch_of, small_config
from wmkit.errors import InputError
from wmkit.train import sharded_save
from wmkit.train.config import ParallelConfig
from wmkit.train.loop import train
from wmkit.train.metrics_log import StepMetrics
from wmkit.train.parallel import Team, joined
from wmkit.train.progress import SilentProgress
from wmkit.train.watch import Watch

write_pieces = sharded_save.write_pieces


class LetGo(SilentProgress):
    """Lets a checkpoint be written when the step after it is done."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def advance(self, done: int, row: StepMetrics | None) -> None:
        if done == 3:
            self.event.set()


def main(folder: Path) -> None:
    with joined(ParallelConfig()) as team:

        def batches(step: int) -> DrawnBatch:
            batch, slots = batch_of(step), team.slots(2)
            mine = slice(slots.start, slots.stop)
            rows = {name: getattr(batch, name)[mine] for name in ("video", "world_from_cam", "intrinsics", "keys")}
            return replace(batch, **rows)

        beside_the_steps(folder, team, batches)
        what_goes_wrong(folder, team, batches)


def beside_the_steps(folder: Path, team: Team, batches: Callable[[int], DrawnBatch]) -> None:
    progress, held = LetGo(), []

    def slow(path: Path, pieces: Iterable[tuple[int, bytes | memoryview]]) -> None:
        if path.parent.name == ".step-000002.tmp":
            held.append(progress.event.wait(60))
        write_pieces(path, pieces)

    sharded_save.write_pieces = slow
    train(
        small_config("optimizer.ema_decay=0.9"),
        batches,
        FACTS,
        folder / "two",
        watch=Watch(progress=progress),
        team=team,
    )
    (folder / f"held{team.rank}").write_text(str(bool(held) and all(held)))


def what_goes_wrong(folder: Path, team: Team, batches: Callable[[int], DrawnBatch]) -> None:
    """The second process's disk is full at the only checkpoint."""

    def full(path: Path, pieces: Iterable[tuple[int, bytes | memoryview]]) -> None:
        if team.rank == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_pieces(path, pieces)

    sharded_save.write_pieces = full
    try:
        train(small_config("steps=2"), batches, FACTS, folder / "full", team=team)
    except InputError as error:
        (folder / f"told{team.rank}").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
