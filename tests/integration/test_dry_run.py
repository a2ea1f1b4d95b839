"""`annotate --dry-run`: what it says is what a run then does and what the ledger holds; and it writes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.faults.dummy import FRAMES, dummy_config, write_clips
from tests.large_ledger import CONFIG_HASH, write_large_corpus
from wmkit import cli
from wmkit.annotate import dry_run
from wmkit.annotate.costs import costs_of_corpus, shipped_costs
from wmkit.annotate.defaults import default_config
from wmkit.annotate.depth import PlaneSweepConfig
from wmkit.annotate.dry_run import plan_annotate
from wmkit.annotate.pipeline import config_hash
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.corpus import Corpus
from wmkit.errors import ConfigError, InputError
from wmkit.executor import ExecutorOptions


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "in", ["a_1", "b_1", "static_1", "bad_1"])


def run(inputs: Path, out: Path) -> None:
    options = RunOptions(executor=ExecutorOptions(kind="local", workers=1, timeout_s=60.0))
    run_annotate([inputs], out, dummy_config(), options, SilentProgress())


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_new_corpus_is_estimated_from_the_shipped_figures(inputs: Path, tmp_path: Path) -> None:
    plan = plan_annotate([inputs], tmp_path / "corpus", default_config(), update=False)
    assert not (tmp_path / "corpus").exists()
    assert (plan.sources, plan.done, plan.to_do, plan.opened, plan.unreadable) == (4, 0, 4, 4, 0)
    assert (plan.frames, plan.length_sigma, plan.costs_from) == (4 * FRAMES, 0.0, "shipped")
    shipped = shipped_costs()
    assert plan.costs_clips == shipped.clips
    assert plan.core_h["pose"] == pytest.approx(4 * FRAMES * shipped.core_s_per_frame["pose"] / 3600)
    assert plan.core_h["depth"] == pytest.approx(4 * shipped.core_s_per_clip["depth"] / 3600)
    assert plan.bytes == round(4 * shipped.bytes_per_clip)
    assert plan.not_known == []


def test_what_nobody_measured_is_named_and_not_guessed(inputs: Path, tmp_path: Path) -> None:
    config = replace(dummy_config(), depth=None)
    plan = plan_annotate([inputs], tmp_path / "corpus", config, update=False)
    assert "pose by dummy" in plan.not_known
    assert "bytes of clips without depth" in plan.not_known
    assert plan.bytes is None
    assert set(plan.core_h) == {"decode", "filters", "scale"}
    every = replace(dummy_config(), depth=PlaneSweepConfig(max_frames=None))
    plan = plan_annotate([inputs], tmp_path / "corpus", every, update=False)
    assert "depth by plane_sweep as it is set" in plan.not_known
    assert "depth" not in plan.core_h
    footage = default_config(stop_after="footage")
    plan = plan_annotate([inputs], tmp_path / "corpus", footage, update=False)
    assert set(plan.core_h) == {"decode", "filters"}
    assert plan_annotate(
        [inputs], tmp_path / "c", replace(dummy_config(), depth=PlaneSweepConfig()), update=False
    ).bytes


def test_a_corpus_is_estimated_from_its_own_finished_clips(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "corpus")
    write_clips(inputs, ["later_1", "later_2"])
    before = bytes_below(tmp_path / "corpus")
    plan = plan_annotate([inputs], tmp_path / "corpus", dummy_config(), update=False)
    assert bytes_below(tmp_path / "corpus") == before
    # Two more clips, and the one that failed is tried again.
    assert (plan.sources, plan.done, plan.to_do, plan.frames) == (6, 3, 3, 3 * FRAMES)
    assert (plan.costs_from, plan.costs_clips, plan.not_known) == ("corpus", 3, [])
    corpus = Corpus.open(tmp_path / "corpus")
    spent: dict[str, float] = {}
    rows = [row for row in corpus.ledger() if row.done]
    for row in rows:
        for stage, seconds in row.timings.items():
            name = "filters" if stage.startswith("filter") else stage
            spent[name] = spent.get(name, 0.0) + seconds
    # As many frames and clips are to be done as were: the same core-seconds again.
    assert plan.core_h == pytest.approx({stage: seconds / 3600 for stage, seconds in spent.items()})
    sizes = [file.stat().st_size for row in rows for file in corpus.folder(row.clip_id).iterdir()]
    assert plan.bytes == sum(sizes)
    nothing = plan_annotate([inputs / "a_1"], tmp_path / "corpus", dummy_config(), update=False)
    assert (nothing.done, nothing.to_do, nothing.opened, nothing.frames, nothing.bytes) == (1, 0, 0, 0, 0)
    assert "core-hours: 0\n" in "\n".join(nothing.lines())


def test_another_config_and_another_folder_are_refused_as_by_a_run(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "corpus")
    before = bytes_below(tmp_path)
    with pytest.raises(ConfigError, match="made with another config"):
        plan_annotate([inputs], tmp_path / "corpus", dummy_config(step=2.0), update=False)
    plan = plan_annotate([inputs], tmp_path / "corpus", dummy_config(step=2.0), update=True)
    assert (plan.done, plan.to_do, plan.costs_from) == (0, 4, "shipped")
    with pytest.raises(InputError, match="expected a corpus, an empty folder or a new path"):
        plan_annotate([inputs], inputs, dummy_config(), update=False)
    assert bytes_below(tmp_path) == before


def test_of_many_clips_a_few_are_opened(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inputs / "a_0.mp4").write_text("no video")
    monkeypatch.setattr(dry_run, "OPENED", 3)
    plan = plan_annotate([inputs], tmp_path / "corpus", default_config(), update=False)
    # Of five, by name: a_0.mp4, which is unreadable, and two others; so two thirds of all are taken to be readable.
    assert (plan.to_do, plan.opened, plan.unreadable) == (5, 3, 1)
    assert plan.frames == round(5 * 2 * FRAMES / 3)
    frames = np.array([0, FRAMES, FRAMES])
    assert plan.length_sigma == pytest.approx(frames.std(ddof=1) / frames.mean() * np.sqrt((1 - 3 / 5) / 3))
    assert "from 3 clips opened" in "\n".join(plan.lines())


def test_the_command_line(inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "corpus"
    assert cli.main(["annotate", str(inputs), "--out", str(out), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "corpus", "sources", "done", "to_do", "skipped", "opened", "unreadable", "frames", "footage_h", "length_sigma",
        "core_h", "bytes", "costs_from", "costs_clips", "not_known",
    ]  # fmt: skip
    assert cli.main(["annotate", str(inputs), "--out", str(out), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "4 sources: 0 done by an earlier run, 4 to do" in text
    assert "clips measured for this version" in text
    assert text.endswith("dry run: nothing was written\n")
    assert not out.exists()


def test_costs_are_means_of_finished_clips_of_this_config(tmp_path: Path) -> None:
    corpus = write_large_corpus(tmp_path / "corpus", 500, {"blur": ""}, parts=3)
    costs = costs_of_corpus(corpus, corpus.columns().finished(CONFIG_HASH, {}))
    assert costs is not None
    done = [row for row in corpus.latest().values() if row.done]
    assert (costs.clips, costs.frames) == (len(done), sum(row.frames or 0 for row in done))
    assert costs.core_s_per_frame == pytest.approx({"decode": 5 / 160, "pose": 20 / 160})
    assert (costs.core_s_per_clip, costs.bytes_per_clip) == ({}, 0.0)
    assert costs_of_corpus(corpus, corpus.columns().finished("another", {})) is None
    empty = Corpus.create_or_open(tmp_path / "empty", {}, config_hash(default_config()), update=False)
    assert costs_of_corpus(empty, empty.columns().finished(empty.config_hash, {})) is None
