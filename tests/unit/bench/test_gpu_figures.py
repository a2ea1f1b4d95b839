"""`make gpu` runs where this machine has no GPU: the script is whole, every line JSON, absence told and not guessed."""

import json
import os
import subprocess
import sys

import pytest

from tests.unit.house.source_tree import ROOT

SCRIPT = "benchmarks/gpu_figures.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(300)
def test_every_line_runs() -> None:
    done = run("--dry-run")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["figure"] == "machine"
    assert rows[0]["dry_run"] is True
    kinds = {row["figure"] for row in rows}
    assert kinds == {"machine", "gradients", "op", "block", "forward tiny", "total"}
    engines = {row["engine"] for row in rows if row["figure"] == "op"}
    assert {"wmkit scan", "diffusers torch", "fla chunk_gated_delta_rule", "sdpa"} <= engines
    for row in rows:
        assert "ms" not in row, "no figure without a GPU"
        if row["figure"] in ("op", "block", "forward tiny"):
            told = row.get("not_measured", "")
            assert row.get("ran") is True or "triton" in told or "fla" in told, row
    assert all(row["passes"] is not False for row in rows if row["figure"] == "gradients")


def test_no_gpu_is_one_line() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip() == "error: expected a CUDA GPU, found none; figures of a GPU are measured on one"
