"""A loader's tars stay open: what is read is what a fresh look would give, and a repaired tar is seen at once."""

import dataclasses
import os
from pathlib import Path

import pytest

from tests.shard_samples import make_shards
from wmkit.dataset import open_tar
from wmkit.dataset.open_tar import OpenTar
from wmkit.dataset.schema import Sample, open_shards, opened, read_part, sample_parts
from wmkit.dataset.writer import BuildOptions
from wmkit.errors import CorruptShardError


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three samples, two tars; opened by nobody yet."""
    return make_shards(tmp_path, options=BuildOptions(shard_bytes=40_000))


def replace(path: Path, data: bytes) -> None:
    """Another file under the same name, as `wmkit repair` puts one in place."""
    other = path.with_name("other")
    other.write_bytes(data)
    os.replace(other, path)


def flipped(path: Path, sample: Sample, name: str) -> bytes:
    data = bytearray(path.read_bytes())
    data[sample.part(name).offset] ^= 1
    return bytes(data)


def test_the_parts_of_a_sample_are_each_part(shards: Path) -> None:
    for sample in open_shards(shards).samples:
        together = sample_parts(shards, sample)
        assert list(together) == [part.name for part in sample.parts]
        assert {name: bytes(view) for name, view in together.items()} == {
            part.name: read_part(shards, sample, part.name) for part in sample.parts
        }


@pytest.mark.parametrize("order", ["reversed", "far apart", "one part", "none"])
def test_parts_that_do_not_follow_one_another_are_read_alone(shards: Path, order: str) -> None:
    (sample, *_) = open_shards(shards).samples
    first, *_, last = sample.parts
    far = dataclasses.replace(last, name="far", offset=last.offset + 1_000_000)
    parts = {"reversed": sample.parts[::-1], "far apart": (first, far), "one part": (last,), "none": ()}[order]
    odd = dataclasses.replace(sample, parts=parts)
    if order == "far apart":  # nothing is there: told, and not read as a megabyte
        with pytest.raises(CorruptShardError, match=r"expected \.far whole, got 0 of"):
            sample_parts(shards, odd)
        return
    want = {part.name: read_part(shards, sample, part.name) for part in parts}
    assert {name: bytes(view) for name, view in sample_parts(shards, odd).items()} == want


def test_damage_is_told_as_of_a_part(shards: Path) -> None:
    (sample, *_) = open_shards(shards).samples
    tar = shards / sample.shard
    sound = tar.read_bytes()
    tar.write_bytes(flipped(tar, sample, "mp4"))
    with pytest.raises(CorruptShardError, match=r"expected \.mp4 as it was written"):
        sample_parts(shards, sample)
    assert sample_parts(shards, sample, check=False)["mp4"] == read_part(shards, sample, "mp4", check=False)
    tar.write_bytes(sound[: sample.part("trajectory.npy").offset + 5])
    with pytest.raises(CorruptShardError, match=r"expected \.trajectory\.npy whole, got 5 of"):
        sample_parts(shards, sample, check=False)
    tar.unlink()
    open_tar.forget(shards)
    with pytest.raises(CorruptShardError, match=r"train-000000\.tar: sample .* got No such file"):
        sample_parts(shards, sample)


def test_a_repaired_tar_is_seen_at_once(shards: Path) -> None:
    (sample, *_) = open_shards(shards).samples
    tar = shards / sample.shard
    sound = tar.read_bytes()
    replace(tar, flipped(tar, sample, "json"))
    with pytest.raises(CorruptShardError):
        sample_parts(shards, sample)
    replace(tar, sound)
    assert bytes(sample_parts(shards, sample)["json"]) == read_part(shards, sample, "json")
    replace(tar, flipped(tar, sample, "json"))
    open_tar.forget(shards)
    with opened(shards, sample) as place:
        with pytest.raises(CorruptShardError):
            read_part(place, sample, "json")
        replace(tar, sound)
    with opened(shards, sample) as place:
        read_part(place, sample, "json")


def test_who_does_not_keep_tars_open_reads_what_has_the_name(shards: Path) -> None:
    """`wmkit verify` and `inspect` in a process that has read the shards before."""
    (sample, *_) = open_shards(shards).samples
    sample_parts(shards, sample)
    tar = shards / sample.shard
    replace(tar, flipped(tar, sample, "json"))
    sample_parts(shards, sample)  # the bytes of the tar that stayed open are those of the index
    with pytest.raises(CorruptShardError):
        read_part(shards, sample, "json")
    open_shards(shards)
    with pytest.raises(CorruptShardError):
        sample_parts(shards, sample)


def test_few_tars_stay_open(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_tar, "MOST_OPEN", 1)
    samples = open_shards(shards).samples
    assert len({sample.shard for sample in samples}) > 1
    before = len(os.listdir("/proc/self/fd"))
    with opened(shards, samples[0]) as place:
        assert isinstance(place, OpenTar)
        for sample in samples:
            sample_parts(shards, sample)
        read_part(place, samples[0], "json")  # room was made, and who still reads goes on
    assert len(os.listdir("/proc/self/fd")) <= before + 1
