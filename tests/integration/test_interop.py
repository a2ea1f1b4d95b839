"""Other packages read our shards and see the same samples: Megatron-Energon, HF datasets (webdataset: test_schema)."""

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shard_samples import make_shards
from wmkit.dataset.decode import load_array
from wmkit.dataset.schema import open_shards, read_part
from wmkit.dataset.writer import BuildOptions

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples in two tars; frame 3 of each has no pose, so its rows are NaN, and frames 2 and 5 have depth."""
    options = BuildOptions(shard_bytes=50_000, depth=True)
    return make_shards(tmp_path_factory.mktemp("interop"), unposed=(3,), depth=(2, 5), options=options)


def read_by(reader: str, module: str, shards: Path, home: Path) -> dict[str, dict[str, Any]]:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'wmkit[interop]'")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HOME": str(home)}
    command = [sys.executable, "-m", "tests.interop_reader", reader, str(shards)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_energon_prepares_and_reads_the_same_bytes(shards: Path, tmp_path: Path) -> None:
    seen = read_by("energon", "megatron", shards, tmp_path)
    samples = open_shards(shards).samples
    assert seen == {
        sample.key: {
            part.name: hashlib.sha256(read_part(shards, sample, part.name)).hexdigest() for part in sample.parts
        }
        for sample in samples
    }


def test_hf_datasets_reads_the_same_samples(shards: Path, tmp_path: Path) -> None:
    seen = read_by("datasets", "datasets", shards, tmp_path)
    samples = open_shards(shards).samples
    assert seen.keys() == {sample.key for sample in samples}
    for sample in samples:
        found = seen[sample.key]
        assert found["mp4"] == hashlib.sha256(read_part(shards, sample, "mp4")).hexdigest()
        assert found["json"].items() >= {"key": sample.key}.items()
        assert found["json"]["frames"]["count"] == sample.frames
        cameras = load_array(shards, sample, "intrinsics.npy", (sample.frames, 4))
        assert found["intrinsics.npy"] == cameras.tolist()
        poses = load_array(shards, sample, "trajectory.npy", (sample.frames, 4, 4))
        with np.load(io.BytesIO(read_part(shards, sample, "depth.npz")), allow_pickle=False) as maps:
            assert found["depth.npz"] == {name: maps[name].tolist() for name in maps.files}
        assert repr(found["trajectory.npy"]) == repr(poses.tolist()), "nan is equal to nan by its name alone"
