"""`python -m tests.faults.chaos [--faults N] [--minutes M] [--clips N | --real PATH...] [--executor local|ray|both]`.

Runs of one command are hit at random moments. In a run that goes on, a worker is killed, the decoder hangs or
crashes, the disk is full for a while (RLIMIT_FSIZE) or the wall clock is set; then the driver is killed, at times
beside a second one, and the same command runs again. With Ray: an actor or its worker, the driver, the raylet. A corpus
that is whole is run once more with --retry, as a user would where clips failed, and has to be that of a run that nobody
disturbed, byte for byte; then its shards are built, under faults too, and have to be the undisturbed ones, byte for
byte. Then a new corpus is begun.
"""

import argparse
import json
import math
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.chaos_clips import MadeClips, RealClips, Work, build
from tests.faults.chaos_kinds import BUILD, ENDS, HANG_TIMEOUT_S, INNER, Running, strike
from wmkit.corpus import Corpus
from wmkit.hashes import hash_of_file

__all__ = ["Chaos", "chaos", "kinds_of", "told"]

RUN_KINDS = tuple(kind for kinds in (INNER, ENDS) for names in kinds.values() for kind in names)
MOST_RUNS, BUILDS = 12, 2  # disturbed runs of a corpus, and builds of its shards

LONGEST_S = 1200.0  # that an undisturbed run may take before it counts as hanging
TIMEOUT_S = 600.0  # a clip's, where nothing hangs


@dataclass
class Chaos:
    """One session of faults. `queue` holds those to come, `hits` counts those that hit by kind, `equal` the corpora
    that ended as the undisturbed one."""

    folder: Path
    work: Work
    rng: random.Random
    queue: list[str]
    end_s: float = math.inf
    hits: Counter[str] = field(default_factory=Counter)
    late: int = 0
    equal: int = 0
    clips: int = 0
    run_s: float = 0.0
    build_s: float = 0.0
    shards: dict[str, str] = field(default_factory=dict)

    def start(
        self, out: Path, executor: str = "local", timeout_s: float = TIMEOUT_S, *, retry: bool = False
    ) -> Running:
        return Running.start(self.work.annotate(self.folder / "in", out, executor, timeout_s, retry=retry))

    def prepare(self) -> None:
        """The run that nobody disturbs, and its shards."""
        self.work.prepare(self.folder / "in", self.rng)
        start_s = time.monotonic()
        self.clips = finish(self.start(self.folder / "undisturbed"))["clips"]
        self.run_s = time.monotonic() - start_s
        finish(Running.start(build(self.folder / "undisturbed", self.folder / "shards")))
        self.build_s = time.monotonic() - start_s - self.run_s
        self.shards = digests(self.folder / "shards")
        if not any(name.endswith(".tar") for name in self.shards):
            raise AssertionError("the undisturbed run's clips make no shard")

    def queued(self, kinds: Sequence[str]) -> list[str]:
        return [kind for kind in self.queue if kind in kinds]

    def corpus(self, out: Path) -> None:
        """One corpus under faults, and its shards, to their end."""
        for _ in range(MOST_RUNS):
            self.end_in_time()
            if not self.queued(RUN_KINDS) or not self.disturb(out):
                break
        self.settle(out)
        self.shards_of(out, out.with_name(f"{out.name}-shards"))
        self.equal += 1
        print(f"corpus {self.equal}: that of an undisturbed run, and its shards", file=sys.stderr, flush=True)
        shutil.rmtree(out)

    def end_in_time(self) -> None:
        """No more faults after the last moment: what is begun is brought to its end, and held against the other."""
        if time.monotonic() > self.end_s:
            self.queue.clear()

    def disturb(self, out: Path) -> bool:
        """One run with some faults of the queue, the last of which ends it; False when it reached its end."""
        executors = [name for name in INNER if self.queued(INNER[name] + ENDS[name])]
        weights = [len(self.queued(INNER[name] + ENDS[name])) for name in executors]
        (executor,) = self.rng.choices(executors, weights)
        inner, ends = self.queued(INNER[executor]), self.queued(ENDS[executor])
        planned = self.rng.sample(inner, min(len(inner), self.rng.randrange(4)))
        planned += self.rng.sample(ends, min(len(ends), 1))
        run = self.start(out, executor, HANG_TIMEOUT_S if "hang" in planned else TIMEOUT_S)
        for kind in planned:
            run.sleep(self.rng.uniform(0.0, self.run_s / 4))
            self.count(kind, hit=strike(kind, run, self.rng, lambda: self.refused(out, run)))
        return end(run) != 0

    def count(self, kind: str, *, hit: bool) -> None:
        if not hit:
            self.late += 1
            return
        self.hits[kind] += 1
        self.queue.remove(kind)
        print(f"fault {sum(self.hits.values())}, {len(self.queue)} to come: {kind}", file=sys.stderr, flush=True)

    def refused(self, out: Path, first: Running) -> None:
        """A second driver leaves the corpus alone as long as the first one holds it."""
        second = self.start(out)
        second.process.wait(LONGEST_S)
        stderr = second.said()[1]
        shutil.rmtree(second.folder)
        if first.alive and "is writing this corpus" not in stderr:
            locked = (out / ".lock").exists() and (out / ".lock").read_text()
            if locked and f"pid {first.process.pid} " in locked:
                raise AssertionError(f"a second driver was not refused:\n{stderr[-3000:]}")

    def settle(self, out: Path) -> None:
        """The last runs of a corpus, which is then held against the undisturbed one."""
        try:
            finish(self.start(out))
        except AssertionError as error:
            letters = sorted(path.read_text() for path in (out / "dead-letter").glob("*.json"))
            raise AssertionError("\n".join([str(error), *letters])) from error
        summary = finish(self.start(out, retry=True))
        if summary["unfinished"] or summary["clips"] != summary["ok"] + summary["no_trajectory"] + summary["failed"]:
            raise AssertionError(f"clips are not accounted for: {summary}")
        wanted, got = Corpus.open(self.folder / "undisturbed"), Corpus.open(out)
        for what in ("corpus_hash", "clip_ids", "sources", "dead_letter_ids"):
            if getattr(wanted, what)() != getattr(got, what)():
                raise AssertionError(f"{what} of {out} is not that of an undisturbed run")
        if told(wanted) != told(got) or any((out / ".tmp").iterdir()):
            raise AssertionError(f"{out}: expected the rows of an undisturbed run and nothing left over")
        twice = [key for key, rows in Counter(row.clip_id for row in got.ledger() if row.done).items() if rows > 1]
        if twice:
            raise AssertionError(f"{out}: finished more than once: {twice}")

    def shards_of(self, corpus: Path, out: Path) -> None:
        """The shards of a settled corpus, whose building is disturbed as well."""
        builds = self.queued(BUILD)
        for kind in builds[:BUILDS] if self.queued(RUN_KINDS) else builds:
            run = Running.start(build(corpus, out))
            run.sleep(self.rng.uniform(0.0, self.build_s))
            self.count(kind, hit=strike(kind, run, self.rng))
            if end(run) == 0:
                shutil.rmtree(out)  # it was whole: the next one shall have something to do
        finish(Running.start(build(corpus, out)))
        found = digests(out)
        if found != self.shards:
            names = sorted(name for name in found.keys() | self.shards if found.get(name) != self.shards.get(name))
            raise AssertionError(f"{out}: not the shards of an undisturbed run: {names}")
        shutil.rmtree(out)


def finish(run: Running) -> dict[str, Any]:
    """The result of a run that is not disturbed and has to end well."""
    if wait(run) != 0:
        raise AssertionError(f"an undisturbed run ended with {run.process.returncode}:\n{run.said()[1][-3000:]}")
    result = json.loads(run.said()[0])
    shutil.rmtree(run.folder)
    return result


def end(run: Running) -> int:
    """How a disturbed run ended: any way but with a traceback."""
    code, stderr = wait(run), run.said()[1]
    if "Traceback" in stderr or code not in (0, 1, 2, -signal.SIGKILL):
        raise AssertionError(f"a fault ended a run with {code}:\n{stderr[-3000:]}")
    shutil.rmtree(run.folder)
    return code


def wait(run: Running) -> int:
    """Its exit code; AssertionError for a run that hangs."""
    try:
        return run.process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"a run hangs:\n{run.said()[1][-3000:]}") from None


def told(corpus: Corpus) -> dict[str, tuple[object, ...]]:
    """What the ledger says last of each clip, but for times, hosts and attempts."""
    return {key: (row.source, row.status, row.code, row.verdicts) for key, row in corpus.latest().items()}


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder of shards."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hash_of_file(path) for path in files}


def kinds_of(executor: str) -> tuple[str, ...]:
    """The kinds of fault of a session: those of one executor, or of "both"."""
    names = tuple(INNER) if executor == "both" else (executor,)
    return (*(kind for name in names for kind in INNER[name] + ENDS[name]), *BUILD)


def chaos(faults: int, work: Work, executor: str, seed: int, folder: Path, end_s: float = math.inf) -> Chaos:
    """Hit runs until there were so many faults, as many of each kind, or it is `end_s` on the monotonic clock;
    AssertionError when anything was lost."""
    kinds = kinds_of(executor)
    queue = [kinds[number % len(kinds)] for number in range(faults)]
    session = Chaos(folder=folder, work=work, rng=random.Random(seed), queue=queue, end_s=end_s)
    session.prepare()
    while session.queue:  # a session has one corpus at least, and ends with one that is whole
        session.corpus(folder / f"corpus{session.equal}")
    return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--executor", choices=("local", "ray", "both"), default="both")
    parser.add_argument("--real", type=Path, nargs="+", help="folders of real videos, instead of made clips")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each real video")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no more faults after so long")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start_s = time.monotonic()
    work = RealClips(arguments.real, arguments.seconds) if arguments.real else MadeClips(arguments.clips)
    with tempfile.TemporaryDirectory(prefix="wmkit-chaos-") as name:
        end_s = start_s + 60 * arguments.minutes
        found = chaos(arguments.faults, work, arguments.executor, arguments.seed, Path(name), end_s)
    hits = ", ".join(f"{count} {kind}" for kind, count in sorted(found.hits.items()))
    print(f"{sum(found.hits.values())} faults ({hits}) over {found.equal} corpora of {found.clips} clips,")
    print(f"seed {arguments.seed}; {found.late} more came after a run's end. Nothing lost, nothing twice, every corpus")
    print(f"hash and each of the {len(found.shards)} files of the shards that of an undisturbed run.")
    print(f"{time.monotonic() - start_s:.0f} s, an undisturbed run {found.run_s:.1f} s")


if __name__ == "__main__":
    main()
