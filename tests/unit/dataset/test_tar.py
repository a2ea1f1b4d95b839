"""Our tar writer: the bytes of `tarfile`, and no name before the disk has given every byte back."""

import hashlib
import io
import os
import resource
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.atomic import sync_file
from wmkit.dataset import tar
from wmkit.dataset.tar import BLOCK, ShardFile, member_header, padded
from wmkit.errors import CorruptShardError, InputError

NAMES = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=100)


@given(NAMES, st.integers(0, 8**11 - 1))
def test_a_header_is_the_one_tarfile_makes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert member_header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("", 1), ("a" * 101, 1), ("é" * 51, 1), ("a.mp4", 8**11)])
def test_what_no_header_can_say_is_refused(name: str, size: int) -> None:
    with pytest.raises(InputError, match="below 8 GiB"):
        member_header(name, size)


@given(st.lists(st.binary(max_size=1300), max_size=6))
def test_members_are_found_where_add_said(payloads: list[bytes]) -> None:
    path = Path(os.environ["PYTEST_TAR_FOLDER"]) / "train-000000.tar"
    file = ShardFile(path)
    places = [file.add(f"k{number}.bin", data) for number, data in enumerate(payloads)]
    shard = file.close(len(payloads))
    data = path.read_bytes()
    assert (shard.size, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(data) == sum(padded(len(payload)) for payload in payloads) + 2 * BLOCK
    assert [data[at : at + len(payload)] for at, payload in zip(places, payloads, strict=True)] == payloads
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [(info.name, info.offset_data) for info in archive] == [(f"k{n}.bin", at) for n, at in enumerate(places)]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_TAR_FOLDER", str(tmp_path))


def test_a_disk_that_gives_back_other_bytes_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ShardFile(tmp_path / "a.tar")
    at = file.add("k.bin", b"payload")

    def sync_of_a_bad_disk(path: Path) -> None:
        with open(path, "r+b") as behind:
            behind.seek(at)
            behind.write(b"P")
        sync_file(path)

    monkeypatch.setattr(tar, "sync_file", sync_of_a_bad_disk)
    with pytest.raises(OSError, match="other bytes than were written"):
        file.close(1)
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_is_not_the_wanted_one_gets_no_name(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"what was there")
    file = ShardFile(tmp_path / "a.tar")
    file.add("k.bin", b"payload")
    with pytest.raises(CorruptShardError, match="expected to make the bytes of sha256 00"):
        file.close(1, sha256="00")
    file.discard()
    assert (tmp_path / "a.tar").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Files end at `size` bytes, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_an_error_and_no_file(tmp_path: Path) -> None:
    file = ShardFile(tmp_path / "a.tar")
    file.add("k.bin", bytes(4000))
    with small_disk(700), pytest.raises(OSError, match="File too large"):
        file.close(1)
    file.discard()
    assert list(tmp_path.iterdir()) == []
