"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout's root folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data(repo_root: Path) -> Path:
    """Folder of real sequences, `$WMKIT_DATA` or ../shared/data beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("WMKIT_DATA", repo_root.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real sequences at {folder}; set WMKIT_DATA to their folder")
    return folder
