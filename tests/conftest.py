"""Fixtures every test folder shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure, and the same commit draws the same examples everywhere.
settings.register_profile("wmkit", deadline=None, derandomize=True, database=None)
settings.load_profile("wmkit")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real clips (posed/, raw/, awkward/); skips where it is absent. $WMKIT_DATA overrides it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WMKIT_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real clips at {folder}: set WMKIT_DATA to the folder that holds posed/, raw/ and awkward/")
    return folder
