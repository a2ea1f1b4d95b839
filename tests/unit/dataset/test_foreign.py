"""Tars of other makers: the samples that the webdataset package sees, by our index and offsets, or a named error."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from wmkit.dataset.members import read_samples
from wmkit.errors import CorruptShardError

# Run apart: the package reads WDS_SECURE when it is imported, and its warnings are not ours.
WRITER = """
import sys
import webdataset as wds
with wds.ShardWriter(sys.argv[1] + "/their-%03d.tar", maxcount=3, verbose=0) as writer:
    for number in range(7):
        writer.write({
            "__key__": f"walks/{number:04d}",
            "json": {"number": number},
            "mp4": bytes([number]) * (number * 700),
            "seg.mask.bin": b"m" * 512,
            "txt": "Größe",
        })
"""
READER = """
import hashlib, json, sys
import webdataset as wds
found = []
for sample in wds.WebDataset(sys.argv[1:], shardshuffle=False, nodesplitter=wds.split_by_node):
    parts = {name: hashlib.sha256(data).hexdigest() for name, data in sample.items() if not name.startswith("__")}
    found.append([sample["__key__"], parts])
print(json.dumps(found))
"""


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    secure = {"WDS_SECURE": "1"} if script is READER else {}  # its writer opens no file by name otherwise
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=secure)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ours(tars: list[Path]) -> list[list]:
    return [
        [sample.key, {name: hashlib.sha256(sample.read(name)).hexdigest() for name in sample.parts}]
        for tar in tars
        for sample in read_samples(tar)
    ]


def test_what_webdataset_writes_is_read_as_it_reads_it(tmp_path: Path) -> None:
    run(WRITER, str(tmp_path))
    tars = sorted(tmp_path.glob("*.tar"))
    assert len(tars) == 3
    theirs = json.loads(run(READER, *map(str, tars)))
    assert ours(tars) == theirs
    assert [key for key, _ in theirs] == [f"walks/{number:04d}" for number in range(7)]
    assert set(theirs[0][1]) == {"json", "mp4", "seg.mask.bin", "txt"}


NAMES = ["__meta__", "__notes__/k0.txt", "d/a.b/k1.Mp4", "d/a.b/k1.seg.json", "README", "k2.txt"]


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_layout_of_tar_is_read(layout: int, tmp_path: Path) -> None:
    """Long and non-ASCII names too, where the layout has room; folders and notes are no samples."""
    names = list(NAMES)
    if layout != tarfile.USTAR_FORMAT:
        names += ["l" * 150 + ".txt", "größe.txt"]
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=layout) as archive:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(name.encode()), 12345
            archive.addfile(info, io.BytesIO(name.encode()))
    found = read_samples(path)
    wanted = {"d/a.b/k1": ["mp4", "seg.json"], "k2": ["txt"], "l" * 150: ["txt"], "größe": ["txt"]}
    if layout == tarfile.USTAR_FORMAT:
        wanted = {key: parts for key, parts in wanted.items() if key in ("d/a.b/k1", "k2")}
    assert {sample.key: list(sample.parts) for sample in found} == wanted
    assert found[0].read("mp4") == b"d/a.b/k1.Mp4"
    assert ours([path]) == json.loads(run(READER, str(path)))


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("k.txt"))
        info = tarfile.TarInfo("k.bin")
        info.size = 2000
        archive.addfile(info, io.BytesIO(bytes(2000)))
    (sample,) = read_samples(tmp_path / "x.tar")
    with pytest.raises(CorruptShardError, match=r"sample k: expected \.mp4, got txt, bin"):
        sample.read("mp4")
    with open(tmp_path / "x.tar", "r+b") as file:
        file.truncate(1600)
    with pytest.raises(CorruptShardError, match=r"expected 2000 bytes of \.bin, got 576"):
        sample.read("bin")
