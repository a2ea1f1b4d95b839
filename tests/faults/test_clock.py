"""A wall clock that somebody sets by hours, back and forth, while a run works: nothing is decided by it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.chaos import told
from tests.faults.dummy import write_clips
from wmkit.corpus import Corpus

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
CLIPS = ["a_1", "b_1", "bad_1", "hang_1", "slow_1", "slow_2", "slow_3"]
LIMIT_S = "8"  # an item takes half a second: one that is stopped was hanging, or was stopped by the wrong clock


def run(inputs: Path, out: Path, *extra: str, jumping: bool) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "tests.faults.driver", str(inputs), str(out)]
    command += ["--timeout-s", LIMIT_S, "--attempts", "1", *extra]
    path = [str(ROOT / "tests/faults/jumping_clock")] if jumping else []
    path += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def summary_of(done: tuple[int, str, str]) -> dict[str, Any]:
    code, stdout, stderr = done
    assert code == 0, stderr
    return json.loads(stdout)


def test_nothing_misfires_and_the_corpus_is_the_same(tmp_path: Path) -> None:
    inputs = write_clips(tmp_path / "in", CLIPS)
    calm = summary_of(run(inputs, tmp_path / "calm", jumping=False))
    jumped = summary_of(run(inputs, tmp_path / "jumped", jumping=True))
    killed = run(inputs, tmp_path / "killed", "--die-at", "before:part-", jumping=True)
    assert killed[0] == -signal.SIGKILL
    resumed = summary_of(run(inputs, tmp_path / "killed", jumping=True))
    for summary in (calm, jumped, resumed):
        assert summary["codes"] == {"pose/diverged": 1, "worker/timeout": 1}
        assert (summary["clips"], summary["ok"]) == (7, 5)
        # The hang alone takes its limit; a jump of hours would show.
        assert 0 < summary["seconds"] < 200
    wanted = Corpus.open(tmp_path / "calm")
    for name in ("jumped", "killed"):
        corpus = Corpus.open(tmp_path / name)
        assert corpus.corpus_hash() == wanted.corpus_hash()
        assert told(corpus) == told(wanted)
    rows = Corpus.open(tmp_path / "jumped").ledger()
    assert sorted(row.clip_id for row in rows) == sorted(wanted.latest()), "one attempt a clip: none was cut short"
    spread_s = max(row.finished_at for row in rows) - min(row.finished_at for row in rows)
    assert spread_s.total_seconds() > 3600, "the point of the test: the clock did jump"


def test_a_later_attempt_counts_whatever_its_time(tmp_path: Path) -> None:
    """Rows are in the order they were recorded: the time in them is for people."""
    inputs = write_clips(tmp_path / "in", ["a_1", "bad_1"])
    for retry in ([], ["--retry"], ["--retry"]):
        summary_of(run(inputs, tmp_path / "out", *retry, jumping=True))
    corpus = Corpus.open(tmp_path / "out")
    attempts = [row.attempt for row in corpus.ledger() if row.code == "diverged"]
    assert attempts == [1, 2, 3]
    assert {row.attempt for row in corpus.latest().values() if row.code == "diverged"} == {3}
