"""Training killed for real: resumed, it ends in the same bytes as a run that nobody disturbed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wmkit.train.metrics_log import read_metrics

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
STEPS = "6"  # a checkpoint every 2


def driver(*arguments: str) -> int:
    command = [sys.executable, "-m", "tests.faults.train_driver", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert driver(str(out), STEPS, "fresh") == 0
    return out


@pytest.mark.parametrize(
    "point",
    [
        "step:5",  # steps 3 to 5 are lost and done again
        "writing:step-000004",  # a step after it, while it is half written
        "before:step-000004",  # the folder is written but not in place
        "after:step-000004",  # it is, but `latest` names the one before
        "after:latest",  # at the first checkpoint, before anything was removed
    ],
)
def test_killed_and_resumed(undisturbed: Path, tmp_path: Path, point: str) -> None:
    out = tmp_path / "run"
    assert driver(str(out), STEPS, "fresh", point) == -signal.SIGKILL
    assert driver(str(out), STEPS, "resume") == 0
    names = ["step-000004", "step-000006"]
    for run in (undisturbed, out):
        assert sorted(path.name for path in (run / "checkpoints").iterdir()) == names
        assert (run / "latest").read_text() == "step-000006\n"
    for name in names:
        for path in sorted((undisturbed / "checkpoints" / name).iterdir()):
            assert path.read_bytes() == (out / "checkpoints" / name / path.name).read_bytes(), f"{name}/{path.name}"
    losses = [[(row.step, row.loss) for row in read_metrics(run / "metrics.jsonl")] for run in (undisturbed, out)]
    assert losses[0] == losses[1]


def test_killed_before_the_first_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    """There is nothing to resume from: the same command begins again, without complaint about the folder."""
    out = tmp_path / "run"
    assert driver(str(out), STEPS, "fresh", "step:1") == -signal.SIGKILL
    assert driver(str(out), STEPS, "fresh") == 0
    final = "checkpoints/step-000006/model.safetensors"
    assert (undisturbed / final).read_bytes() == (out / final).read_bytes()
