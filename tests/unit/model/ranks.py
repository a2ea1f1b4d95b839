"""A test's worker module run as several real processes, one a rank."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.unit.house.source_tree import ROOT

__all__ = ["run_ranks"]


def run_ranks(module: str, ranks: int, folder: Path, timeout_s: float) -> list[dict[str, Any]]:
    """What each rank of `python -m MODULE RANK RANKS FOLDER` saved as FOLDER/rankR.pt; all must end well."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(rank), str(ranks), str(folder)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for worker in workers:
        _, complaint = worker.communicate(timeout=timeout_s)
        assert worker.returncode == 0, complaint
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(ranks)]
