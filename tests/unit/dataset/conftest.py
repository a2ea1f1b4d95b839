"""Shards made once a session; tests that damage them work on copies."""

import shutil
from pathlib import Path

import pytest

from tests.shard_samples import make_shards
from wmkit.dataset.writer import BuildOptions


@pytest.fixture(scope="session")
def sound_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of 24 frames, 64x48 px, in two tars; frame 3 has no pose."""
    # Two samples of about 16 kB fit, three do not.
    options = BuildOptions(shard_bytes=40_000)
    return make_shards(tmp_path_factory.mktemp("dataset"), unposed=(3,), options=options)


@pytest.fixture
def shards(sound_shards: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(sound_shards, tmp_path / "shards")
