"""The import contracts of pyproject.toml hold, and would notice a breach."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.unit.house.source_tree import ROOT

LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_contracts_notice_a_breach(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "wmkit", tmp_path / "wmkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "wmkit" / "errors.py").open("a") as file:
        file.write("\nimport ray\n\nimport wmkit.camera\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert "wmkit.errors -> wmkit.camera" in done.stdout
    assert "wmkit.errors -> ray" in done.stdout
