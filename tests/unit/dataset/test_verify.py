"""Verify and the loader against damage: cut anywhere, altered anywhere, and never a sample lost without a word."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wmkit import cli
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.schema import index_bytes, open_shards
from wmkit.dataset.tar import BLOCK
from wmkit.dataset.verify import verify_shards
from wmkit.errors import CorruptShardError, InputError

CONFIG = LoaderConfig(frames=4, height=16, width=16, batch_size=1)
FIRST = "train-000000.tar"


def flip(path: Path, offset: int) -> None:
    """Change one byte in place."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x20]))


def test_sound_shards_are_whole(sound_shards: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = verify_shards(sound_shards, lambda *at: calls.append(at), full=True)
    assert (report.damage, report.exit_code) == ((), 0)
    assert (report.shards, report.samples, report.frames) == (2, 3, 72)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert "whole" in report.lines()[0]


def cut_places(folder: Path) -> list[int]:
    """Every block border of the first tar, and a byte on either side of each."""
    size = (folder / FIRST).stat().st_size
    return sorted({place + by for place in range(0, size, BLOCK) for by in (-1, 0, 1) if 0 <= place + by < size})


def test_a_tar_cut_anywhere_is_caught(shards: Path) -> None:
    whole = (shards / FIRST).read_bytes()
    samples = [sample for sample in open_shards(shards).samples if sample.shard == FIRST]
    places = cut_places(shards)
    for place in places[:: max(1, len(places) // 24)] + places[-6:]:
        (shards / FIRST).write_bytes(whole[:place])
        report = verify_shards(shards)
        hit = {sample.key for sample in samples if max(p.offset + p.size for p in sample.parts) > place}
        assert {entry.sample for entry in report.damage} == hit | {""}
        assert {entry.file for entry in report.damage} == {FIRST}
        assert report.exit_code == 1
        with pytest.raises(CorruptShardError, match=FIRST):
            StreamingShards(shards, CONFIG)


def test_a_tar_cut_while_it_is_read_is_caught(shards: Path) -> None:
    loader = StreamingShards(shards, CONFIG)
    for path in shards.glob("*.tar"):
        with open(path, "r+b") as file:
            file.truncate(3 * BLOCK)
    with pytest.raises(CorruptShardError, match=r"train-00000\d\.tar: sample [0-9a-f]{32}: expected \.\S+ whole"):
        loader.replay(0)


@pytest.mark.parametrize("part", ["mp4", "json", "trajectory.npy", "intrinsics.npy"])
def test_one_altered_byte_in_a_part_is_named(part: str, shards: Path) -> None:
    sample = open_shards(shards).samples[1]
    flip(shards / sample.shard, sample.part(part).offset + sample.part(part).size // 2)
    report = verify_shards(shards)
    assert {(entry.file, entry.sample) for entry in report.damage} == {(FIRST, ""), (FIRST, sample.key)}
    assert any(f".{part}" in entry.what for entry in report.damage)
    if part != "json":  # the loader does not read it
        loader = StreamingShards(shards, CONFIG)
        with pytest.raises(CorruptShardError, match=sample.key):
            [loader.replay(step) for step in range(3)]


def test_an_altered_header_is_named(shards: Path) -> None:
    sample = open_shards(shards).samples[0]
    flip(shards / sample.shard, sample.part("json").offset - BLOCK + 3)
    damage = [entry for entry in verify_shards(shards).damage if entry.sample]
    assert [entry.sample for entry in damage] == [sample.key]
    assert "tar header of .json" in damage[0].what


def test_an_altered_byte_between_samples_is_caught(shards: Path) -> None:
    flip(shards / FIRST, (shards / FIRST).stat().st_size - 5)
    (entry,) = verify_shards(shards).damage
    assert (entry.file, entry.sample) == (FIRST, "")
    assert "sha256" in entry.what


def test_a_missing_and_a_foreign_tar_are_named(shards: Path) -> None:
    shutil.move(shards / FIRST, shards / "extra.tar")
    damage = verify_shards(shards).damage
    assert {entry.file for entry in damage} == {FIRST, "extra.tar"}
    assert len({entry.sample for entry in damage}) == 3  # two samples, and the files themselves
    with pytest.raises(CorruptShardError, match="no such file"):
        StreamingShards(shards, CONFIG)


def test_a_damaged_index_is_damage_and_the_tars_are_still_checked(shards: Path) -> None:
    flip(shards / "index.parquet", 100)
    flip(shards / FIRST, 5)
    assert [entry.file for entry in verify_shards(shards).damage] == ["index.parquet", FIRST]


def rewritten_index(shards: Path, change: Callable[[dict], dict]) -> None:
    """Replace the index by one that its head vouches for but that lies."""
    import hashlib
    from dataclasses import replace

    samples = list(open_shards(shards).samples)
    samples[0] = replace(samples[0], **change({"frames": samples[0].frames, "posed": samples[0].posed}))
    data = index_bytes(samples)
    (shards / "index.parquet").write_bytes(data)
    head = json.loads((shards / "shards.json").read_bytes())
    head["index"]["sha256"] = hashlib.sha256(data).hexdigest()
    (shards / "shards.json").write_text(json.dumps(head))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda row: {"frames": row["frames"] - 1}, "trajectory.npy"),
        (lambda row: {"posed": ~row["posed"]}, "posed"),
        (lambda row: {"width": 66}, "frame of 64x48"),
        (lambda row: {"shard": "train-000001.tar"}, "samples in index.parquet"),
    ],
)
def test_parts_that_do_not_agree_are_damage(change: Callable[[dict], dict], word: str, shards: Path) -> None:
    rewritten_index(shards, change)
    report = verify_shards(shards, full=True)
    assert report.exit_code == 1
    assert any(word in entry.what for entry in report.damage)


def test_the_verb_names_damage_and_exits_1(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(shards), "--full"]) == 0
    sample = open_shards(shards).samples[2]
    flip(shards / sample.shard, sample.part("mp4").offset)
    capsys.readouterr()
    assert cli.main(["verify", str(shards)]) == 1
    out = capsys.readouterr().out
    assert f"{sample.shard}: {sample.key}: expected .mp4" in out
    assert "DAMAGED, 1 of 3 samples" in out
    assert cli.main(["verify", str(shards), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    # Programs read these keys: a change is a breaking one.
    assert list(document) == ["path", "shards", "samples", "frames", "bytes", "damage"]
    assert list(document["damage"][0]) == ["file", "sample", "what"]
    assert cli.main(["verify", str(shards / "nowhere")]) == 2


def test_no_shards_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a shards folder"):
        verify_shards(tmp_path)
