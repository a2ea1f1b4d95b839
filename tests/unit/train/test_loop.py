"""The loop: it learns, stops and resumes bit for bit, and refuses another run's folder."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.train_doubles import FACTS, DrawnBatch, batch_of, run, small_config
from wmkit.errors import ConfigError, InputError
from wmkit.train.checkpoint import DataFacts
from wmkit.train.loop import train
from wmkit.train.metrics_log import StepMetrics, read_metrics
from wmkit.train.progress import SilentProgress
from wmkit.train.watch import Watch

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_learns_one_batch(tmp_path: Path) -> None:
    one = batch_of(0)
    smooth = DrawnBatch(one.video * 0 + 0.5, one.world_from_cam, one.intrinsics)
    config = small_config("steps=60", "optimizer.lr=0.01", "save_every=60")
    result = train(config, lambda step: smooth, FACTS, tmp_path / "run")
    assert result.first_loss is not None
    assert result.last_loss is not None
    assert result.last_loss < 0.5 * result.first_loss


def test_stopped_and_resumed_is_the_same_run(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", "steps=6")
    run(tmp_path / "parts", "steps=2")
    torch.manual_seed(99)  # nothing may hang on torch's global state
    run(tmp_path / "parts", "steps=4", resume=True)
    parts = run(tmp_path / "parts", "steps=6", resume=True)
    assert (parts.steps, parts.resumed) == (6, 4)
    assert contents(parts.checkpoint) == contents(whole.checkpoint)
    untimed = [
        [(row.step, row.loss, row.grad_norm, row.lr) for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "parts")
    ]
    assert untimed[0] == untimed[1]
    assert [row[0] for row in untimed[0]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("gone", [False, True], ids=["cut", "gone"])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "config.json"])
def test_a_torn_checkpoint_is_left_for_the_one_before(name: str, gone: bool, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", "steps=6")
    before = run(tmp_path / "torn", "steps=4")
    torn = before.checkpoint / name
    torn.unlink() if gone else torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    told: list[str] = []

    class Heard(SilentProgress):
        def note(self, text: str) -> None:
            told.append(text)

    again = train(small_config("steps=6"), batch_of, FACTS, tmp_path / "torn", watch=Watch(progress=Heard()))
    assert (again.resumed, again.steps) == (2, 6)
    assert contents(again.checkpoint) == contents(whole.checkpoint)
    assert len(told) == 1
    assert (str(torn.parent) if gone else str(torn)) in told[0]
    assert not gone or f"found no {name}" in told[0]
    assert told[0].endswith("; going on from step-000002")
    assert [row.step for row in read_metrics(tmp_path / "torn" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_when_all_are_torn_nothing_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "run", "steps=4")
    for path in (tmp_path / "run" / "checkpoints").glob("*/model.safetensors"):
        path.write_bytes(b"torn")
    with pytest.raises(InputError, match=r"step-000004/model\.safetensors: expected whole safetensors"):
        run(tmp_path / "run", "steps=6")


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", "steps=1"), run(tmp_path / "b", "steps=1", "seed=1")
    assert contents(first.checkpoint)["model.safetensors"] != contents(second.checkpoint)["model.safetensors"]


def test_a_finished_run_has_nothing_to_do(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    again = run(tmp_path / "run", resume=True)
    assert (again.resumed, again.last_loss, again.checkpoint) == (4, None, first.checkpoint)
    longer_ago = run(tmp_path / "run", "steps=3", resume=True)
    assert longer_ago.steps == 4


def test_learning_rate_warms_up(tmp_path: Path) -> None:
    run(tmp_path / "run", "optimizer.lr=0.003", "optimizer.warmup_steps=2")
    rates = [row.lr for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert rates == pytest.approx([0.001, 0.002, 0.003, 0.003])


def test_the_same_command_again_goes_on(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "run", "steps=2")
    again = run(tmp_path / "run")
    assert (again.steps, again.resumed) == (4, 2)
    assert contents(again.checkpoint) == contents(whole.checkpoint)
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        run(tmp_path / "run", "optimizer.lr=0.5")


def test_resume_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run"):
        run(tmp_path / "run", resume=True)


def test_another_config_is_refused_by_its_first_difference(tmp_path: Path) -> None:
    run(tmp_path / "run", "steps=1")
    settings = ("steps=2", "optimizer.lr=0.5", "model.mlp_ratio=2", "save_every=1", "keep=9")
    with pytest.raises(ConfigError) as caught:
        run(tmp_path / "run", *settings, resume=True)
    assert "has model.mlp_ratio = 3.0, this run asks for 2.0" in str(caught.value)
    with pytest.raises(ConfigError, match=r"optimizer\.lr = 0\.003"):
        run(tmp_path / "run", "optimizer.lr=0.5", resume=True)


def test_other_shards_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "run", "steps=1")
    other = DataFacts(digest="e" * 64, metric=1, up_to_scale=2)
    with pytest.raises(ConfigError, match="was trained on shards dddddddddddd, got eeeeeeeeeeee"):
        train(small_config("steps=2"), batch_of, other, tmp_path / "run", resume=True)


def test_a_loss_that_is_no_number_stops_and_names_its_samples(tmp_path: Path) -> None:
    def poisoned(step: int) -> DrawnBatch:
        batch = batch_of(step)
        if step == 2:
            batch.video[1, 3, 0, 0, 0] = float("nan")
        return batch

    with pytest.raises(ConfigError, match=r"step 3: .*a, b"):
        train(small_config(), poisoned, FACTS, tmp_path / "run")
    assert (tmp_path / "run" / "latest").read_text() == "step-000002\n"
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 2


def test_what_a_batch_raises_comes_through(tmp_path: Path) -> None:
    def broken(step: int) -> DrawnBatch:
        raise InputError(f"no batch {step}")

    with pytest.raises(InputError, match="no batch 0"):
        train(small_config(), broken, FACTS, tmp_path / "run")


def test_each_batch_is_asked_for_once_and_in_order(tmp_path: Path) -> None:
    asked: list[int] = []

    def counted(step: int) -> DrawnBatch:
        asked.append(step)
        return batch_of(step)

    train(small_config("steps=2"), counted, FACTS, tmp_path / "run")
    train(small_config("steps=5"), counted, FACTS, tmp_path / "run", resume=True)
    assert asked == [0, 1, 2, 3, 4]


def test_one_run_a_folder_at_a_time(tmp_path: Path) -> None:
    def intruding(step: int) -> DrawnBatch:
        with pytest.raises(InputError, match="another run"):
            run(tmp_path / "run", resume=True)
        return batch_of(step)

    train(small_config("steps=1"), intruding, FACTS, tmp_path / "run")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder that can be written"):
        run(tmp_path / "file" / "run")


def test_threads_come_back(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    run(tmp_path / "run", "steps=1")
    assert torch.get_num_threads() == 2


def test_metrics_are_one_json_object_a_line(tmp_path: Path) -> None:
    run(tmp_path / "run", "steps=2")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    keys = ["grad_norm", "loss", "lr", "peak_gib", "seconds", "step", "wait_s"]
    assert [sorted(json.loads(line)) for line in lines] == [keys] * 2


def test_a_line_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = '{"step": 1, "loss": 1.0, "grad_norm": 1.0, "lr": 0.1, "seconds": 0.5}\n'
    path.write_text(whole + whole[:30])
    assert read_metrics(path) == [StepMetrics(step=1, loss=1.0, grad_norm=1.0, lr=0.1, seconds=0.5)]


def test_the_loop_needs_little() -> None:
    """What a GPU machine with torch, numpy, safetensors and jaxtyping alone does not have must not be asked for."""
    code = "import sys, wmkit.train.loop; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert {"torch", "safetensors", "jaxtyping"} <= loaded
    assert not {"av", "cv2", "pyarrow", "pycolmap", "ray", "rich", "scipy", "skimage", "typer", "xxhash"} & loaded
