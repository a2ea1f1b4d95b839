"""The schedule's stages: each begins with the weights of the one before, and shows what it is for."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train_doubles import FACTS, DrawnBatch
from wmkit.errors import ConfigError
from wmkit.train.checkpoint import build_model, load_model, start_weights
from wmkit.train.condition import conditions
from wmkit.train.config import TrainConfig
from wmkit.train.loop import TrainResult, train
from wmkit.train.metrics_log import read_metrics
from wmkit.train.objective import flow_loss, noised
from wmkit.train.recipes import RECIPES, recipe

STAGES = RECIPES[1:]
CAPTIONS = ("a red wall", "a blue wall")


def batch_of(step: int) -> DrawnBatch:
    """Eight clips of nine 16x16 frames: a striped wall, red or blue as the caption says, slides as the camera does."""
    generator = torch.Generator().manual_seed(step)
    speed = torch.rand(8, generator=generator) * 0.4 - 0.2
    phase = torch.rand(8, generator=generator) * 6.28
    poses = torch.eye(4).repeat(8, 9, 1, 1)
    poses[:, :, 0, 3] = speed[:, None] * torch.arange(9)
    x = torch.linspace(-0.5, 0.5, 16) + poses[:, :, 0, 3, None]
    grey = torch.sin(6.28 * x + phase[:, None, None])[:, :, None, None].expand(-1, -1, 3, 16, -1).clone()
    blue = torch.arange(8) % 2 == 1
    grey[~blue, :, 1:] = -1.0
    grey[blue, :, :2] = -1.0
    return DrawnBatch(
        video=grey,
        world_from_cam=poses,
        intrinsics=torch.tensor([16.0, 16.0, 8.0, 8.0]).repeat(8, 9, 1),
        keys=tuple("abcdefgh"),
        captions=CAPTIONS * 4,
    )


def stage(name: str, out: Path, before: Path | None, steps: int) -> TrainResult:
    config = dataclasses.replace(recipe(name), steps=steps)
    weights, digest = (None, None) if before is None else start_weights(before)
    return train(dataclasses.replace(config, start=digest), batch_of, FACTS, out, start=weights)


def first_loss(name: str, weights: dict[str, Tensor], config: TrainConfig) -> float:
    """The loss of the first step, by a model of `name` that has these weights."""
    model = build_model(recipe(name).model, 0)
    model.load_state_dict(weights)
    x0 = config.codec.encode(batch_of(0).video)
    target = noised(x0, config.objective, 0, 0, config.chunks(x0.shape[1]))
    seen = conditions(batch_of(0), config, 0)
    with torch.no_grad():
        return flow_loss(model(target.latent, target.sigma, None, seen.text), target).item()


def test_the_schedule_runs_from_stage_to_stage(tmp_path: Path) -> None:
    """Two steps each; the cameras' stage begins exactly where the hybrid one ended: its branches are none at first."""
    before = None
    for name in STAGES:
        done = stage(name, tmp_path / name, before, 2)
        assert done.steps == 2
        before = tmp_path / name
    config = load_model(tmp_path / "tiny-cpu-camera")[1]
    assert config.start == start_weights(tmp_path / "tiny-cpu-hybrid")[1]
    rows = read_metrics(tmp_path / "tiny-cpu-camera" / "metrics.jsonl")
    config = dataclasses.replace(config, condition=dataclasses.replace(config.condition, camera_dropout=0.0))
    wanted = first_loss("tiny-cpu-hybrid", start_weights(tmp_path / "tiny-cpu-hybrid")[0], config)
    assert rows[0].loss == wanted
    assert (tmp_path / "tiny-cpu-chunk" / "checkpoints" / "step-000002" / "ema.safetensors").exists()


def test_a_running_mean_is_what_the_next_stage_begins_with(tmp_path: Path) -> None:
    stage("tiny-cpu-chunk", tmp_path / "a", None, 2)
    weights, _ = start_weights(tmp_path / "a")
    mean = load_model(tmp_path / "a")[0].state_dict()
    assert all(torch.equal(weights[name], mean[name]) for name in mean)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    stage("tiny-cpu-linear", tmp_path / "a", None, 1)
    weights, _ = start_weights(tmp_path / "a")
    config = recipe("tiny-cpu-gdn").with_settings(["model.width=32", "steps=1"])
    with pytest.raises(ConfigError, match="use the earlier stage's sizes"):
        train(config, batch_of, FACTS, tmp_path / "b", start=weights)


def test_a_resumed_stage_remembers_its_start(tmp_path: Path) -> None:
    stage("tiny-cpu-linear", tmp_path / "a", None, 1)
    done = stage("tiny-cpu-gdn", tmp_path / "b", tmp_path / "a", 1)
    stored = json.loads((done.checkpoint / "config.json").read_text())
    assert stored["start"] == start_weights(tmp_path / "a")[1]
    config = dataclasses.replace(recipe("tiny-cpu-gdn"), steps=2)
    with pytest.raises(ConfigError, match="has start = "):
        train(config, batch_of, FACTS, tmp_path / "b", resume=True)
    again = train(dataclasses.replace(config, start=stored["start"]), batch_of, FACTS, tmp_path / "b", resume=True)
    assert (again.steps, again.resumed) == (2, 1)


@pytest.mark.slow
def test_each_stage_shows_what_it_is_for(tmp_path: Path) -> None:
    """Losses fall; a conversion keeps most of what was learnt; cameras are learnt on top; chunks stay usable."""
    before, first, last = None, {}, {}
    for name in STAGES:
        done = stage(name, tmp_path / name, before, 200)
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        first[name] = sum(row.loss for row in rows[:10]) / 10
        last[name] = sum(row.loss for row in rows[-20:]) / 20
        before = tmp_path / name
        assert done.steps == 200
        print(f"{name}: first ten {first[name]:.4f}, last twenty {last[name]:.4f}")
    linear, gdn, hybrid, camera, chunk = STAGES
    assert last[linear] < 0.6 * first[linear]
    # A fresh model begins at first[linear]; a converted one keeps at least half of what the stage before had gained.
    for earlier, later in ((linear, gdn), (gdn, hybrid)):
        assert first[later] < (first[linear] + last[earlier]) / 2
    # The wall slides by what the cameras alone tell, so they lower a loss that has stopped falling without them.
    assert last[camera] < 0.8 * last[hybrid]
    assert last[chunk] < first[linear]
