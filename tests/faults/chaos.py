"""`python -m tests.faults.chaos [--faults N] [--clips M | --real FOLDER] [--executor ...]`: runs killed at random.

One fault after the other hits a run of the same command: the driver is killed, one of its descendants (a worker; with
Ray also an actor, the raylet, its store), the disk is full (RLIMIT_FSIZE) and free again, a second driver is started
beside it. A run that reaches its end is retried once where clips failed, as a user would, and its corpus must be that
of a run that nobody disturbed, byte for byte; then a new corpus is begun. Clips that kill and clips that are bad are
among them; with `--real` the clips are those below that folder, through the footage filters.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.dummy import write_clips
from wmkit.corpus import Corpus

ROOT = Path(__file__).parents[2]
KINDS = ("driver", "descendant", "disk", "two_drivers")
MIN_FILE_BYTES, MAX_FILE_BYTES = 600, 12_000  # between the smallest file of a clip and the ledger's parts


@dataclass
class Chaos:
    """One session of faults. `hits` counts them by kind, `equal` the corpora that ended as the undisturbed one."""

    folder: Path
    clips: int
    executor: str
    rng: random.Random
    real: Path | None = None
    hits: Counter[str] = field(default_factory=Counter)
    equal: int = 0
    run_s: float = 0.0

    def command(self, out: Path, *, retry: bool = False) -> list[str]:
        words = [sys.executable, "-m", "tests.faults.driver", str(self.folder / "in"), str(out)]
        words += ["--footage", "--timeout-s", "600"] if self.real is not None else []
        return [*words, "--executor", self.executor, *(["--retry"] if retry else [])]

    def start(self, out: Path, *, retry: bool = False, file_bytes: int | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(out, retry=retry), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if file_bytes is not None:  # before it has imported anything, and its workers inherit it
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        return process

    def finish(self, out: Path, *, retry: bool = False) -> dict[str, Any]:
        """A run to its end, which nobody disturbs."""
        process = self.start(out, retry=retry)
        stdout, stderr = process.communicate()
        if process.returncode not in ((0,) if retry else (0, 1)):  # 1: a full disk failed every clip, until the retry
            raise AssertionError(f"an undisturbed run ended with {process.returncode}:\n{stderr[-3000:]}")
        return json.loads(stdout.splitlines()[-1])

    def prepare(self) -> None:
        if self.real is not None:
            shutil.copytree(self.real, self.folder / "in")
        else:
            self.write()
        start_s = time.monotonic()
        summary = self.finish(self.folder / "undisturbed")
        self.run_s, self.clips = time.monotonic() - start_s, summary["clips"]

    def write(self) -> None:
        names = [f"{self.rng.choice(('a', 'slow', 'deep/er/b'))}_{number}" for number in range(self.clips - 3)]
        write_clips(self.folder / "in", [*names, "kill_x", "bad_x", f"same={names[0]}"])

    def hit(self, kind: str, out: Path) -> bool:
        """One run with one fault; False when it reached its end before."""
        file_bytes = self.rng.randrange(MIN_FILE_BYTES, MAX_FILE_BYTES) if kind == "disk" else None
        process = self.start(out, file_bytes=file_bytes)
        if kind != "disk":
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0.05, self.run_s))
        ended = process.poll() is not None
        if not ended and kind == "two_drivers":
            self.refused(out, process)
        if not ended and kind in ("driver", "two_drivers"):
            process.kill()
        elif not ended and kind == "descendant":
            victims = descendants(process.pid)
            if victims:
                with suppress(ProcessLookupError):
                    os.kill(self.rng.choice(victims), signal.SIGKILL)
        _, stderr = process.communicate()
        if kind == "disk" and process.returncode not in (0, 1, 2):
            raise AssertionError(f"a full disk ended a run with {process.returncode}:\n{stderr[-3000:]}")
        self.hits[kind] += not ended
        return not ended

    def refused(self, out: Path, first: subprocess.Popen[str]) -> None:
        """A second driver leaves the corpus alone as long as the first one holds it."""
        second = self.start(out)
        _, stderr = second.communicate()
        if first.poll() is None and (out / "corpus.json").exists() and "is writing this corpus" not in stderr:
            locked = (out / ".lock").exists() and (out / ".lock").read_text()
            if locked and str(first.pid) in locked:
                raise AssertionError(f"a second driver was not refused:\n{stderr[-3000:]}")

    def settle(self, out: Path) -> None:
        """The last runs of a corpus, which is then held against the undisturbed one."""
        self.finish(out)
        summary = self.finish(out, retry=True)
        if summary["unfinished"] or summary["clips"] != summary["ok"] + summary["no_trajectory"] + summary["failed"]:
            raise AssertionError(f"clips are not accounted for: {summary}")
        wanted, got = Corpus.open(self.folder / "undisturbed"), Corpus.open(out)
        for what in ("corpus_hash", "clip_ids", "sources", "dead_letter_ids"):
            if getattr(wanted, what)() != getattr(got, what)():
                raise AssertionError(f"{what} of {out} is not that of an undisturbed run")
        if told(wanted) != told(got) or any((out / ".tmp").iterdir()):
            raise AssertionError(f"{out}: expected the rows of an undisturbed run and nothing left over")
        self.equal += 1
        print(f"corpus {self.equal}: that of an undisturbed run", file=sys.stderr, flush=True)
        shutil.rmtree(out)


def told(corpus: Corpus) -> dict[str, tuple[object, ...]]:
    """What the ledger says last of each clip, but for times, hosts and attempts."""
    return {key: (row.source, row.status, row.code, row.verdicts) for key, row in corpus.latest().items()}


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs; those that end meanwhile are left out."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, listed.read_text().split()):
                found += [child, *descendants(child)]
    return found


def chaos(faults: int, clips: int, executor: str, seed: int, folder: Path, real: Path | None = None) -> Chaos:
    """Hit runs until there were so many faults, each kind in turn; AssertionError when anything was lost."""
    session = Chaos(folder=folder, clips=clips, executor=executor, rng=random.Random(seed), real=real)
    session.prepare()
    number = 0
    while sum(session.hits.values()) < faults:
        out = folder / f"corpus{number}"
        number += 1
        for _ in range(session.rng.randrange(1, 8)):
            kind = KINDS[sum(session.hits.values()) % len(KINDS)]
            if not session.hit(kind, out) or sum(session.hits.values()) >= faults:
                break
            print(f"fault {sum(session.hits.values())} of {faults}: {kind}", file=sys.stderr, flush=True)
        session.settle(out)
    return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--real", type=Path, help="folder of real clips, instead of made ones")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wmkit-chaos-") as name:
        found = chaos(arguments.faults, arguments.clips, arguments.executor, arguments.seed, Path(name), arguments.real)
    hits = ", ".join(f"{count} {kind}" for kind, count in sorted(found.hits.items()))
    print(f"{sum(found.hits.values())} faults ({hits}) over {found.equal} corpora of {found.clips} clips, executor")
    print(f"{arguments.executor}, seed {arguments.seed}: nothing lost, nothing twice, every corpus hash that of an")
    print(f"undisturbed run; {time.monotonic() - start_s:.0f} s, an undisturbed run {found.run_s:.1f} s")


if __name__ == "__main__":
    main()
