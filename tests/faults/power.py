"""`python -m tests.faults.power [--points N] [--seed S]`: the power fails after every change that a session makes.

A session is a row of commands on one folder; `tests/faults/disk_log.py` notes what each does to the disk. For every
point between two changes and every way to lose what was not synced, the folder is made what the disk would hold, the
command that was cut short and those after it are run again, and the folder has to be that of the session that nobody
disturbed: nothing lost, nothing twice, nothing left over.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.faults.chaos import told
from tests.faults.disk_log import KEEPS, LOG_VARIABLE, ROOT_VARIABLE, Disk, Note, read_notes, record
from tests.faults.dummy import HEALED, dummy_config, write_clips
from tests.shard_samples import make_corpus
from tests.train_doubles import run as train_run
from wmkit.annotate import run as annotate_run
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.corpus import Corpus
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.executor import Item, ItemTask, Outcome
from wmkit.executor.task import run_item
from wmkit.train.metrics_log import read_metrics

__all__ = ["SESSIONS", "Point", "Recorded", "Session", "perform", "points_of", "replay"]

ROOT = Path(__file__).parents[2]
CLIPS = ["a_1", "street/b_1", "street/copy=a_1", "static_1", "bad_1", "flaky_1"]
PASSING = (".lock",)  # whose bytes say who is at work


@dataclass(frozen=True)
class Session:
    """`commands` in their order, each on (inputs, the folder that is written); `state` of that folder at the end."""

    prepare: Callable[[Path], None]
    commands: tuple[Callable[[Path, Path], None], ...]
    state: Callable[[Path], Any]
    recorded: Callable[[int, Path, Path, Path], None]


@dataclass(frozen=True)
class Point:
    """The power fails after `count` changes, during command `command`; `keeps` names what is left."""

    count: int
    command: int
    keeps: str


# ---- annotate: two runs and one of another config, by processes of their own when recorded


def _annotate(inputs: Path, out: Path, step: float, *, retry: bool = False, update: bool = False) -> None:
    options = RunOptions(retry=retry, update=update)
    with mock.patch.object(annotate_run, "run_items", _one_after_the_other):
        run_annotate([inputs], out, dummy_config(step=step), options, SilentProgress())


def _one_after_the_other(
    items: Sequence[Item], task: ItemTask, options: object, on_outcome: Callable[[Outcome], None]
) -> None:
    for item in items:
        reply = run_item(task, item.payload)
        on_outcome(Outcome(key=item.key, attempt=1, final=True, result=reply.result, failure=reply.failure))


def _first(inputs: Path, out: Path) -> None:
    _annotate(inputs, out, 1.0)


def _healed(inputs: Path, out: Path) -> None:
    with mock.patch.dict(os.environ, {HEALED: "1"}):
        _annotate(inputs, out, 1.0, retry=True)


def _updated(inputs: Path, out: Path) -> None:
    """Another config: every folder is replaced, and the clip that had been healed fails again."""
    _annotate(inputs, out, 2.0, update=True)


def _corpus_state(out: Path) -> Any:
    corpus = Corpus.open(out)
    done = Counter((row.clip_id, row.config_hash) for row in corpus.ledger() if row.done)
    if set(done.values()) != {1}:
        raise AssertionError(f"a finished clip was worked on again: {done}")
    files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    left = [path.as_posix() for path in files if path.parent.name != "ledger"]
    odd = [path.name for path in (out / "ledger").iterdir() if not path.name.startswith("part-")]
    letters = [(letter.clip_id, letter.code, letter.config_hash) for letter in corpus.dead_letters()]
    return corpus.corpus_hash(), corpus.sources(), told(corpus), letters, left, odd


def _in_processes(command: int, inputs: Path, root: Path, log: Path) -> None:
    """Driver and workers as in life, each noting what it does."""
    words = [sys.executable, "-m", "tests.faults.driver", str(inputs), str(root / "out"), "--slow-s", "0"]
    words += [[], ["--retry"], ["--update", "--step", "2"]][command]
    path = [str(ROOT / "tests/faults/recorded_disk"), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), ROOT_VARIABLE: str(root), LOG_VARIABLE: str(log)}
    if command == 1:
        environment[HEALED] = "1"
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)


# ---- build-shards and train, by this process


def _build(inputs: Path, out: Path) -> None:
    build_shards(inputs / "corpus", out, BuildOptions(shard_bytes=20_000, workers=1))


def _bytes_below(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def _train(inputs: Path, out: Path) -> None:
    train_run(out)


def _train_state(out: Path) -> Any:
    files = {name: data for name, data in _bytes_below(out).items() if name not in ("metrics.jsonl", *PASSING)}
    return files, [(row.step, row.loss) for row in read_metrics(out / "metrics.jsonl")]


def _here(commands: tuple[Callable[[Path, Path], None], ...]) -> Callable[[int, Path, Path, Path], None]:
    def run(command: int, inputs: Path, root: Path, log: Path) -> None:
        with record(root, log):
            commands[command](inputs, root / "out")

    return run


def _three_clips(inputs: Path) -> None:
    make_corpus(inputs, clips=3, frames=8)


SESSIONS = {
    "annotate": Session(
        lambda inputs: (write_clips(inputs, CLIPS), None)[1], (_first, _healed, _updated), _corpus_state, _in_processes
    ),
    "build-shards": Session(_three_clips, (_build,), _bytes_below, _here((_build,))),
    "train": Session(lambda inputs: None, (_train,), _train_state, _here((_train,))),
}


@dataclass(frozen=True)
class Recorded:
    """A session that nobody disturbed: its notes, where each command's end, and the state that it left."""

    notes: list[Note]
    session: Session
    inputs: Path
    log: Path
    ends: tuple[int, ...]
    state: Any


def perform(name: str, folder: Path) -> Recorded:
    """Run a session and note it; AssertionError when the notes do not give the folder that is there."""
    session, inputs, root, log = SESSIONS[name], folder / "in", folder / "root", folder / "log"
    inputs.mkdir(parents=True)
    root.mkdir()
    session.prepare(inputs)
    ends = []
    for command in range(len(session.commands)):
        session.recorded(command, inputs, root, log)
        ends.append(len(read_notes(log)))
    notes = read_notes(log)
    Disk(log, notes, len(notes)).whole(folder / "whole")
    there, noted = _bytes_below(root), _bytes_below(folder / "whole")
    odd = [path for path in there.keys() | noted.keys() if there.get(path) != noted.get(path)]
    if any(not path.endswith(PASSING) for path in odd):
        raise AssertionError(f"{name}: what was noted is not what was done: {sorted(odd)}")
    return Recorded(notes, session, inputs, log, tuple(ends), session.state(root / "out"))


def points_of(recorded: Recorded) -> list[Point]:
    """Every change, every way to lose what is not synced."""
    commands = [sum(count > end for end in recorded.ends) for count in range(1, recorded.ends[-1] + 1)]
    return [Point(count + 1, command, keeps) for count, command in enumerate(commands) for keeps in KEEPS]


def replay(recorded: Recorded, point: Point, folder: Path, seed: int = 0) -> str | None:
    """Cut the power there and run the commands again; what is wrong afterwards, or None."""
    disk = Disk(recorded.log, recorded.notes, point.count)
    disk.cut(folder, KEEPS[point.keeps], random.Random(f"{seed}/{point}"))
    try:
        for command in recorded.session.commands[point.command :]:
            command(recorded.inputs, folder / "out")
        state = recorded.session.state(folder / "out")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this point is told with
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    if state == recorded.state:
        return None
    parts = zip(state, recorded.state, strict=False) if isinstance(state, tuple) else [(state, recorded.state)]
    return "; ".join(_difference(found, wanted) for found, wanted in parts if found != wanted)


def _difference(found: Any, wanted: Any) -> str:
    if isinstance(found, dict):
        names = [str(name) for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
        return f"differ: {', '.join(sorted(names))}"
    if isinstance(found, list):
        return f"too much: {[x for x in found if x not in wanted]}, missing: {[x for x in wanted if x not in found]}"
    return f"{found} is not {wanted}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=0, help="so many drawn at random; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--session", choices=tuple(SESSIONS), action="append")
    arguments = parser.parse_args()
    wrong = 0
    for name in arguments.session or SESSIONS:
        start_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="wmkit-power-") as folder:
            recorded = perform(name, Path(folder))
            points = points_of(recorded)
            if arguments.points and arguments.points < len(points):
                points = random.Random(arguments.seed).sample(points, arguments.points)
            found = {}
            for point in points:
                what = replay(recorded, point, Path(folder) / "cut", arguments.seed)
                if what is not None:
                    found[point] = what
                    note = recorded.notes[point.count - 1]
                    print(f"{name} {point}: after {note.what} {note.path} {note.to}: {what[:400]}", flush=True)
        print(
            f"{name}: {recorded.ends[-1]} changes, {len(points)} power cuts, {len(found)} left another state; "
            f"{time.monotonic() - start_s:.0f} s",
            flush=True,
        )
        wrong += len(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
