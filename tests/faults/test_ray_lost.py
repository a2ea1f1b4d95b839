"""Processes of Ray killed under a run: an actor costs one attempt, the raylet ends the run with one line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.chaos import told
from tests.faults.chaos_kinds import descendants
from tests.faults.dummy import QUICK, write_clips
from wmkit.corpus import Corpus

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]  # Ray alone takes a busy machine more than a minute

ROOT = Path(__file__).parents[2]
CLIPS = [f"slow_{number}" for number in range(48)]  # Ray notices after some 15 s; until then actors finish clips
ATTEMPT_S, CHECK_S = "2", "0.2"


def command(inputs: Path, out: Path, executor: str) -> list[str]:
    words = [sys.executable, "-m", "tests.faults.driver", str(inputs), str(out)]
    return [*words, "--executor", executor, "--slow-s", ATTEMPT_S, "--check-s", CHECK_S]


def finish(inputs: Path, out: Path) -> dict[str, object]:
    environment = {**os.environ, QUICK: "1"}
    done = subprocess.run(
        command(inputs, out, "local"), cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def victim(driver: int, is_it: Callable[[str], bool]) -> int:
    """A process below the driver whose first word `is_it`."""
    for pid in descendants(driver):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if is_it(words[0].decode()):
            return pid
    raise AssertionError("no such process")


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not what():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_killed_actor_and_then_the_raylet(tmp_path: Path) -> None:
    inputs, out = write_clips(tmp_path / "in", CLIPS), tmp_path / "out"
    run = subprocess.Popen(
        command(inputs, out, "ray"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def done() -> int:
        return len(list(out.glob("clips/*/*")))

    wait_for(lambda: done() >= 1, run)
    os.kill(victim(run.pid, lambda word: word.startswith("ray::_Supervisor.run")), signal.SIGKILL)
    before = done()
    wait_for(lambda: done() >= before + 3, run)
    os.kill(victim(run.pid, lambda word: word.endswith("/raylet")), signal.SIGKILL)
    stdout, stderr = run.communicate()
    assert run.returncode == 1, stderr
    lines = [line for line in stderr.splitlines() if line and not line.startswith(("clips ", "sources found"))]
    assert len(lines) == 1, stderr
    assert "raylet on this machine" in lines[0]
    assert not stdout.strip().endswith("}"), "a run that was cut short tells no result"

    corpus = Corpus.open(out)
    rows = corpus.ledger()
    crashes = [row for row in rows if not row.done]
    assert [(row.code, row.attempt) for row in crashes] == [("worker_crash", 1)], "the actor's, and none of the raylet"
    assert "Ray actor" in crashes[0].message
    assert corpus.dead_letter_ids() == set()

    summary = finish(inputs, out)
    assert (summary["clips"], summary["ok"]) == (len(CLIPS), len(CLIPS))
    calm = tmp_path / "calm"
    finish(inputs, calm)
    assert corpus.corpus_hash() == Corpus.open(calm).corpus_hash()
    assert told(corpus) == told(Corpus.open(calm))
    assert len([row for row in corpus.ledger() if row.done]) == len(CLIPS)
