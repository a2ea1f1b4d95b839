"""`wmkit precompute` with worker processes: the same bytes with one and two, which plain readers read."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.precompute_doubles import captioned_shards
from wmkit import cli
from wmkit.dataset.schema import open_shards, read_part
from wmkit.dataset.verify import verify_shards

FLAGS = ("--vae", "pixel-unshuffle=2x4", "--text", "hashed=8x4", "--frames", "9", "--hop", "3", "--size", "24x32")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned_shards(tmp_path_factory.mktemp("precompute"))


# Run apart: the package's warnings are not ours, nor are the files it leaves open. The first pass decodes.
READER = """
import hashlib, json, sys
import webdataset as wds
def stream():
    return wds.WebDataset(sys.argv[1:], shardshuffle=False, nodesplitter=wds.split_by_node)
counts = {sample["__key__"]: len(sample["trajectory.npy"]) for sample in stream().decode()}
raw = {}
for sample in stream():
    raw[sample["__key__"]] = {n: hashlib.sha256(d).hexdigest() for n, d in sample.items() if not n.startswith("__")}
print(json.dumps([counts, raw]))
"""


def read_plainly(folder: Path) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    tars = [str(path) for path in sorted(folder.glob("*.tar"))]
    done = subprocess.run([sys.executable, "-c", READER, *tars], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts, raw = json.loads(done.stdout)
    return counts, raw


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_verb_with_one_and_two_processes(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for workers in ("1", "2"):
        out = tmp_path / f"by{workers}"
        command = ["precompute", str(source), "--out", str(out), *FLAGS, "--executor", "local", "--workers", workers]
        assert cli.main([*command, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert sorted(told) == [
            "bytes", "captions", "components", "encoded", "failed", "frames", "kept", "made", "out", "samples",
            "shards", "windows",
        ]  # fmt: skip
        assert (told["encoded"], told["windows"], told["frames"]) == (3, 12, 108)
    assert contents(tmp_path / "by1") == contents(tmp_path / "by2")
    assert verify_shards(tmp_path / "by1", full=True).damage == ()
    counts, raw = read_plainly(tmp_path / "by1")
    for sample in open_shards(tmp_path / "by1").samples:
        assert counts[sample.key] == sample.frames
        ours = {part.name: read_part(tmp_path / "by1", sample, part.name) for part in sample.parts}
        assert raw[sample.key] == {name: hashlib.sha256(data).hexdigest() for name, data in ours.items()}
        assert "latent.safetensors" in raw[sample.key]
