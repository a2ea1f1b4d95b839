"""Repair: the same bytes or nothing, from the corpus for a shard and from the shards for the index."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shard_samples import annotate_folder, make_clip, make_shards
from wmkit import cli
from wmkit.dataset.repair import repair_shards
from wmkit.dataset.schema import open_shards
from wmkit.dataset.verify import verify_shards
from wmkit.errors import InputError

FIRST, SECOND = "train-000000.tar", "train-000001.tar"


@pytest.fixture
def corpus(sound_shards: Path) -> Path:
    return sound_shards.parent / "corpus"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def alter(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:900] + bytes([data[900] ^ 1]) + data[901:])


DAMAGE = [cut, alter, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_made_again_without_a_corpus(damage: Callable[[Path], None], shards: Path) -> None:
    before = contents(shards)
    damage(shards / "index.parquet")
    report = repair_shards(shards, shards / "nowhere")
    assert (report.repaired, report.damage, report.exit_code) == (("index.parquet",), (), 0)
    assert contents(shards) == before


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_shards_are_made_again(damage: Callable[[Path], None], shards: Path, corpus: Path) -> None:
    before = contents(shards)
    damage(shards / FIRST)
    damage(shards / SECOND)
    calls: list[tuple[int, int]] = []
    report = repair_shards(shards, corpus, lambda *at: calls.append(at))
    assert (report.repaired, report.damage) == ((FIRST, SECOND), ())
    assert calls == [(1, 2), (2, 2)]
    assert contents(shards) == before
    assert verify_shards(shards, full=True).damage == ()


def test_whole_shards_are_left_alone(shards: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    report = repair_shards(shards, shards / "nowhere")
    assert (report.repaired, report.exit_code) == ((), 0)
    assert "nothing to repair" in report.lines()[0]
    assert {path: path.stat().st_mtime_ns for path in shards.iterdir()} == times


def test_index_and_shard_at_once_are_a_new_build(shards: Path, corpus: Path) -> None:
    cut(shards / FIRST)
    cut(shards / "index.parquet")
    before = contents(shards)
    with pytest.raises(InputError, match="run the same wmkit build-shards again"):
        repair_shards(shards, corpus)
    assert contents(shards) == before


def test_a_corpus_that_has_grown_since_still_serves(shards: Path, tmp_path: Path) -> None:
    built = make_shards(tmp_path / "more", clips=2, frames=8)
    before = contents(built)
    make_clip(tmp_path / "more" / "clips" / "late.mp4", 9, frames=8)
    annotate_folder(tmp_path / "more" / "clips", tmp_path / "more" / "corpus")
    cut(built / FIRST)
    assert repair_shards(built, tmp_path / "more" / "corpus").repaired == (FIRST,)
    assert contents(built) == before


def test_what_cannot_be_made_again_stays_and_says_why(
    shards: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first shard's sources have moved away; the second one's are still there."""
    moved = shutil.copytree(corpus, tmp_path / "corpus")
    samples = open_shards(shards).samples
    (folder,) = moved.glob(f"clips/*/{samples[0].key}")
    shutil.rmtree(folder)
    cut(shards / FIRST)
    cut(shards / SECOND)
    left = (shards / FIRST).read_bytes()
    command = ["repair", str(shards), "--corpus", str(moved)]
    assert cli.main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    # Programs read these keys: a change is a breaking one.
    assert list(document) == ["path", "shards", "repaired", "damage"]
    assert document["repaired"] == [SECOND]
    ((entry,)) = document["damage"]
    assert entry["file"] == FIRST
    assert samples[0].key in entry["what"]
    assert (shards / FIRST).read_bytes() == left
    assert cli.main(command) == 1
    assert "still DAMAGED, 1 of 3 files" in capsys.readouterr().out
    assert cli.main(["repair", str(shards), "--corpus", str(corpus)]) == 0
    assert f"{FIRST}: made again" in capsys.readouterr().out


def test_other_bytes_never_take_the_place(shards: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder of another version makes a good shard, and not this one."""
    monkeypatch.setattr("wmkit.dataset.frames.CRF", 30)
    (shards / FIRST).unlink()
    report = repair_shards(shards, corpus)
    assert report.repaired == ()
    assert "packages that encode" in report.damage[0].what
    assert not (shards / FIRST).exists()
    assert {path.name for path in shards.iterdir()} == {SECOND, "dropped.jsonl", "index.parquet", "shards.json"}
