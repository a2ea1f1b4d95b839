"""`make gpu` runs where this machine has no GPU: the script is whole, every line JSON, absence told and not guessed."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_figures
from tests.unit.house.source_tree import ROOT

SCRIPT = "benchmarks/gpu_figures.py"
# What a machine with torch, triton, transformers, safetensors, jaxtyping, pyarrow and typer alone has not.
ABSENT = ("diffusers", "fla", "av", "pycolmap", "ray", "cv2", "kornia", "decord", "webdataset", "sklearn", "scipy",
          "PIL", "rich", "polars", "matplotlib", "moderngl", "xxhash", "skimage", "jinja2")  # fmt: skip
HIDE = f"""
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {ABSENT!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
"""


def run(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{path}", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("part", gpu_figures.PARTS)
def test_every_line_runs(part: str) -> None:
    rows = [gpu_figures.say(**row) for row in gpu_figures.PARTS[part].rows(gpu_figures.DRY)]
    assert len(rows) >= {"machine": 1, "gradients": 6, "block": 4, "forward": 1, "learn": 2}.get(
        part, 1 if part.startswith("stage") else 4
    )
    for row in rows:
        assert part.startswith(row["figure"].split()[0])
        assert "ms" not in row, "no figure without a GPU"
        assert row.get("passes") is not False
        if row["figure"] == "stage":
            assert row["passes"] is True, row
            assert math.isfinite(row["loss"])
            assert 0 < row["grad_norm"] < math.inf
        if row["figure"] in ("op", "block", "forward tiny"):
            told = row.get("not_measured", "")
            assert row.get("ran") is True or "triton" in told or "fla" in told, row


@pytest.mark.timeout(300)
def test_parts_run_apart_with_few_packages(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    parts = ("machine", "op diffusers torch", "forward", "learn")
    done = run("--dry-run", "--part", *parts, path=f"{os.pathsep}{tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    learnt = ["learn train", "learn samples"]
    assert [row["figure"] for row in rows] == ["machine", *["op"] * 4, "forward tiny", *learnt, "total"]
    assert rows[0]["dry_run"] is True
    assert all(row["not_measured"] == "ModuleNotFoundError: No module named 'diffusers'" for row in rows[1:5])
    assert rows[5]["ran"] is True
    assert rows[6]["ran"] is True
    assert set(rows[7]["psnr_db"]) == {"true", "shuffled", "repeat"}
    assert rows[8] | {"seconds": 0} == {"figure": "total", "seconds": 0, "failed_checks": [], "lost_parts": []}


def test_a_part_that_is_lost_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert gpu_figures.apart(["--part", "nonsense"], "block", None) == 2
    assert gpu_figures.apart(["--dry-run", "--part", "machine", "--here"], "machine", 0.01) is None
    crashed, late = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert crashed["figure"] == "block"
    assert "exit code 2" in crashed["not_measured"]
    assert "invalid choice: 'nonsense'" in crashed["not_measured"]
    assert late == {"figure": "machine", "not_measured": "the rest of it: stopped after 0.01 s"}


def test_a_gradient_that_is_no_number_fails_its_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of the inputs, where Python's `max` passes a NaN over."""
    real: Callable[..., torch.Tensor] = gpu_figures.ours

    def broken(inputs: list[torch.Tensor], backend: str) -> torch.Tensor:
        out = real(inputs, backend)  # type: ignore[arg-type]
        return out if backend == "literal" else out + 0 * inputs[4].abs().sub(inputs[4].abs()).sqrt()

    monkeypatch.setattr(gpu_figures, "ours", broken)
    row = next(gpu_figures.gradient_checks(gpu_figures.DRY))
    assert row["passes"] is False
    gpu_figures.say(**row)
    assert json.loads(capsys.readouterr().out)["gradient"] is None


def test_no_gpu_is_one_line() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip() == "error: expected a CUDA GPU, found none; figures of a GPU are measured on one"
