"""build-shards end to end on real video files: same bytes, every drop counted, kills and damage mended."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.shard_samples import (
    CONFIG,
    annotate_exactly,
    annotate_folder,
    bare,
    make_clip,
    make_corpus,
    make_shards,
    record,
    source_row,
)
from tests.video_clips import Encoding, read_number, remux, write_clip
from wmkit import cli
from wmkit.annotate.pipeline import config_dict, config_hash
from wmkit.corpus import Corpus, LedgerRow, Status
from wmkit.dataset.decode import decode_frames
from wmkit.dataset.schema import open_shards, read_part
from wmkit.dataset.verify import verify_shards
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.errors import InputError
from wmkit.video import discover, identify, open_source

ROOT = Path(__file__).resolve().parents[2]
SMALL = BuildOptions(shard_bytes=16_000)  # one sample a shard


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_corpus_gives_the_same_bytes_with_one_writer_or_eight(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    build_shards(corpus, tmp_path / "a", dataclasses.replace(SMALL, workers=1))
    # Another place, another time, another number of writers.
    shutil.move(corpus, tmp_path / "moved")
    build_shards(tmp_path / "moved", tmp_path / "deep" / "b", dataclasses.replace(SMALL, workers=8))
    one, other = contents(tmp_path / "a"), contents(tmp_path / "deep" / "b")
    assert sorted(one) == [
        "dropped.jsonl", "index.parquet", "shards.json", *(f"train-00000{k}.tar" for k in range(3)),
    ]  # fmt: skip
    assert one == other


def everything_that_can_happen(folder: Path) -> tuple[Path, dict[str, int]]:
    """A corpus with one clip or more of every fate, and the count of each."""
    names = ["good", "late", "turned", "changed", "gone", "torn", "wide", "static", "failed", "old", "unfinished"]
    for number, name in enumerate(names):
        make_clip(folder / "clips" / f"{name}.mp4", number, frames=8)
    store = Corpus.create_or_open(folder / "corpus", config_dict(CONFIG), config_hash(CONFIG), update=False)  # type: ignore[arg-type]
    for found in discover([folder / "clips"]).clips:
        file, name = identify(found), Path(found.path).stem
        store.write_sources([source_row(file)])
        frames = open_source(file, CONFIG.video)
        annotation = annotate_exactly(frames, file, metric=name == "good")
        if name == "static":
            record(store, bare(frames.clip, frames, file, "static"), file)
        elif name == "failed":
            how = {"status": Status.FAILED, "stage": "decode", "code": "timeout", "message": "900 s"}
            store.append_ledger([LedgerRow(clip_id=file.clip_id, source=file.name, **how)])
        elif name == "old":
            older = dataclasses.replace(annotation.provenance, config_hash="0")
            record(store, dataclasses.replace(annotation, provenance=older), file)
        elif name == "wide":
            wide = tuple(
                dataclasses.replace(verdict, value=130.0) if verdict.name == "fov_x" else verdict
                for verdict in annotation.verdicts
            )
            record(store, dataclasses.replace(annotation, verdicts=wide), file)
        elif name != "unfinished":
            record(store, annotation, file)
        if name == "torn":
            (store.folder(file.clip_id) / "trajectory.npz").write_bytes(b"PK")
    os.remove(folder / "clips" / "gone.mp4")
    make_clip(folder / "clips" / "changed.mp4", 99, frames=8)
    return store.path, {
        "annotation cannot be read": 1,
        "failed:decode/timeout": 1,
        "no_trajectory:static": 1,
        "other_config": 1,
        "source cannot be read": 1,
        "source has changed since it was annotated": 1,
        "threshold:fov_x": 1,
        "unfinished": 1,
    }


def test_every_clip_is_a_sample_or_a_counted_drop(tmp_path: Path) -> None:
    corpus, expected = everything_that_can_happen(tmp_path)
    summary = build_shards(corpus, tmp_path / "shards")
    assert summary.dropped == expected
    assert (summary.clips, summary.samples, summary.metric) == (11, 3, 1)
    assert summary.clips == summary.samples + sum(summary.dropped.values())
    folder = open_shards(tmp_path / "shards")
    assert folder.head["dropped"] == expected
    lines = [json.loads(line) for line in (tmp_path / "shards" / "dropped.jsonl").read_text().splitlines()]
    keys = [sample.key for sample in folder.samples]
    ids = [line["clip_id"] for line in lines]
    assert sorted(keys + ids) == sorted(row.clip_id for row in Corpus.open(corpus).sources())
    assert ids == sorted(ids)
    assert all(line["reason"] in expected and line["detail"] and line["source"] for line in lines)
    metric = build_shards(corpus, tmp_path / "metric", BuildOptions(scale="metric"))
    assert metric.samples == metric.metric == 1
    # All but one of those that passed, and of those that would be missed later, have no scale.
    assert metric.dropped["up_to_scale"] == 6
    assert metric.clips == 11 == metric.samples + sum(metric.dropped.values())


def test_a_threshold_file_decides(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, unposed=(1, 2, 3, 4, 5, 6))
    strict = tmp_path / "strict.toml"
    assert build_shards(corpus, tmp_path / "default").dropped == {"threshold:posed_ratio": 3}
    assert not (tmp_path / "default").exists(), "nothing passed: nothing is written"
    strict.write_text('[posed_ratio]\nlow = 0.5\nunmeasured = "reject"\n')
    options = BuildOptions(thresholds=strict)
    assert build_shards(corpus, tmp_path / "shards", options).samples == 3
    strict.write_text('[posed_ration]\nlow = 0.5\nunmeasured = "reject"\n')
    with pytest.raises(InputError, match="posed_ration"):
        build_shards(corpus, tmp_path / "other", options)


def test_building_again_changes_nothing_and_mends_damage(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, options=SMALL)
    before = contents(shards)
    inode = (shards / "train-000000.tar").stat().st_ino
    assert build_shards(tmp_path / "corpus", shards, SMALL).unchanged
    assert (shards / "train-000000.tar").stat().st_ino == inode, "nothing was written"
    for name, data in (("train-000001.tar", b"short"), ("index.parquet", b""), ("train-000002.tar", None)):
        if data is None:
            (shards / name).unlink()
        else:
            (shards / name).write_bytes(data)
        assert not build_shards(tmp_path / "corpus", shards, SMALL).unchanged
        assert contents(shards) == before


@pytest.mark.parametrize("what", ["corpus", "scale", "thresholds", "shard_bytes", "foreign", "file", "damaged head"])
def test_another_folder_is_never_overwritten(what: str, tmp_path: Path) -> None:
    shards = make_shards(tmp_path, clips=2, frames=8, metric=True)
    corpus, options = tmp_path / "corpus", BuildOptions()
    word = what.replace("_", " ")
    if what == "corpus":
        make_clip(tmp_path / "clips" / "more.mp4", 5, frames=8)
        annotate_folder(tmp_path / "clips", corpus, metric=True)
    elif what == "scale":
        options, word = BuildOptions(scale="metric"), "options"
    elif what == "shard_bytes":
        options, word = BuildOptions(shard_bytes=1), "options"
    elif what == "thresholds":
        (tmp_path / "t.toml").write_text('[fov_x]\nlow = 1\nunmeasured = "keep"')
        options = BuildOptions(thresholds=tmp_path / "t.toml")
    elif what == "foreign":
        (shards / "shards.json").unlink()
        word = "empty folder"
    elif what == "file":
        shutil.rmtree(shards)
        shards.write_text("mine")
    else:
        (shards / "shards.json").write_text("{")
        word = "JSON"
    before = contents(shards) if shards.is_dir() else None
    with pytest.raises(InputError, match=word) as caught:
        build_shards(corpus, shards, options)
    assert "pass another --out" in str(caught.value)
    assert (contents(shards) if shards.is_dir() else None) == before


# Ends like a power cut at the n-th durable step: no cleaning up, no exit handlers.
KILLED = """
import os, sys
from pathlib import Path
from wmkit.dataset.writer import BuildOptions, build_shards
left = int(sys.argv[3])
real = os.replace
def replace(*names):
    global left
    if not str(names[1]).endswith(".mp4"):
        left -= 1
        if left == 0:
            os._exit(9)
    real(*names)
os.replace = replace
build_shards(Path(sys.argv[1]), Path(sys.argv[2]), BuildOptions(shard_bytes=16_000))
"""


def test_a_kill_at_any_rename_leaves_whole_shards_and_is_mended(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    build_shards(corpus, tmp_path / "whole", SMALL)
    good = contents(tmp_path / "whole")
    # building.json, three shards, the index, the drops, the head.
    for step in (1, 2, 4, 5, 7):
        out = tmp_path / f"killed-{step}"
        command = [sys.executable, "-c", KILLED, str(corpus), str(out), str(step)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 9, done.stderr
        tars = {path.name: path.read_bytes() for path in out.glob("*.tar")}
        assert tars == {name: data for name, data in good.items() if name in tars}
        assert len(tars) == min(max(step - 2, 0), 3)
        with pytest.raises(InputError, match="run wmkit build-shards"):
            open_shards(out)
        build_shards(corpus, out, SMALL)
        assert contents(out) == good


def test_turned_and_stretched_sources_come_out_upright_and_even(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    ticks = list(range(0, 24, 2))
    odd = tmp_path / "clips" / "odd.mp4"
    write_clip(odd, ticks, (101, 61), Encoding(codec="libx264rgb", pixel_format="rgb24"))
    write_clip(tmp_path / "clips" / "wide.mp4", ticks, (96, 64), Encoding(ratio=Fraction(4, 3)))
    stored = write_clip(tmp_path / "stored.mp4", ticks, (64, 96), Encoding(turn=1))
    remux(stored, tmp_path / "clips" / "turned.mp4", before=("-display_rotation:v:0", "-90"))
    corpus = annotate_folder(tmp_path / "clips", tmp_path / "corpus")
    with pytest.raises(InputError, match=r"--video copy: .* got (odd|wide|turned)\.mp4"):
        build_shards(corpus, tmp_path / "shards", BuildOptions(video="copy"))
    build_shards(corpus, tmp_path / "shards")
    sizes = {}
    for sample in open_shards(tmp_path / "shards").samples:
        document = json.loads(read_part(tmp_path / "shards", sample, "json"))
        sizes[document["clip"]["source"]] = (sample.width, sample.height)
        view = document["view"]
        assert document["frames"]["crop_px"] == [0, 0, sample.width, sample.height]
        assert (view["width"] - sample.width, view["height"] - sample.height) in ((1, 1), (0, 0))
        rgb = decode_frames(tmp_path / "shards", sample, 0, sample.frames)
        assert [read_number(frame) for frame in rgb] == list(range(12))
        annotation = Corpus.open(corpus).read(sample.key)
        cameras = np.load(io.BytesIO(read_part(tmp_path / "shards", sample, "intrinsics.npy")), allow_pickle=False)
        np.testing.assert_array_equal(cameras, annotation.intrinsics_rows)
    assert sizes == {"odd.mp4": (100, 60), "wide.mp4": (128, 64), "turned.mp4": (64, 96)}
    assert verify_shards(tmp_path / "shards", full=True).damage == ()


def test_copy_puts_the_source_itself_in(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, clips=2, frames=8)
    build_shards(corpus, tmp_path / "shards", BuildOptions(video="copy"))
    for sample in open_shards(tmp_path / "shards").samples:
        name = json.loads(read_part(tmp_path / "shards", sample, "json"))["clip"]["source"]
        assert read_part(tmp_path / "shards", sample, "mp4") == (tmp_path / "clips" / name).read_bytes()
    assert verify_shards(tmp_path / "shards", full=True).damage == ()


@pytest.mark.parametrize(
    ("encoding", "size", "ticks", "word"),
    [
        (Encoding(codec="mpeg4", options=()), (64, 48), range(0, 16, 2), "codec is mpeg4"),
        (Encoding(ratio=Fraction(4, 3)), (64, 48), range(0, 16, 2), "not square"),
        (Encoding(), (64, 48), range(16), "of its 16 frames"),
        (Encoding(), (1000, 700), range(0, 8, 2), "resized to 960x672"),
    ],
)
def test_copy_is_refused_unless_nothing_is_done(
    encoding: Encoding, size: tuple[int, int], ticks: range, word: str, tmp_path: Path
) -> None:
    make_clip(tmp_path / "clips" / "good.mp4", 0, frames=8)
    write_clip(tmp_path / "clips" / "other.mp4", list(ticks), size, encoding)
    corpus = annotate_folder(tmp_path / "clips", tmp_path / "corpus")
    with pytest.raises(InputError, match=word) as caught:
        build_shards(corpus, tmp_path / "shards", BuildOptions(video="copy"))
    assert "other.mp4" in str(caught.value)
    assert not (tmp_path / "shards").exists()


def test_one_of_two_equal_sources_is_enough(tmp_path: Path) -> None:
    make_clip(tmp_path / "clips" / "a.mp4", 0, frames=8)
    shutil.copy(tmp_path / "clips" / "a.mp4", tmp_path / "clips" / "b.mp4")
    corpus = annotate_folder(tmp_path / "clips", tmp_path / "corpus")
    (tmp_path / "clips" / "a.mp4").unlink()
    assert build_shards(corpus, tmp_path / "shards").samples == 1


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_corpus(tmp_path, clips=2, frames=8)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build-shards"]) == 0
    assert "2 of 2 clips became samples\n" in capsys.readouterr().out
    assert cli.main(["build-shards", "--json"]) == 0
    # Programs read these keys: a change is a breaking one.
    assert list(json.loads(capsys.readouterr().out)) == [
        "out", "clips", "samples", "metric", "depth", "frames", "posed_frames", "shards", "bytes",
        "dropped", "idle", "unchanged",
    ]  # fmt: skip
    assert cli.main(["build-shards", "--scale", "metric", "--out", "m"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("0 of 2 clips became samples; dropped: 2 up_to_scale; no shards written to m\n")
    assert cli.main(["build-shards", "--out", "m", "--dry-run", "--scale", "metric"]) == 1
    assert "2 up_to_scale" in capsys.readouterr().out
    assert cli.main(["build-shards", "--out", "m", "--dry-run", "--json", "--thresholds", "sana-wm/dl3dv"]) == 0
    tried = json.loads(capsys.readouterr().out)
    assert tried == {"clips": 2, "passed": 2, "dropped": {}, "idle": []}
    assert not Path("m").exists()
    assert cli.main(["build-shards", "nowhere"]) == 2
    assert "expected a corpus" in capsys.readouterr().err
    assert cli.main(["build-shards", "--thresholds", "none.toml"]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_an_empty_corpus_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Corpus.create_or_open(tmp_path / "corpus", config_dict(CONFIG), config_hash(CONFIG), update=False)  # type: ignore[arg-type]
    assert cli.main(["build-shards", str(tmp_path / "corpus"), "--out", str(tmp_path / "s")]) == 1
    out = capsys.readouterr().out
    assert out.startswith("no clips in the corpus")
    assert out.count("\n") == 1


def test_sources_that_are_all_gone_leave_nothing_and_spoil_nothing(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, clips=2, frames=8)
    build_shards(corpus, tmp_path / "old")
    before = contents(tmp_path / "old")
    shutil.rmtree(tmp_path / "clips")
    assert build_shards(corpus, tmp_path / "new").dropped == {"source cannot be read": 2}
    assert not (tmp_path / "new").exists()
    assert build_shards(corpus, tmp_path / "old").unchanged
    assert contents(tmp_path / "old") == before
