"""A full disk ends a run with one line; no clip has failed for it, and with room the same command goes on."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.dummy import write_clips
from wmkit.corpus import Corpus

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def run(inputs: Path, out: Path, room: int | None = None) -> "subprocess.CompletedProcess[str]":
    """`room`: bytes that a file may have, of the driver's and its workers'."""
    command = [sys.executable, "-m", "tests.faults.driver", str(inputs), str(out)]
    limit = resource.RLIM_INFINITY if room is None else room
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.mark.parametrize("room", [900, 3000])  # less than corpus.json's; less than a clip's largest file
def test_no_clip_fails_for_a_full_disk(tmp_path: Path, room: int) -> None:
    inputs, out = write_clips(tmp_path / "in", [f"a_{number}" for number in range(4)]), tmp_path / "out"
    cut = run(inputs, out, room)
    assert cut.returncode in (1, 2)
    last = cut.stderr.splitlines()[-1]
    assert "File too large" in last
    assert "Traceback" not in cut.stderr
    assert not cut.stdout
    whole = run(inputs, out)
    assert whole.returncode == 0, whole.stderr
    summary = json.loads(whole.stdout)
    assert (summary["clips"], summary["ok"], summary["failed"]) == (4, 4, 0)
    corpus = Corpus.open(out)
    assert {row.status for row in corpus.ledger()} == {"ok"}, "no attempt counted"
    assert corpus.dead_letter_ids() == set()
