"""`wmkit train --dry-run`: arithmetic that agrees with what is published of the one run there is."""

import json
from pathlib import Path

import pytest

from wmkit import cli
from wmkit.bench.model_work import Grid
from wmkit.bench.train_plan import PlanOptions, TrainPlan, plan_preset, plan_recipe
from wmkit.errors import ConfigError
from wmkit.train.recipes import recipe


@pytest.fixture(scope="module")
def published() -> TrainPlan:
    """SANA-WM's minute-long stage: 64 H100, context parallel 2, 32 clips a step."""
    return plan_preset("sana-wm-2.6b", PlanOptions(gpus=64, context=2, batch=32))


def test_the_published_run(published: TrainPlan) -> None:
    assert published.parameters == 2_661_800_448
    # The sheet derives 1.54 PFLOP from module shapes (b.5); ours are counted from operators, embeddings included.
    assert published.forward_pflop == pytest.approx(1.54, rel=0.03)
    # 31,000 steps in about 8 days are 22.3 s a step; 10.5 % is that figure's own share of peak, rounded.
    assert published.step_s["10.5%"] == pytest.approx(22.3, rel=0.05)
    assert published.checkpoint_gb == pytest.approx(32, rel=0.01)
    parts = published.memory_gb
    assert parts["parameters, gradients and moments, sharded"] == pytest.approx(0.67, abs=0.01)
    assert parts["parameters in bf16, gathered"] == pytest.approx(5.3, abs=0.05)
    assert parts["inputs of all blocks"] == pytest.approx(4.8, abs=0.1)
    assert published.fits


def test_what_scales_with_what() -> None:
    grid = Grid(frames=5, rows=4, columns=6)
    one = plan_preset("tiny", PlanOptions(batch=8), grid)
    four = plan_preset("tiny", PlanOptions(gpus=4, batch=8), grid)
    assert four.step_pflop == one.step_pflop == pytest.approx(one.forward_pflop * 4 * 8)
    assert four.step_s["40.0%"] == pytest.approx(one.step_s["40.0%"] / 4)
    state = "parameters, gradients and moments, sharded"
    assert four.memory_gb[state] == pytest.approx(one.memory_gb[state] / 4)
    shared = plan_preset("tiny", PlanOptions(gpus=4, context=2, batch=8), grid)
    assert shared.memory_gb["inputs of all blocks"] == pytest.approx(0.6 * one.memory_gb["inputs of all blocks"])


def test_a_recipe_and_its_lines() -> None:
    plan = plan_recipe(recipe("tiny-cpu-camera"), PlanOptions(batch=8))
    assert (plan.grid.frames, plan.grid.rows, plan.grid.columns, plan.grid.text_tokens) == (9, 4, 4, 16)
    text = "\n".join(plan.lines())
    assert "tiny-cpu-camera" in text
    assert "nothing here was measured" in text


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--dry-run", "--preset", "tiny", "--gpus", "4", "--cp", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "what", "options", "grid", "parameters", "forward_pflop", "step_pflop", "memory_gb", "step_s", "checkpoint_gb",
        "peak_gb", "fits",
    ]  # fmt: skip
    assert told["options"] == {"gpus": 4, "context": 2, "batch": 2, "gpu": "h100"}
    assert list(tmp_path.iterdir()) == [], "nothing is made"


@pytest.mark.parametrize(
    "numbers", [{"gpus": 0}, {"gpus": 3, "context": 2, "batch": 3}, {"gpus": 8, "batch": 4}, {"batch": 0}]
)
def test_a_machine_that_cannot_be(numbers: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="plan: expected"):
        PlanOptions(**numbers)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="latent frames"):
        plan_preset("tiny", PlanOptions(gpus=8, context=8, batch=1), Grid(frames=4, rows=2, columns=2))
