"""`bench loader` measures what it says: every reader the same bytes, every decoder the same frames."""

import json
from pathlib import Path

import pytest

from tests.shard_samples import make_shards
from wmkit import cli
from wmkit.bench.loader import bare_pread, checked_parts, webdataset_bytes
from wmkit.dataset.schema import open_shards
from wmkit.errors import CorruptShardError


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # webdataset's
def test_figures_of_a_small_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = make_shards(tmp_path, unposed=())
    samples = open_shards(shards).samples
    every = sum(part.size for sample in samples for part in sample.parts)
    tars = [str(path) for path in shards.glob("*.tar")]
    assert bare_pread(shards, samples) == checked_parts(shards, samples, check=True) == webdataset_bytes(tars) == every
    flags = ["--frames", "4", "--height", "32", "--width", "32", "--steps", "5", "--workers", "0"]
    assert cli.main(["bench", "loader", str(shards), *flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "shards", "samples", "samples_per_core_s", "pread_share", "decode_frames_per_core_s", "pyav_share",
        "workers", "steps", "wait_p50_ms", "wait_p99_ms",
    ]  # fmt: skip
    assert (found["samples"], found["steps"]) == (3, 4)
    assert set(found["samples_per_core_s"]) == {
        "ours, integrity full", "ours, integrity off", "bare pread", "webdataset",
    }  # fmt: skip
    assert set(found["decode_frames_per_core_s"]) == {"PyAV", "ours", "crop"}
    assert found["wait_p50_ms"] <= found["wait_p99_ms"]
    assert cli.main(["bench", "loader", str(shards), "--workers", "-1"]) == 2
    assert "--workers: expected at least 0" in capsys.readouterr().err
    tar = next(shards.glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[samples[0].parts[0].offset] ^= 1
    tar.write_bytes(data)
    with pytest.raises(CorruptShardError, match="got other bytes; run wmkit repair"):
        checked_parts(shards, samples, check=True)
