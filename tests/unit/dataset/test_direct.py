"""`DirectFile` and `pieces_on_disk`: the bytes that were written, with and without the page cache."""

import errno
import os
from pathlib import Path

import pytest

from tests.unit.dataset.test_tar import small_disk
from wmkit.dataset.direct import DirectFile, pieces_on_disk

MIB = 1 << 20
DATA = os.urandom(9 * MIB + 777)


def _write(path: Path, sizes: list[int]) -> bytes:
    """`DATA` in parts of these sizes; what was to be in the file."""
    file, at = DirectFile(path), 0
    for size in sizes:
        file.write(DATA[at : at + size])
        at += size
    file.flush()
    file.close()
    return DATA[:at]


def _without_direct(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A file system that only knows the page cache; the paths for which it had to say so."""
    real_open, refused = os.open, []

    def without(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            refused.append(path)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", without)
    return refused


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0, 1],
        [512],
        [4 * MIB],
        [4 * MIB - 1, 1, 1],
        [3 * MIB, 3 * MIB, 513],
        [9 * MIB + 777],
    ],
)
def test_what_was_written_is_in_the_file_and_comes_back(
    sizes: list[int], direct: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [] if direct else _without_direct(monkeypatch)
    path = tmp_path / "file"
    expected = _write(path, sizes)
    assert path.read_bytes() == expected
    assert b"".join(bytes(piece) for piece in pieces_on_disk(path)) == expected
    assert len(refused) == (0 if direct else 2)


@pytest.mark.parametrize("limit", [100, 4 * MIB, 5 * MIB + 100])
def test_a_disk_that_is_full_anywhere_says_so(limit: int, tmp_path: Path) -> None:
    """Also where its room is no whole number of its blocks, which direct writing alone would call invalid."""
    with small_disk(limit), pytest.raises(OSError, match="File too large"):
        _write(tmp_path / "file", [6 * MIB])
    assert (tmp_path / "file").stat().st_size == limit
