"""`precompute` killed at its renames: the same command makes the same bytes, and no finished shard twice."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.precompute_doubles import captioned_shards
from wmkit.dataset.verify import verify_shards

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]


def driver(*arguments: object) -> dict | None:
    """What the run said, None if it was killed."""
    command = [sys.executable, "-m", "tests.faults.precompute_driver", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned_shards(tmp_path_factory.mktemp("precompute"))


@pytest.fixture(scope="module")
def undisturbed(source: Path) -> dict[str, bytes]:
    assert driver(source, source.parent / "undisturbed") is not None
    return contents(source.parent / "undisturbed")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("point", "kept"),
    [
        ("after:train-000001.tar", 1),  # whole, but no note says so
        ("after:train-000001.tar.json", 2),  # every shard, no index
    ],
)
def test_killed_and_run_again(
    point: str, kept: int, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert driver(source, out, point) is None
    assert not (out / "shards.json").exists()
    told = driver(source, out)
    assert told is not None
    assert (told["kept"], told["made"]) == (kept, 2 - kept)
    assert contents(out) == undisturbed
    assert verify_shards(out).damage == ()
