"""The short form of `python -m tests.faults.power`: the power fails at a few points of every session."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.disk_log import KEEPS, Disk, read_notes, record
from tests.faults.power import SESSIONS, Point, Recorded, perform, points_of, replay

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

POINTS = 16  # of some 200 to 750 a session; `make chaos` takes all


@pytest.fixture(scope="module", params=SESSIONS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return perform(request.param, tmp_path_factory.mktemp(request.param))


def test_a_power_cut_costs_nothing_that_was_done(recorded: Recorded, tmp_path: Path) -> None:
    points = random.Random(0).sample(points_of(recorded), POINTS)
    found = {point: replay(recorded, point, tmp_path / "cut") for point in points}
    assert not {point: what for point, what in found.items() if what is not None}


def test_it_would_be_noticed_that_bytes_are_not_synced(recorded: Recorded, tmp_path: Path) -> None:
    assert any(without("sync", "names", recorded, tmp_path))


@pytest.mark.parametrize("recorded", ["annotate"], indirect=True)  # what else is gone whole is simply done again
def test_it_would_be_noticed_that_names_are_not_synced(recorded: Recorded, tmp_path: Path) -> None:
    assert any(without("sync_folder", "any", recorded, tmp_path))


def without(what: str, keeps: str, recorded: Recorded, folder: Path) -> list[str | None]:
    """Power cuts after the first command, by the same notes as of a program that does not sync files, or folders."""
    blind = replace(recorded, notes=[note for note in recorded.notes if note.what != what])
    last = sum(note.what != what for note in recorded.notes[: recorded.ends[0]])
    return [replay(blind, Point(last, 0, keeps), folder / "cut", seed) for seed in range(8)]


def test_the_notes_are_of_every_way_to_change_a_folder(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    with record(root, log):
        (root / "a").mkdir()
        (root / "a/b").write_text("one")
        with open(root / "a/b", "a") as file:
            file.write(" two")
            file.flush()
            os.fsync(file.fileno())
        (root / "a/b").rename(root / "c")
        shutil.rmtree(root / "a")
        (root / "c").unlink()
        (tmp_path / "elsewhere").write_text("not noted")
    told = [(note.what, note.path, note.to) for note in read_notes(log)]
    assert told == [
        ("mkdir", "a", ""),
        ("truncate", "a/b", ""),
        ("touch", "a/b", ""),
        ("sync", "a/b", ""),
        ("rename", "a/b", "c"),
        ("remove", "a", ""),
        ("remove", "c", ""),
    ]


def test_what_a_power_cut_leaves(tmp_path: Path) -> None:
    """The classic: a file renamed over another one before its bytes are on disk."""
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    with record(root, log):
        (root / "new").write_text("bytes")
        os.replace(root / "new", root / "name")
    left = {}
    for keeps in ("nothing", "names"):
        Disk(log, read_notes(log), 2).cut(tmp_path / keeps, KEEPS[keeps], random.Random(0))
        left[keeps] = {path.name: path.read_bytes() for path in (tmp_path / keeps).iterdir()}
    assert left == {"nothing": {}, "names": {"name": b""}}
