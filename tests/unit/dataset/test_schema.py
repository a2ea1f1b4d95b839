"""The folder's files: what they say, and that other readers see the same samples."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from wmkit.camera import ScaleKind
from wmkit.dataset.schema import PARTS, checksum, open_shards, read_part
from wmkit.errors import ConfigError, CorruptShardError, InputError


def test_head_and_index_account_for_every_byte(sound_shards: Path) -> None:
    folder = open_shards(sound_shards)
    head = json.loads((sound_shards / "shards.json").read_bytes())
    assert [shard.name for shard in folder.shards] == ["train-000000.tar", "train-000001.tar"]
    assert [shard.samples for shard in folder.shards] == [2, 1]
    for shard in folder.shards:
        data = (sound_shards / shard.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.size, shard.sha256)
    assert head["clips"] == head["samples"] == len(folder.samples) == 3
    assert head["frames"] == 72
    assert head["posed_frames"] == 69
    assert head["bytes"] == sum(shard.size for shard in folder.shards)
    assert head["dropped"] == {}
    assert {row["filter"] for row in head["thresholds"]} >= {"fov_x", "posed_ratio"}
    assert len(head["corpus_hash"]) == 64
    assert "world_from_cam" in head["conventions"]["trajectory.npy"]
    keys = [sample.key for sample in folder.samples]
    assert keys == sorted(keys)


def test_members_are_plain_and_lie_where_the_index_says(sound_shards: Path) -> None:
    found = {}
    for path in sorted(sound_shards.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
                assert member.isreg()
                found[member.name] = (path.name, member.offset_data, member.size)
    for sample in open_shards(sound_shards).samples:
        assert tuple(part.name for part in sample.parts) == PARTS
        for part in sample.parts:
            assert found.pop(f"{sample.key}.{part.name}") == (sample.shard, part.offset, part.size)
            assert checksum(read_part(sound_shards, sample, part.name)) == part.xxh3
    assert not found


def test_parts_say_what_the_corpus_said(sound_shards: Path) -> None:
    for sample in open_shards(sound_shards).samples:
        folder = sound_shards.parent / "corpus" / "clips" / sample.key[:2] / sample.key
        annotation = json.loads((folder / "annotation.json").read_bytes())
        record = json.loads(read_part(sound_shards, sample, "json"))
        assert {name: record[name] for name in ("clip", "view", "verdicts", "provenance")} == {
            name: annotation[name] for name in ("clip", "view", "verdicts", "provenance")
        }
        assert record["scale"] == {
            "kind": "up_to_scale", "unit": "median depth of the clip's points", "estimate": None,
        }  # fmt: skip
        assert record["frames"]["time_s"] == pytest.approx(np.arange(24) / 16)
        assert (record["frames"]["fps"], record["frames"]["count"]) == ("16", 24)
        with np.load(folder / "trajectory.npz", allow_pickle=False) as arrays:
            for name, key in (("trajectory.npy", "world_from_cam"), ("intrinsics.npy", "intrinsics")):
                part = np.load(io.BytesIO(read_part(sound_shards, sample, name)), allow_pickle=False)
                np.testing.assert_array_equal(part, arrays[key])
        assert sample.scale is ScaleKind.UP_TO_SCALE
        assert np.flatnonzero(~sample.posed).tolist() == [3]


def test_the_index_is_plain_parquet(sound_shards: Path) -> None:
    table = pq.read_table(sound_shards / "index.parquet")
    assert table.column_names == ["shard", "key", "frames", "width", "height", "scale", "posed", "parts"]
    assert table.column("frames").to_pylist() == [24, 24, 24]


# Run apart: the package reads WDS_SECURE when it is imported, and its warnings are not ours.
READER = """
import hashlib, json, sys
import webdataset as wds
assert wds.utils.enforce_security
found = {}
for sample in wds.WebDataset(sys.argv[1:], shardshuffle=False, nodesplitter=wds.split_by_node).decode():
    found[sample["__key__"]] = {
        "parts": sorted(name for name in sample if not name.startswith("__")),
        "key": sample["json"]["key"],
        "poses": sample["trajectory.npy"].shape,
        "cameras": sample["intrinsics.npy"].tolist(),
    }
raw = {}
for sample in wds.WebDataset(sys.argv[1:], shardshuffle=False, nodesplitter=wds.split_by_node):
    raw[sample["__key__"]] = {
        name: hashlib.sha256(data).hexdigest() for name, data in sample.items() if not name.startswith("__")
    }
print(json.dumps([found, raw]))
"""


def test_the_webdataset_package_reads_the_same_samples(sound_shards: Path) -> None:
    tars = [str(path) for path in sorted(sound_shards.glob("*.tar"))]
    done = subprocess.run(
        [sys.executable, "-c", READER, *tars], capture_output=True, text=True, check=False, env={"WDS_SECURE": "1"}
    )
    assert done.returncode == 0, done.stderr
    found, raw = json.loads(done.stdout)
    samples = open_shards(sound_shards).samples
    assert list(found) == list(raw) == [sample.key for sample in samples]
    for sample in samples:
        seen = found[sample.key]
        assert seen["parts"] == sorted(PARTS)
        assert seen["key"] == sample.key
        assert seen["poses"] == [24, 4, 4]
        cameras = np.load(io.BytesIO(read_part(sound_shards, sample, "intrinsics.npy")), allow_pickle=False)
        assert seen["cameras"] == cameras.tolist()
        ours = {name: hashlib.sha256(read_part(sound_shards, sample, name)).hexdigest() for name in PARTS}
        assert raw[sample.key] == ours


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run wmkit build-shards"):
        open_shards(tmp_path)
    with pytest.raises(InputError, match="expected a shards folder"):
        open_shards(tmp_path / "nowhere")
    (tmp_path / "building.json").write_text("{}")
    with pytest.raises(InputError, match="unfinished"):
        open_shards(tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", CorruptShardError),
        ("[]", CorruptShardError),
        ("{}", CorruptShardError),
        ('{"schema_version": 2}', ConfigError),
        ('{"schema_version": 1}', CorruptShardError),
        ('{"schema_version": 1, "shards": [{}]}', CorruptShardError),
        ('{"schema_version": 1, "shards": []}', CorruptShardError),
    ],
)
def test_a_head_that_is_none_is_one_line(text: str, error: type[Exception], shards: Path) -> None:
    (shards / "shards.json").write_text(text)
    with pytest.raises(error, match="again"):
        open_shards(shards)


@pytest.mark.parametrize("damage", ["gone", "cut", "altered"])
def test_a_damaged_index_is_named(damage: str, shards: Path) -> None:
    path = shards / "index.parquet"
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(data[:-100] if damage == "cut" else data[:50] + b"\0" + data[51:])
    with pytest.raises(CorruptShardError, match=r"index\.parquet"):
        open_shards(shards)


COUNTED = """
import os, sys
from pathlib import Path
from wmkit.dataset.schema import open_shards

def threads():
    names = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
    return sum("jemalloc" not in name for name in names)

before = threads()
open_shards(Path(sys.argv[1]))
print(threads() - before)
"""


def test_reading_the_index_leaves_no_thread_behind(sound_shards: Path) -> None:
    """One of Arrow's that still holds Python's bytes when the interpreter ends aborts it: exit 134 now and then."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, str(sound_shards)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0"]
