"""A full disk ends a run with one line; no clip has failed for it, and with room the same command goes on."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.dummy import dummy_config, write_clips
from wmkit.annotate import run as annotate_run
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.corpus import Corpus, store
from wmkit.errors import DiskFullError
from wmkit.executor import Item, ItemTask, Outcome
from wmkit.executor.task import run_item

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


@pytest.mark.parametrize("room", [900, 3000])  # less than corpus.json takes; less than a part of the ledger
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


def test_a_worker_without_room_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second clip's folder does not fit: the first stays, the second and the third are as if never begun."""
    inputs, out = write_clips(tmp_path / "in", ["a_1", "b_1", "c_1"]), tmp_path / "out"
    write, folders = store.write_synced, set()

    def scarce(path: Path, data: bytes) -> None:
        folders.add(path.parent)
        if len(folders) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    def here(items: Sequence[Item], task: ItemTask, options: object, on_outcome: Callable[[Outcome], None]) -> None:
        for item in items:
            reply = run_item(task, item.payload)
            on_outcome(Outcome(key=item.key, attempt=1, final=True, result=reply.result, failure=reply.failure))

    monkeypatch.setattr(annotate_run, "run_items", here)
    with monkeypatch.context() as full:
        full.setattr(store, "write_synced", scarce)
        with pytest.raises(DiskFullError, match=r"No space left on device; make room and run the same command again$"):
            run_annotate([inputs], out, dummy_config(), RunOptions(), SilentProgress())
    corpus = Corpus.open(out)
    assert [row.source for row in corpus.ledger()] == ["a_1"]
    assert corpus.dead_letter_ids() == set()
    assert len(folders) == 2, "the third was not begun"
    summary = run_annotate([inputs], out, dummy_config(), RunOptions(), SilentProgress())
    assert (summary.ok, summary.failed, summary.resumed) == (3, 0, 1)
