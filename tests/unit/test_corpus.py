"""The corpus folder: exact round trips, fixed bytes, and a state that its files alone decide."""

import dataclasses
import io
import json
import os
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.corpus_samples import (
    CONFIG_HASH,
    assert_same,
    bare_annotation,
    clip_id,
    full_annotation,
    metric_annotation,
    undistorted_annotation,
)
from wmkit.atomic import json_bytes, npz_bytes, write_atomic
from wmkit.clip import Annotation, Points
from wmkit.corpus import Corpus, DeadLetter, LedgerRow, SourceRow, Status, store
from wmkit.corpus.clip_folder import points_bytes, points_from_bytes
from wmkit.errors import ConfigError, InputError

CONFIG = {"pose": {"name": "dummy", "tracks": 100}, "filters": [1, 2], "seed": 0}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.create_or_open(tmp_path / "corpus", CONFIG, CONFIG_HASH, update=False)


def failed_row(number: int, attempt: int = 1) -> LedgerRow:
    return LedgerRow(
        clip_id=clip_id(number),
        source=f"{number}.mp4",
        status=Status.FAILED,
        stage="decode",
        code="no_video_stream",
        message="expected a video stream",
        config_hash=CONFIG_HASH,
        attempt=attempt,
    )


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        clip_id=clip_id(number),
        source=f"{number}.mp4",
        path=f"/data/{number}.mp4",
        stage="decode",
        code="no_video_stream",
        message="expected a video stream",
        traceback="Traceback ...",
        command=f"wmkit annotate /data/{number}.mp4 --out c",
        attempt=1,
        config_hash=CONFIG_HASH,
    )


def source(name: str, clip: str, content: str | None = "ff") -> SourceRow:
    return SourceRow(path=f"/in/{name}", name=name, size_bytes=3, mtime_ns=7, content_hash=content, clip_id=clip)


@pytest.mark.parametrize("build", [full_annotation, metric_annotation, undistorted_annotation, bare_annotation])
def test_an_annotation_comes_back_exactly(corpus: Corpus, build) -> None:
    annotation: Annotation = build()
    corpus.write(annotation)
    again = corpus.read(annotation.clip.id)
    assert_same(dataclasses.replace(again, depth=None), dataclasses.replace(annotation, depth=None))
    if annotation.depth is None:
        assert again.depth is None
        return
    assert again.depth is not None
    rounded = dataclasses.replace(annotation.depth, z=again.depth.z, confidence=again.depth.confidence)
    assert_same(again.depth, rounded)
    # All depths lie within a factor of 2: half of 65534 steps of 1/z over that range is below 2 / 131068.
    np.testing.assert_allclose(again.depth.z, annotation.depth.z, rtol=2e-5)
    np.testing.assert_allclose(again.depth.confidence, annotation.depth.confidence, atol=0.5 / 255 + 1e-6)  # type: ignore[arg-type]


def test_a_clip_folder_holds_what_there_is_and_no_more(corpus: Corpus) -> None:
    corpus.write(full_annotation(1))
    corpus.write(bare_annotation(2))
    names = {"annotation.json", "trajectory.npz", "points.ply", "depth.npz", "quality.npz", "mask.npz"}
    assert {file.name for file in (corpus.path / "clips" / clip_id(1)[:2] / clip_id(1)).iterdir()} == names
    assert [file.name for file in corpus.folder(clip_id(2)).iterdir()] == ["annotation.json"]
    assert corpus.clip_ids() == [clip_id(1), clip_id(2)]


def test_threads_that_read_arrays_take_turns(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11 fails in `ast`, by which numpy reads headers, when two threads are in it."""
    corpus.write(full_annotation())
    (clip_id,) = corpus.clip_ids()
    load, inside, most = np.load, [], []

    def counted(file: io.BytesIO, allow_pickle: bool) -> object:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)  # long enough for another thread to come in
        inside.pop()
        return load(file, allow_pickle=allow_pickle)

    monkeypatch.setattr(np, "load", counted)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: corpus.read(clip_id), range(12)))
    assert max(most) == 1


def test_numpy_alone_reads_a_trajectory(corpus: Corpus) -> None:
    annotation = full_annotation()
    corpus.write(annotation)
    folder = corpus.folder(annotation.clip.id)
    with np.load(folder / "trajectory.npz", allow_pickle=False) as arrays:
        shapes = {name: (arrays[name].shape, arrays[name].dtype.str) for name in arrays.files}
    assert shapes == {
        "covariance": ((6, 6, 6), "<f8"),
        "intrinsics": ((6, 4), "<f8"),
        "posed": ((6,), "|b1"),
        "time_s": ((6,), "<f8"),
        "world_from_cam": ((6, 4, 4), "<f8"),
    }
    record = json.loads((folder / "annotation.json").read_text())
    assert record["trajectory"] == {"scale": "up_to_scale", "frames": 6, "posed": 5}
    assert record["view"]["pts_s"] == annotation.view.pts_s.tolist()


def test_bytes_depend_on_the_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for name, zone in (("a", "UTC"), ("b", "Asia/Tokyo")):
        monkeypatch.setenv("TZ", zone)
        one = Corpus.create_or_open(tmp_path / name, CONFIG, CONFIG_HASH, update=False)
        order = (1, 2) if name == "a" else (2, 1)
        for number in order:
            one.write(full_annotation(number))
        hashes.append(one.corpus_hash())
    assert hashes[0] == hashes[1]
    one.write(full_annotation(2, frames=7))
    assert one.corpus_hash() != hashes[0]


def test_npz_members_carry_no_date_host_or_compression() -> None:
    data = npz_bytes({"b": np.arange(3), "a": np.zeros(2)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    assert [member.filename for member in members] == ["a.npy", "b.npy"]
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}


def test_every_nan_is_the_same_nan() -> None:
    other_nan = np.array([np.uint64(0xFFF8000000000001)]).view(np.float64)
    assert np.isnan(other_nan).all()
    assert npz_bytes({"x": other_nan}) == npz_bytes({"x": np.array([np.nan])})


def test_npz_refuses_objects() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_bytes({"x": np.array([{}], dtype=object)})


def test_json_refuses_what_json_has_no_word_for() -> None:
    assert json_bytes({"b": np.int64(1), "a": 0.1}) == b'{\n "a": 0.1,\n "b": 1\n}\n'
    with pytest.raises(ValueError, match="Out of range"):
        json_bytes({"x": float("nan")})
    with pytest.raises(TypeError, match="expected JSON values, got object"):
        json_bytes({"x": object()})


@pytest.mark.parametrize("count", [0, 1, 5])
def test_points_round_trip(count: int) -> None:
    rng = np.random.default_rng(0)
    points = Points(
        xyz=rng.normal(size=(count, 3)),
        rgb=rng.integers(0, 256, (count, 3), dtype=np.uint8),
        error_px=rng.random(count, dtype=np.float32),
        track_length=np.arange(count, dtype=np.int32),
    )
    data = points_bytes(points)
    assert data.startswith(
        f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\nproperty double x\n".encode()
    )
    assert_same(points_from_bytes(data), points)


def test_points_refuse_a_cut_or_foreign_file() -> None:
    data = points_bytes(full_annotation().points)  # type: ignore[arg-type]
    for damaged in (data[:-1], data + b"x", b"", b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n"):
        with pytest.raises(ValueError, match=r"points\.ply"):
            points_from_bytes(damaged)


@pytest.mark.parametrize("name", ["annotation.json", "trajectory.npz", "points.ply", "depth.npz", "mask.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_folder_is_one_clear_error(corpus: Corpus, name: str, damage: str) -> None:
    corpus.write(full_annotation())
    file = corpus.folder(clip_id(1)) / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    with pytest.raises(InputError) as error:
        corpus.read(clip_id(1))
    assert str(corpus.folder(clip_id(1))) in str(error.value)
    assert "\n" not in str(error.value)


def test_reading_an_absent_clip(corpus: Corpus) -> None:
    with pytest.raises(InputError, match="expected a clip folder"):
        corpus.read(clip_id(9))
    assert corpus.clip_config_hash(clip_id(9)) is None


def test_a_folder_appears_whole_or_not_at_all(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full_disk(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr(store, "write_synced", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        corpus.write(full_annotation())
    assert len(written) == 2
    assert corpus.clip_ids() == []
    assert list((corpus.path / ".tmp").iterdir()) == []


def test_a_newer_annotation_replaces_the_folder_whole(corpus: Corpus) -> None:
    corpus.write(full_annotation())
    corpus.write(bare_annotation())
    assert [file.name for file in corpus.folder(clip_id(1)).iterdir()] == ["annotation.json"]
    assert list((corpus.path / ".tmp").iterdir()) == []


def test_the_ledger_keeps_every_attempt(corpus: Corpus) -> None:
    ok = LedgerRow.of(metric_annotation(1), {"pose": 1.25, "decode": 0.5})
    none = LedgerRow.of(bare_annotation(2), {})
    rows = [failed_row(1), none, ok]
    corpus.append_ledger(rows[:1])
    corpus.append_ledger([])
    corpus.append_ledger(rows[1:])
    assert corpus.ledger() == rows
    assert [part.name for part in sorted((corpus.path / "ledger").iterdir())] == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    assert ok.scale_cues == ("height", "factor")
    assert (ok.scale_value, ok.scale_low, ok.scale_high) == (2.0, 1.7, 2.3)
    assert (none.status, none.stage, none.code) == (Status.NO_TRAJECTORY, "pose", "too_few_tracks")
    assert (ok.frames, ok.posed_frames, none.posed_frames) == (6, 5, 0)
    assert corpus.latest() == {clip_id(1): ok, clip_id(2): none}


def test_the_ledger_reads_with_pyarrow_alone(corpus: Corpus) -> None:
    corpus.append_ledger([LedgerRow.of(full_annotation(), {"pose": 1.25})])
    table = pq.read_table(corpus.path / "ledger" / "part-000000.parquet")
    assert table.column("status").to_pylist() == ["ok"]
    assert table.column("verdicts").to_pylist()[0][0]["name"] == "fov_x"
    assert pa.types.is_map(table.schema.field("timings").type)


def test_many_parts_become_one_and_no_row_is_lost_or_doubled(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MERGED_PARTS", 4)
    names = []
    for number in range(11):
        corpus.append_ledger([failed_row(number), failed_row(number, attempt=2)])
        names.append(sorted(path.name for path in (corpus.path / "ledger").iterdir()))
    # The part that is just appended counts at the next append.
    assert names[3] == [f"part-{number:06d}.parquet" for number in range(4)]
    assert names[4] == ["part-000000-000003.parquet", "part-000004.parquet"]
    assert names[10] == ["part-000000-000003.parquet", "part-000004-000007.parquet"] + [
        f"part-{number:06d}.parquet" for number in (8, 9, 10)
    ]
    told = [(row.clip_id, row.attempt) for row in corpus.ledger()]
    assert told == [(clip_id(number), attempt) for number in range(11) for attempt in (1, 2)]
    assert len(corpus.outcomes()) == 22


def test_a_run_killed_while_it_merged_parts_leaves_every_row_once(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        corpus.append_ledger([failed_row(number)])
    parts = {path: path.read_bytes() for path in (corpus.path / "ledger").iterdir()}
    monkeypatch.setattr(store, "MERGED_PARTS", 4)
    corpus.append_ledger([failed_row(4)])
    for path, data in parts.items():
        assert not path.exists()
        path.write_bytes(data)
    rows = corpus.ledger()
    assert [row.clip_id for row in rows] == [clip_id(number) for number in range(5)]
    with corpus.lock():
        assert sorted(path.name for path in (corpus.path / "ledger").iterdir()) == [
            "part-000000-000003.parquet",
            "part-000004.parquet",
        ]
    assert corpus.ledger() == rows
    corpus.append_ledger([failed_row(5)])
    assert [row.clip_id for row in corpus.ledger()] == [clip_id(number) for number in range(6)]


def test_a_damaged_ledger_part_is_an_error_and_not_an_empty_history(corpus: Corpus) -> None:
    corpus.append_ledger([failed_row(1)])
    part = corpus.path / "ledger" / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(InputError, match="part-000000"):
        corpus.ledger()


def test_done_needs_row_folder_and_config(corpus: Corpus) -> None:
    for number in (1, 2, 3):
        corpus.append_ledger([LedgerRow.of(full_annotation(number), {})])
    corpus.append_ledger([failed_row(3, attempt=2)])
    for number in (1, 3, 4):
        corpus.write(full_annotation(number))
    assert corpus.done_ids(CONFIG_HASH) == {clip_id(1)}
    assert corpus.done_ids("other") == set()


def test_a_failure_that_no_source_names_is_history(corpus: Corpus) -> None:
    corpus.append_ledger([failed_row(1), LedgerRow.of(full_annotation(2), {})])
    assert set(corpus.latest()) == {clip_id(1), clip_id(2)}
    corpus.write_sources([source("x.mp4", clip_id(3))])
    assert set(corpus.latest()) == {clip_id(2)}


def test_sources_are_merged_by_path(corpus: Corpus) -> None:
    assert corpus.sources() == []
    corpus.write_sources([source("b.mp4", clip_id(1)), source("a.mp4", clip_id(2), content=None)])
    corpus.write_sources([source("b.mp4", clip_id(3))])
    assert corpus.sources() == [source("a.mp4", clip_id(2), content=None), source("b.mp4", clip_id(3))]


def test_dead_letters(corpus: Corpus) -> None:
    corpus.write(full_annotation(1))
    corpus.write_dead_letter(letter(2))
    corpus.write_dead_letter(letter(1))
    assert corpus.dead_letters() == [letter(1), letter(2)]
    assert corpus.clip_ids() == [], "a clip that now fails must not keep an older annotation"
    corpus.remove_dead_letter(clip_id(1))
    corpus.remove_dead_letter(clip_id(1))
    assert corpus.dead_letters() == [letter(2)]


def test_another_config_needs_update_and_says_what_differs(corpus: Corpus) -> None:
    other = {**CONFIG, "pose": {"name": "dummy", "tracks": 200}, "filters": [1]}
    with pytest.raises(ConfigError, match=r"filters\.1: 2 -> absent; pose\.tracks: 100 -> 200\); pass --update"):
        Corpus.create_or_open(corpus.path, other, "0ther", update=False)
    assert Corpus.open(corpus.path).config_hash == CONFIG_HASH
    Corpus.create_or_open(corpus.path, other, "0ther", update=True)
    assert (Corpus.open(corpus.path).config_hash, Corpus.open(corpus.path).config) == ("0ther", other)


def test_another_schema_version_is_refused(corpus: Corpus) -> None:
    head = json.loads((corpus.path / "corpus.json").read_text())
    assert "z forward" in head["conventions"]["axes"]
    head["schema_version"] = 99
    (corpus.path / "corpus.json").write_text(json.dumps(head))
    with pytest.raises(ConfigError, match="expected schema version 3, got 99"):
        Corpus.open(corpus.path)
    with pytest.raises(ConfigError, match="expected schema version 3, got 99"):
        Corpus.create_or_open(corpus.path, CONFIG, CONFIG_HASH, update=True)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_a_damaged_head_is_refused(corpus: Corpus, content: str) -> None:
    (corpus.path / "corpus.json").write_text(content)
    with pytest.raises(InputError, match="damaged"):
        Corpus.open(corpus.path)


def test_what_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run wmkit annotate first"):
        Corpus.open(tmp_path / "nowhere")
    (tmp_path / "holiday.mp4").touch()
    for path in (tmp_path, tmp_path / "holiday.mp4"):
        with pytest.raises(InputError, match="expected a corpus, an empty folder or a new path"):
            Corpus.create_or_open(path, CONFIG, CONFIG_HASH, update=False)
    with pytest.raises(InputError, match="expected a folder that can be written"):
        Corpus.create_or_open(tmp_path / "holiday.mp4" / "corpus", CONFIG, CONFIG_HASH, update=False)
    assert sorted(os.listdir(tmp_path)) == ["holiday.mp4"]


def test_a_half_made_corpus_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / ".corpus.json.1.tmp").touch()
    Corpus.create_or_open(tmp_path, CONFIG, CONFIG_HASH, update=False)
    assert Corpus.open(tmp_path).config == CONFIG


def test_one_run_at_a_time(corpus: Corpus) -> None:
    with corpus.lock(), pytest.raises(InputError, match=rf"another run \(pid {os.getpid()} on "), corpus.lock():
        pytest.fail("both runs hold the corpus")
    with corpus.lock():
        pass
    with corpus.lock(), pytest.raises(InputError, match="another run"):
        Corpus.create_or_open(corpus.path, {}, "0ther", update=True)


def test_the_lock_sweeps_what_a_killed_run_left(corpus: Corpus) -> None:
    (corpus.path / ".tmp" / "left").mkdir()
    with corpus.lock():
        assert list((corpus.path / ".tmp").iterdir()) == []


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_outcomes_are_the_ledger_without_its_weight(corpus: Corpus) -> None:
    rows = [LedgerRow.of(metric_annotation(1), {"pose": 1.25}), failed_row(2), LedgerRow.of(bare_annotation(3), {})]
    corpus.append_ledger(rows[:2])
    corpus.append_ledger(rows[2:])
    assert corpus.outcomes() == [row.outcome for row in rows]
    assert [(row.verdicts, row.timings, row.message) for row in corpus.outcomes()] == [((), {}, "")] * 3
    assert {row.clip_id for row in corpus.outcomes()} == {row.clip_id for row in corpus.ledger()}


def test_outcomes_are_the_ledger_s_rows_without_what_a_run_need_not_remember(corpus: Corpus) -> None:
    """Read column by column, against the slow way: a row object of every row, cut down."""
    assert corpus.outcomes() == []
    failed = LedgerRow(
        clip_id="f" * 32, source="f.mp4", status=Status.FAILED, stage="decode", code="empty", message="x"
    )
    corpus.append_ledger([LedgerRow.of(full_annotation(1), {"pose": 1.5}), failed])
    corpus.append_ledger([LedgerRow.of(metric_annotation(2), {}), LedgerRow.of(bare_annotation(3), {}, attempt=2)])
    assert corpus.outcomes() == [row.outcome for row in corpus.ledger()]
    assert len(corpus.outcomes()) == 4


def test_sources_that_are_known_are_not_written_again(corpus: Corpus) -> None:
    row = SourceRow(path="/a", name="a", size_bytes=1, mtime_ns=2, content_hash="00", clip_id="a" * 32)
    corpus.write_sources([row])
    inode = (corpus.path / "sources.parquet").stat().st_ino
    corpus.write_sources([row], corpus.sources())
    corpus.write_sources([row])
    assert (corpus.path / "sources.parquet").stat().st_ino == inode
    corpus.write_sources([dataclasses.replace(row, mtime_ns=3)], corpus.sources())
    assert corpus.sources() == [dataclasses.replace(row, mtime_ns=3)]


def test_folders_alone_are_clips(corpus: Corpus) -> None:
    shutil.rmtree(corpus.path / "clips", ignore_errors=True)
    assert corpus.clip_ids() == []
    for name in ("ab/abc1", "00/001", "longer/x1", "ab/abc0"):
        (corpus.path / "clips" / name).mkdir(parents=True)
    (corpus.path / "clips" / "ab" / "file").touch()
    (corpus.path / "clips" / "zz").touch()
    assert corpus.clip_ids() == ["001", "abc0", "abc1"]
