"""`run_annotate` end to end on tiny clips, with real workers and a pose backend that costs nothing."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.dummy import FRAMES, dummy_config, write_clips
from wmkit.annotate.pipeline import AnnotateConfig, config_hash
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.run import RunOptions, RunSummary, run_annotate
from wmkit.corpus import Corpus, LedgerRow, Status
from wmkit.errors import ConfigError, InputError
from wmkit.executor import ExecutorOptions
from wmkit.video import VideoConfig

CLIPS = ["a_1", "deep/er/b_1", "same=a_1", "static_1", "bad_1"]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "in", CLIPS)


def annotate(inputs: Path, out: Path, config: AnnotateConfig | None = None, **options: object) -> RunSummary:
    settings = {"kind": "local", "workers": 2, "timeout_s": 60.0, **options}
    update, retry = bool(settings.pop("update", False)), bool(settings.pop("retry", False))
    executor = ExecutorOptions(**settings)  # type: ignore[arg-type]
    run = RunOptions(executor=executor, update=update, retry=retry, rerun=("--seed", "3"))
    return run_annotate([inputs], out, config or dummy_config(), run, SilentProgress())


def test_every_source_is_accounted_for(inputs: Path, tmp_path: Path) -> None:
    summary = annotate(inputs, tmp_path / "corpus")
    assert {**summary.to_json(), "seconds": 0, "clips_per_s": 0} == {
        "corpus": str(tmp_path / "corpus"),
        "sources": 5,
        "clips": 4,
        "duplicates": 1,
        "skipped": {},
        "resumed": 0,
        "ok": 2,
        "no_trajectory": 1,
        "failed": 1,
        "unfinished": 0,
        "reasons": {"static": 1},
        "codes": {"pose/diverged": 1},
        "failures": ["failed: 1 pose/diverged, bad_1: expected a finite cost, got inf"],
        "frames": 3 * FRAMES,
        "posed_frames": 2 * FRAMES,
        "metric": 0,
        "cues": {},
        "cues_absent": {},
        "seconds": 0,
        "clips_per_s": 0,
        "interrupted": False,
    }
    assert json.loads(json.dumps(summary.to_json())) == summary.to_json()
    assert (summary.exit_code(strict=False), summary.exit_code(strict=True)) == (0, 1)
    corpus = Corpus.open(tmp_path / "corpus")
    rows = {row.name: row for row in corpus.sources()}
    assert sorted(rows) == ["a_1", "bad_1", "deep/er/b_1", "same", "static_1"]
    assert rows["same"].clip_id == rows["a_1"].clip_id
    assert corpus.read(rows["a_1"].clip_id).clip.source == "a_1", "of equal content the first name counts"
    assert set(corpus.clip_ids()) == {rows[name].clip_id for name in ("a_1", "deep/er/b_1", "static_1")}
    row = corpus.latest()[rows["a_1"].clip_id]
    assert (row.status, row.frames, row.posed_frames, row.attempt) == (Status.OK, FRAMES, FRAMES, 1)
    assert {"decode", "pose"} <= row.timings.keys()


def test_a_dead_letter_says_how_to_rerun_the_clip(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "corpus")
    (letter,) = Corpus.open(tmp_path / "corpus").dead_letters()
    assert letter.command == f"wmkit annotate {inputs}/bad_1 --out {tmp_path}/corpus --retry --seed 3"
    assert (letter.source, letter.stage, letter.code) == ("bad_1", "pose", "diverged")
    assert "expected a finite cost" in letter.traceback


def test_every_end_is_final_until_asked(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    digest, before = corpus.corpus_hash(), len(corpus.ledger())
    summary = annotate(inputs, tmp_path / "corpus")
    assert (summary.resumed, summary.ok, summary.no_trajectory, summary.failed) == (4, 2, 1, 1)
    assert (summary.codes, summary.posed_frames) == ({"pose/diverged": 1}, 2 * FRAMES)
    assert len(corpus.ledger()) == before, "nothing was attempted"
    summary = annotate(inputs, tmp_path / "corpus", retry=True)
    assert (summary.resumed, summary.ok, summary.no_trajectory, summary.failed) == (3, 2, 1, 1)
    fresh = corpus.ledger()[before:]
    assert [(row.source, row.attempt) for row in fresh] == [("bad_1", 2)]
    assert corpus.corpus_hash() == digest


def test_a_failure_without_its_dead_letter_is_not_final(inputs: Path, tmp_path: Path) -> None:
    """The row of a first attempt, whose second a killed run never made."""
    annotate(inputs, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    (letter,) = corpus.dead_letters()
    corpus.remove_dead_letter(letter.clip_id)
    assert annotate(inputs, tmp_path / "corpus").resumed == 3
    assert [again.clip_id for again in corpus.dead_letters()] == [letter.clip_id]


def test_another_config_attempts_failures_again(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "corpus")
    summary = annotate(inputs, tmp_path / "corpus", dummy_config(step=2.0), update=True)
    assert (summary.resumed, summary.failed) == (0, 1)
    assert annotate(inputs, tmp_path / "corpus", dummy_config(step=2.0)).resumed == 4


def test_a_clip_that_recovers_loses_its_dead_letter(inputs: Path, tmp_path: Path) -> None:
    os.rename(inputs / "a_1", inputs / "kill_1")
    annotate(inputs / "kill_1", tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert [letter.code for letter in corpus.dead_letters()] == ["worker_crash"]
    assert [row.attempt for row in corpus.ledger()] == [1, 2]
    os.rename(inputs / "kill_1", inputs / "fine_1")
    assert annotate(inputs / "fine_1", tmp_path / "corpus").failed == 1
    summary = annotate(inputs / "fine_1", tmp_path / "corpus", retry=True)
    assert (summary.ok, summary.failed) == (1, 0)
    assert corpus.dead_letters() == []
    assert corpus.latest()[corpus.clip_ids()[0]].attempt == 3


def test_one_clip_rerun_alone_keeps_its_name_and_bytes(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    digest = corpus.corpus_hash()
    clip = next(row.clip_id for row in corpus.sources() if row.name == "deep/er/b_1")
    shutil.rmtree(corpus.folder(clip))
    summary = annotate(inputs / "deep" / "er" / "b_1", tmp_path / "corpus")
    assert (summary.sources, summary.ok) == (1, 1)
    assert corpus.corpus_hash() == digest


def test_another_folder_may_hold_the_same_names(inputs: Path, tmp_path: Path) -> None:
    other = write_clips(tmp_path / "other", ["a_1=new"])
    annotate(inputs, tmp_path / "corpus")
    annotate(other, tmp_path / "corpus")
    names = [row.name for row in Corpus.open(tmp_path / "corpus").sources()]
    assert sorted(names) == ["a_1", "bad_1", "deep/er/b_1", "other/a_1", "same", "static_1"]


def test_changed_content_is_a_new_clip(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs / "a_1", tmp_path / "corpus")
    shutil.rmtree(inputs / "a_1")
    write_clips(inputs, ["a_1=otherwise"])
    summary = annotate(inputs / "a_1", tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert (summary.resumed, summary.ok, len(corpus.clip_ids()), len(corpus.sources())) == (0, 1, 2, 1)


def test_one_worker_or_two_write_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "one", workers=1)
    annotate(inputs, tmp_path / "two", workers=2)
    assert Corpus.open(tmp_path / "one").corpus_hash() == Corpus.open(tmp_path / "two").corpus_hash()


def test_another_config_is_refused_and_with_update_replaces_everything(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "corpus")
    other = dummy_config(step=2.0)
    with pytest.raises(ConfigError, match=r"pose\.step: 1\.0 -> 2\.0\); pass --update"):
        annotate(inputs, tmp_path / "corpus", other)
    summary = annotate(inputs, tmp_path / "corpus", other, update=True)
    assert (summary.resumed, summary.ok) == (0, 2)
    annotate(inputs, tmp_path / "fresh", other)
    corpus = Corpus.open(tmp_path / "corpus")
    assert corpus.corpus_hash() == Corpus.open(tmp_path / "fresh").corpus_hash()
    assert {corpus.clip_config_hash(clip) for clip in corpus.clip_ids()} == {config_hash(other)}
    assert annotate(inputs, tmp_path / "corpus", other).resumed == 4


def test_a_damaged_folder_is_annotated_again(inputs: Path, tmp_path: Path) -> None:
    annotate(inputs, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    digest = corpus.corpus_hash()
    for part in (corpus.path / "ledger").iterdir():
        part.unlink()
    (corpus.folder(corpus.clip_ids()[0]) / "annotation.json").write_text("{")
    assert annotate(inputs, tmp_path / "corpus").resumed == 3, "two by their folders, the failure by its dead letter"
    assert corpus.corpus_hash() == digest
    assert [(row.code, row.attempt) for row in corpus.latest().values() if not row.done] == [("diverged", 1)]


def test_an_unreadable_source_is_a_failed_clip(inputs: Path, tmp_path: Path) -> None:
    (inputs / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    for attempt in (1, 2):
        summary = annotate(inputs, tmp_path / "corpus", retry=attempt == 2)
        assert (summary.sources, summary.failed) == (6, 2)
        assert summary.failures[0].startswith("failed: 1 discover/unreadable, gone.mp4: ")
        assert len(summary.failures) == 2
        assert summary.codes == {"discover/unreadable": 1, "pose/diverged": 1}
        rows = [row for row in Corpus.open(tmp_path / "corpus").latest().values() if row.code == "unreadable"]
        assert [(row.source, row.attempt) for row in rows] == [("gone.mp4", attempt)]
    (inputs / "gone.mp4").unlink()
    write_clips(inputs, ["gone.mp4"])
    assert annotate(inputs, tmp_path / "corpus").codes == {"pose/diverged": 1}
    corpus = Corpus.open(tmp_path / "corpus")
    assert [row.code for row in corpus.latest().values() if row.status is Status.FAILED] == ["diverged"]


def test_exit_codes(inputs: Path, tmp_path: Path) -> None:
    summary = annotate(inputs / "bad_1", tmp_path / "corpus")
    assert summary.exit_code(strict=False) == 1, "every clip failed"
    assert replace(summary, interrupted=True).exit_code(strict=False) == 130
    fine = annotate(inputs / "a_1", tmp_path / "fine")
    assert (fine.exit_code(strict=False), fine.exit_code(strict=True)) == (0, 0)


def test_bad_input_is_one_error_and_leaves_nothing(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    cases = [
        (tmp_path / "empty", tmp_path / "corpus", "no clip found"),
        (tmp_path / "missing", tmp_path / "corpus", "missing"),
        (inputs, tmp_path / "file" / "corpus", "expected a folder that can be written"),
        (inputs, inputs, "expected a corpus, an empty folder or a new path"),
    ]
    for paths, out, message in cases:
        with pytest.raises(InputError, match=message) as error:
            annotate(paths, out)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "corpus").exists()


def test_an_unknown_decoder_is_told_once_and_early(inputs: Path, tmp_path: Path) -> None:
    (inputs / "x.mp4").write_text("no video")
    config = replace(dummy_config(), video=VideoConfig(decoder="nonsense"))
    with pytest.raises(InputError, match="nonsense"):
        annotate(inputs, tmp_path / "corpus", config)
    assert Corpus.open(tmp_path / "corpus").ledger() == []


def test_progress_hears_of_every_clip_once(inputs: Path, tmp_path: Path) -> None:
    class Recorder(SilentProgress):
        def __init__(self) -> None:
            self.calls: list[object] = []

        def start(self, total: int, done: Mapping[Status, int]) -> None:
            self.calls.append((total, dict(done)))

        def advance(self, row: LedgerRow) -> None:
            self.calls.append(row.source)

        def stop(self) -> None:
            self.calls.append("stop")

    options = RunOptions(executor=ExecutorOptions(kind="local", workers=2, timeout_s=60.0))
    first, second = Recorder(), Recorder()
    run_annotate([inputs], tmp_path / "corpus", dummy_config(), options, first)
    run_annotate([inputs], tmp_path / "corpus", dummy_config(), options, second)
    assert first.calls[0] == (4, {})
    assert sorted(map(str, first.calls[1:-1])) == ["a_1", "bad_1", "deep/er/b_1", "static_1"]
    assert first.calls[-1] == "stop"
    assert second.calls == [(4, {Status.OK: 2, Status.NO_TRAJECTORY: 1, Status.FAILED: 1}), "stop"]
