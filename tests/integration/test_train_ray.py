"""`wmkit train --launcher ray`: two Ray Train workers, gloo on the CPU, take the steps of one process."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.integration.test_train_sample import SETTINGS, call
from tests.shard_samples import make_shards
from wmkit.errors import ConfigError
from wmkit.train.checkpoint import find_checkpoint
from wmkit.train.launch import launch_ray
from wmkit.train.metrics_log import read_metrics
from wmkit.train.run import TrainOptions, run_train

# Starting Ray and its workers takes most of a minute on two idle cores.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
# Ray Train sets up Ray Data, which warns of settings of its own.
pytestmark += [pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data")]

# float32; the team adds the same gradients in another order, three steps of AdamW long.
TOLERANCE = 1e-4


def test_two_workers_take_the_steps_of_one_and_their_errors_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = make_shards(tmp_path, clips=2)
    settings = tuple(word for word in SETTINGS if word != "--set")
    alone = run_train(TrainOptions(data=shards, out=tmp_path / "alone", settings=settings))
    flags = ("--launcher", "ray", "--processes", 2, "--tensorboard", "--ray-address", "local")
    code, told, _ = call(capsys, "train", "--data", shards, "--out", tmp_path / "run", *SETTINGS, *flags)
    assert code == 0
    assert set(told) == set(alone.to_json())
    assert (told["steps"], told["resumed"], told["parameters"]) == (3, 0, alone.result.parameters)
    assert Path(told["checkpoint"]) == find_checkpoint(tmp_path / "run")
    losses = [[row.loss for row in read_metrics(tmp_path / name / "metrics.jsonl")] for name in ("alone", "run")]
    assert losses[1] == pytest.approx(losses[0], rel=TOLERANCE)
    one, two = (load_file(find_checkpoint(tmp_path / name) / "model.safetensors") for name in ("alone", "run"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=TOLERANCE, atol=TOLERANCE)
    assert "step 3/3" in (tmp_path / "run" / "ray.log").read_text()
    assert len(list((tmp_path / "run" / "events").iterdir())) == 1

    other = TrainOptions(data=shards, out=tmp_path / "run", settings=(*settings, "model.width=32"))
    with pytest.raises(ConfigError, match=r"model\.width"):
        launch_ray(other, 2, "local")
    state = json.loads((find_checkpoint(tmp_path / "run") / "state.json").read_text())
    assert state["step"] == 3
