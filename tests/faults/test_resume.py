"""Runs killed for real: the same command again ends in the same bytes as a run that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.dummy import dummy_config, write_clips
from wmkit.annotate.pipeline import config_hash
from wmkit.corpus import Corpus, LedgerRow, Status

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
CLIPS = ["a_1", "street/b_1", "street/copy=a_1", "static_1", "bad_1", "slow_1", "slow_2"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("in"), CLIPS)


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    out = tmp_path_factory.mktemp("undisturbed") / "corpus"
    assert finish(inputs, out)["resumed"] == 0
    return Corpus.open(out)


def start(inputs: Path, out: Path, point: str = "") -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.faults.driver", str(inputs), str(out), "--die-at", point]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored,
    try:  # and a child inherits that
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def finish(inputs: Path, out: Path) -> dict:
    """The same command to its end: every source accounted for."""
    process = start(inputs, out)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    summary = json.loads(stdout)
    counts = {key: summary[key] for key in ("sources", "clips", "duplicates", "ok", "no_trajectory", "failed")}
    assert counts == {"sources": 7, "clips": 6, "duplicates": 1, "ok": 4, "no_trajectory": 1, "failed": 1}
    assert not summary["interrupted"]
    return summary


def assert_equal_state(left: Corpus, right: Corpus) -> None:
    """Bytes of the clips, and what the ledger says last of each but for times, hosts and attempts."""
    assert left.corpus_hash() == right.corpus_hash()
    assert [letter.clip_id for letter in left.dead_letters()] == [letter.clip_id for letter in right.dead_letters()]
    assert left.sources() == right.sources()
    assert told(left) == told(right)
    assert list((left.path / ".tmp").iterdir()) == []


def told(corpus: Corpus) -> dict:
    rows = corpus.latest().values()
    return {row.clip_id: (row.source, row.status, row.code, row.verdicts, row.posed_frames) for row in rows}


@pytest.mark.parametrize(
    "point",
    [
        "before:corpus.json",
        "after:corpus.json",
        "after:sources.parquet",
        "before:part-",  # clip folders are in place, none has its row
        "after:part-",
        "before:dead-letter",
        "after:dead-letter",  # the failure is told, its row is not
    ],
)
def test_killed_at_a_point(inputs: Path, undisturbed: Corpus, tmp_path: Path, point: str) -> None:
    killed = start(inputs, tmp_path / "corpus", point)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    finish(inputs, tmp_path / "corpus")
    assert_equal_state(Corpus.open(tmp_path / "corpus"), undisturbed)


def test_killed_after_its_first_folders(inputs: Path, undisturbed: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    killed = start(inputs, out)
    while not list(out.glob("clips/*/*")):
        assert killed.poll() is None
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    there = {path.name: (path / "annotation.json").stat().st_mtime_ns for path in out.glob("clips/*/*")}
    summary = finish(inputs, out)
    corpus = Corpus.open(out)
    assert_equal_state(corpus, undisturbed)
    assert summary["resumed"] >= len(there)
    for clip, mtime_ns in there.items():
        assert (corpus.folder(clip) / "annotation.json").stat().st_mtime_ns == mtime_ns, "done work was done again"


def test_a_folder_without_its_row_gets_one(inputs: Path, undisturbed: Corpus, tmp_path: Path) -> None:
    killed = start(inputs, tmp_path / "corpus", "before:part-")
    killed.communicate()
    corpus = Corpus.open(tmp_path / "corpus")
    folders = corpus.clip_ids()
    assert folders, "the point of the test: folders are there"
    assert not {row.clip_id for row in corpus.ledger()} & set(folders), "and their rows are not"
    summary = finish(inputs, corpus.path)
    assert summary["resumed"] >= len(folders)
    rows: list[LedgerRow] = [row for row in corpus.ledger() if row.status is not Status.FAILED]
    assert sorted(row.clip_id for row in rows) == undisturbed.clip_ids(), "one row a clip, none twice"
    assert {row.config_hash for row in rows} == {config_hash(dummy_config(slow_s=0.3))}


def test_a_failure_without_its_row_gets_one_and_is_not_tried_again(inputs: Path, tmp_path: Path) -> None:
    killed = start(inputs, tmp_path / "corpus", "after:dead-letter")
    killed.communicate()
    corpus = Corpus.open(tmp_path / "corpus")
    (letter,) = corpus.dead_letters()
    assert letter.clip_id not in {row.clip_id for row in corpus.ledger()}, "the point of the test"
    finish(inputs, corpus.path)
    rows = [row for row in corpus.ledger() if row.clip_id == letter.clip_id]
    assert [(row.status, row.code, row.message, row.attempt) for row in rows] == [
        (Status.FAILED, letter.code, letter.message, 1)
    ]


def test_a_second_run_on_a_busy_corpus_is_refused(inputs: Path, tmp_path: Path) -> None:
    corpus = Corpus.create_or_open(tmp_path / "corpus", {}, config_hash(dummy_config(slow_s=0.3)), update=False)
    with corpus.lock():
        second = start(inputs, corpus.path)
        _, stderr = second.communicate()
    assert second.returncode != 0
    assert f"another run (pid {os.getpid()} on " in stderr
    assert corpus.ledger() == []


def test_ctrl_c_keeps_what_is_finished(inputs: Path, undisturbed: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    driver = start(inputs, out)
    while not list(out.glob("clips/*/*")):
        assert driver.poll() is None
        time.sleep(0.005)
    driver.send_signal(signal.SIGINT)
    stdout, stderr = driver.communicate()
    assert driver.returncode == 130, stderr
    summary = json.loads(stdout)
    assert summary["interrupted"]
    ends = summary["ok"] + summary["no_trajectory"] + summary["failed"]
    assert ends + summary["unfinished"] == summary["clips"] == 6
    finish(inputs, out)
    assert_equal_state(Corpus.open(out), undisturbed)
