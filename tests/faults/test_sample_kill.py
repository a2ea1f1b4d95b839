"""A benchmark's samples killed at their renames and amid a video: the same command makes the rest, the same bytes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sample_doubles import random_run, write_bench

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
PROMPTS = {"game_001": "a red room", "city_001": "a street"}


def driver(*arguments: object) -> dict | None:
    """What the run said, None if it was killed."""
    command = [sys.executable, "-m", "tests.faults.sample_driver", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    random_run(folder / "run")
    write_bench(folder / "bench", PROMPTS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path) -> dict[str, bytes]:
    assert driver(source / "run", source / "bench", source / "undisturbed") is not None
    return contents(source / "undisturbed")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("point", "whole", "kept"),
    [
        ("at:city_001", {"game_001.mp4"}, ["game_001"]),  # some frames are encoded, no name
        ("after:city_001.mp4", {"game_001.mp4", "city_001.mp4"}, ["game_001"]),  # a whole video, nothing says of what
        ("before:city_001.json", {"game_001.mp4", "city_001.mp4"}, ["game_001"]),
        ("after:city_001.json", {"game_001.mp4", "city_001.mp4"}, ["game_001", "city_001"]),
    ],
)
def test_killed_and_run_again(
    point: str, whole: set[str], kept: list[str], source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert driver(source / "run", source / "bench", out, point) is None
    found = {path.name: path.read_bytes() for path in out.glob("[!.]*.mp4")}
    assert found == {name: undisturbed[name] for name in whole}, "no half video under a final name"
    told = driver(source / "run", source / "bench", out)
    assert told is not None
    assert told["kept"] == kept
    assert contents(out) == undisturbed, "nothing else is left"
