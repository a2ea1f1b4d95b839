"""`make learn` with `--ablate`: every variant trains, is judged and is told, on the same shards, with tiny numbers."""

import functools
import json
import sys
from pathlib import Path

import pytest

from benchmarks import learn
from tests.shard_samples import make_shards
from wmkit.demo.learn import LearnOptions
from wmkit.model.config import ModelConfig
from wmkit.train.checkpoint import find_checkpoint, read_config

TINY = ("model.width=16", "model.heads=2", "model.depth=2", "steps=2", "save_every=1", "data.metric=false")


@pytest.mark.timeout(300)  # six small runs, each judged
def test_every_ablation_runs_to_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = make_shards(tmp_path, clips=2)
    monkeypatch.setattr("wmkit.demo.learn._shards", lambda out, split, numbers, progress: shards)
    monkeypatch.setattr(learn, "LearnOptions", functools.partial(LearnOptions, judged=4, sample_steps=2))
    words = [word for setting in TINY for word in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["learn.py", "--out", str(tmp_path / "learn"), "--ablate", *words])
    assert learn.main() == 1, "two steps are no proof"
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [row["run"] for row in rows] == ["run", *learn.ABLATIONS]
    models: dict[str, ModelConfig] = {}
    for row in rows:
        assert row["steps"] == 2
        assert set(row["loss"]) == {"true", "shuffled", "static"}
        assert (tmp_path / "learn" / row["run"] / "learn.png").is_file()
        models[row["run"]] = read_config(find_checkpoint(tmp_path / "learn" / row["run"])).model
    assert len(set(models.values())) == len(models), "two variants are one model"
    # Without cameras all paths are the same to a model.
    assert len(set(next(row["loss"] for row in rows if row["run"] == "no_cameras").values())) == 1
