"""One tiny shard, damaged in every way there is: each cut, each header byte, each payload byte; none passes unseen."""

import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny_shards import KEYS, NAME, members, sealed, vouched
from wmkit.dataset.members import read_members
from wmkit.dataset.schema import open_shards
from wmkit.dataset.tar import BLOCK, END
from wmkit.dataset.verify import verify_shards
from wmkit.errors import CorruptShardError, InputError


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return sealed(tmp_path / "shards", members())


def headers(folder: Path) -> list[int]:
    return [member.offset - BLOCK for member in read_members(folder / NAME)]


def seen(folder: Path) -> list[str]:
    """What verify says, which has to be something."""
    damage = [str(entry) for entry in verify_shards(folder).damage]
    assert damage
    return damage


def test_the_tiny_shard_is_whole(tiny: Path) -> None:
    assert verify_shards(tiny).damage == ()
    assert len(headers(tiny)) == 8
    (entry, other) = verify_shards(tiny, full=True).damage
    assert "mp4" in entry.what
    assert "mp4" in other.what


def test_every_cut_at_a_block_is_seen(tiny: Path) -> None:
    whole = (tiny / NAME).read_bytes()
    for place in range(0, len(whole), BLOCK):
        (tiny / NAME).write_bytes(whole[:place])
        assert any(f"expected {len(whole)} bytes, got {place}" in line for line in seen(tiny)), place


def test_every_cut_is_seen_without_the_head(tiny: Path) -> None:
    """A plain reader ends without a word at most of these."""
    whole = (tiny / NAME).read_bytes()
    for place in range(0, len(whole), BLOCK):
        (tiny / "cut.tar").write_bytes(whole[:place])
        with pytest.raises(CorruptShardError, match="whole tar"):
            read_members(tiny / "cut.tar")


def test_every_byte_of_a_header_is_seen(tiny: Path) -> None:
    """Of the first and the last member: every one of the 512 bytes, the unused ones too; and its sample is named."""
    whole, places = (tiny / NAME).read_bytes(), headers(tiny)
    for key, start in ((KEYS[0], places[0]), (KEYS[1], places[-1])):
        for place in range(start, start + BLOCK):
            (tiny / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
            damage = verify_shards(tiny).damage
            assert {entry.sample for entry in damage} == {"", key}, place


def test_every_used_byte_of_every_header_ends_a_strict_walk(tiny: Path) -> None:
    """Without any index: a tar header vouches for itself, and what it no longer vouches for is an error here."""
    whole, found = (tiny / NAME).read_bytes(), read_members(tiny / NAME)
    path = tiny / "flipped.tar"
    for start in headers(tiny):
        for place in range(start, start + BLOCK):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
            try:
                assert read_members(path) == found, place  # read the same: a byte of the checksum's own padding
                assert place - start in (154, 155), place
            except CorruptShardError as error:
                assert "flipped.tar: expected a whole tar" in str(error)  # noqa: PT017 - both ends are good


def test_every_byte_of_a_payload_is_seen(tiny: Path) -> None:
    whole = (tiny / NAME).read_bytes()
    for member in read_members(tiny / NAME)[:4]:
        for place in range(member.offset, member.offset + member.size):
            (tiny / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert {entry.sample for entry in verify_shards(tiny).damage} == {"", KEYS[0]}, place


def test_every_byte_of_padding_and_end_is_seen(tiny: Path) -> None:
    whole = (tiny / NAME).read_bytes()
    member = read_members(tiny / NAME)[-1]
    for place in range(member.offset + member.size, len(whole), 7):
        (tiny / NAME).write_bytes(whole[:place] + b"x" + whole[place + 1 :])
        assert any("sha256" in line for line in seen(tiny)), place


@pytest.mark.parametrize("end", [b"", END[:BLOCK], bytes(BLOCK) + b"x" * BLOCK, END + b"x" * BLOCK])
def test_a_missing_end_is_seen_even_where_everything_vouches_for_it(end: bytes, tmp_path: Path) -> None:
    assert any("expected a whole tar" in line for line in seen(sealed(tmp_path / "s", members(), end=end)))


def test_parts_apart_are_seen_even_where_everything_vouches_for_them(tmp_path: Path) -> None:
    apart = members()
    apart[3], apart[4] = apart[4], apart[3]
    assert any("apart from its other parts" in line for line in seen(sealed(tmp_path / "s", apart)))


def test_a_part_that_is_there_twice_is_seen(tmp_path: Path) -> None:
    twice = members()
    twice.insert(1, twice[0])
    assert any("a second .intrinsics.npy" in line for line in seen(sealed(tmp_path / "s", twice)))


def test_a_key_that_is_there_twice_is_seen(tmp_path: Path) -> None:
    """In the tar, and in an index that lists one sample again."""
    assert any("together" in line for line in seen(sealed(tmp_path / "s", [*members(), *members()[:4]])))
    folder = sealed(tmp_path / "t", members())
    tar = (folder / NAME).read_bytes()
    one, other = open_shards(folder).samples
    vouched(folder, tar, [one, one, other])
    assert any("one sample of this key, got 2" in line for line in seen(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:1],
        lambda rows: rows[::-1],
        lambda rows: [replace(rows[0], parts=rows[0].parts[:3]), rows[1]],
        lambda rows: [replace(rows[0], key=rows[0].key[:-1] + "c"), rows[1]],
    ],
    ids=["a sample less", "another order", "a part less", "another key"],
)
def test_an_index_that_is_not_the_tars_is_seen(change: Callable[[tuple], list], tiny: Path) -> None:
    vouched(tiny, (tiny / NAME).read_bytes(), list(change(open_shards(tiny).samples)))
    assert any("plain reader finds" in line for line in seen(tiny))


@pytest.mark.parametrize(
    ("part", "words"),
    [("trajectory.npy", r"cameras \(.trajectory.npy\)"), ("intrinsics.npy", r"cameras \(.intrinsics.npy\)"),
     ("mp4", "a part .mp4"), ("json", "a part .json")],
)  # fmt: skip
def test_a_sample_without_cameras_is_not_opened(part: str, words: str, tmp_path: Path) -> None:
    """Head, index and tar agree: only that nobody can train on it is wrong."""
    folder = sealed(tmp_path / "s", [row for row in members() if row[:2] != (KEYS[1], part)])
    with pytest.raises(CorruptShardError, match=f"expected {words} of every sample, got none of {KEYS[1]}; build"):
        open_shards(folder)
    assert any(KEYS[1] in line and part in line for line in seen(folder))


def test_a_stale_index_is_seen(tiny: Path, tmp_path: Path) -> None:
    """The index of another build of the same clips; and one whose head came with it."""
    other = sealed(tmp_path / "other", [(key, name, data + b" " * (name == "json")) for key, name, data in members()])
    for name in ("index.parquet", "shards.json"):
        (tiny / name).write_bytes((other / name).read_bytes())
        assert seen(tiny)


def test_a_missing_shard_is_seen(tiny: Path) -> None:
    (tiny / NAME).unlink()
    assert any(line == f"{NAME}: expected a shard, found none" for line in seen(tiny))


def hostile(path: Path, change: Callable[[tarfile.TarInfo], None]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("a.json")
        change(info)
        archive.addfile(info)
    return path


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("name", "../../home/x.json", "below the tar's own folder"),
        ("name", "/etc/x.json", "below the tar's own folder"),
        ("name", "a/../../x.json", "below the tar's own folder"),
        ("type", tarfile.SYMTYPE, "link"),
        ("type", tarfile.LNKTYPE, "link"),
        ("type", tarfile.CHRTYPE, "device"),
        ("type", tarfile.FIFOTYPE, "device"),
    ],
)
def test_a_hostile_member_is_refused_by_name(field: str, value: str | bytes, word: str, tmp_path: Path) -> None:
    path = hostile(tmp_path / "x.tar", lambda info: setattr(info, field, value))
    with pytest.raises(CorruptShardError, match=word):
        read_members(path)


def test_no_tar_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        read_members(tmp_path / "x.tar")
    for data in (b"", b"x" * 3000, b"\x1f\x8b" + bytes(2000)):
        (tmp_path / "x.tar").write_bytes(data)
        with pytest.raises(CorruptShardError, match="whole tar"):
            read_members(tmp_path / "x.tar")
