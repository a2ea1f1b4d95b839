"""Depth in shards: the corpus' own values where frames lie, cut and scaled with them, masked everywhere else."""

import dataclasses
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shard_samples import annotate_folder, depth_maps, make_clip, make_corpus, make_shards
from tests.tiny_shards import Members, members, sealed
from wmkit import cli
from wmkit.atomic import npz_bytes
from wmkit.camera import ScaleKind
from wmkit.corpus import Corpus
from wmkit.corpus.deflated import deflated_npz_bytes
from wmkit.corpus.depth_file import depth_bytes, depth_of_arrays
from wmkit.dataset.decode import fit_frames
from wmkit.dataset.depth import DEPTH, depth_of_window, fitted_depth, seen_px
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.repair import repair_shards
from wmkit.dataset.schema import Sample, open_shards, read_part
from wmkit.dataset.verify import verify_shards
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.errors import CorruptShardError, InputError

ROOT = Path(__file__).parents[3]
MAPS = (2, 6, 7)
CONFIG = LoaderConfig(frames=4, height=48, width=64, batch_size=4, depth=True)
WITH_DEPTH = BuildOptions(depth=True, shard_bytes=20_000)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of 12 frames in three tars, maps of frames 2, 6 and 7; frame 9 has no pose."""
    folder = tmp_path_factory.mktemp("deep")
    return make_shards(folder, frames=12, unposed=(9,), depth=MAPS, options=WITH_DEPTH)


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.mark.parametrize("video", ["encode", "copy"])
def test_frames_taken_whole_have_the_corpus_own_bytes(video: Literal["encode", "copy"], tmp_path: Path) -> None:
    options = BuildOptions(depth=True, video=video)
    shards = make_shards(tmp_path, frames=8, clips=2, depth=MAPS, options=options)
    for sample in open_shards(shards).samples:
        assert [part.name for part in sample.parts] == [
            "depth.npz", "intrinsics.npy", "json", "mp4", "trajectory.npy",
        ]  # fmt: skip
        written = (Corpus.open(tmp_path / "corpus").folder(sample.key) / "depth.npz").read_bytes()
        assert read_part(shards, sample, DEPTH) == written
    assert verify_shards(shards, full=True).damage == ()


def test_without_the_flag_and_without_maps_there_is_no_part(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, clips=1, frames=8, depth=MAPS)
    make_clip(tmp_path / "more" / "flat.mp4", 9, frames=8)
    annotate_folder(tmp_path / "more", corpus)
    plain, deep = build_shards(corpus, tmp_path / "plain"), build_shards(corpus, tmp_path / "deep", WITH_DEPTH)
    assert (plain.samples, plain.depth, deep.samples, deep.depth) == (2, 0, 2, 1)
    assert "1 samples have depth maps" in deep.lines()
    has = {
        sample.key: DEPTH in {part.name for part in sample.parts} for sample in open_shards(tmp_path / "deep").samples
    }
    assert sorted(has.values()) == [False, True]
    with pytest.raises(InputError, match="another options"):
        build_shards(corpus, tmp_path / "plain", BuildOptions(depth=True))
    config = dataclasses.replace(CONFIG, height=8, width=8)
    with pytest.raises(InputError, match="run wmkit build-shards --depth"):
        StreamingShards(tmp_path / "plain", config)
    batch = StreamingShards(tmp_path / "deep", dataclasses.replace(config, frames=8)).replay(0)
    assert batch.depth is not None
    for key, valid in zip(batch.keys, batch.depth.valid, strict=True):
        assert valid.any(dim=(1, 2)).tolist() == [has[key] and frame in MAPS for frame in range(8)]


@settings(max_examples=60, deadline=None)
@given(
    was=st.tuples(st.integers(2, 90), st.integers(2, 90)),
    fit=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    cells=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_a_fitted_map_has_values_of_the_map_that_lie_where_they_lay(
    was: tuple[int, int], fit: tuple[int, int], cells: tuple[int, int]
) -> None:
    """Depth that grows to the right tells where each pixel was: within half a cell of the old map and of the new."""
    maps = depth_maps((0, 5), cells)
    file = depth_bytes(maps)
    seen = seen_px(*was, *fit)
    before, after = arrays_of(file), arrays_of(fitted_depth(file, was, seen, fit))
    assert sorted(before) == sorted(after)
    np.testing.assert_array_equal(after["frame"], before["frame"])
    np.testing.assert_array_equal(after["inverse_range"], before["inverse_range"])
    code, old = (256 * arrays["code_high"].astype(int) + arrays["code_low"] for arrays in (after, before))
    assert set(np.unique(code)) <= set(np.unique(old))  # nothing between two depths, nothing rounded again
    height, width = code.shape[1:]
    assert 1 <= width <= fit[0]
    assert 1 <= height <= fit[1]
    x = seen[0] + (np.arange(width) + 0.5) / width * (seen[2] - seen[0])
    y = seen[1] + (np.arange(height) + 0.5) / height * (seen[3] - seen[1])
    found = np.zeros(code.shape, dtype=bool)
    for right, down in itertools.product((-1e-9, 1e-9), repeat=2):  # of a centre on a border either side is as near
        columns = np.clip((x / was[0] * cells[1] + right).astype(int), 0, cells[1] - 1)
        rows = np.clip((y / was[1] * cells[0] + down).astype(int), 0, cells[0] - 1)
        found |= code == old[:, rows[:, None], columns]
    assert found.all()


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from([(48, 64), (24, 32), (30, 30), (44, 20), (96, 128), (13, 47)]),
    start=st.integers(0, 4),
    stride=st.integers(1, 3),
)
def test_a_window_is_cut_and_fitted_as_its_pixels_are(
    deep: Path, size: tuple[int, int], start: int, stride: int
) -> None:
    """The same map painted into frames and fitted by the frames' own function lies in the same place."""
    sample = open_shards(deep).samples[0]
    frames = range(start, start + 3 * stride + 1, stride)
    found = depth_of_window(deep, sample, frames, (size[1], size[0]))
    assert found.z.shape == found.valid.shape == (4, *size)
    maps = depth_of_arrays(arrays_of(read_part(deep, sample, DEPTH)), ScaleKind.UP_TO_SCALE)
    for row, frame in enumerate(frames):
        if frame not in MAPS:
            assert not found.valid[row].any()
            assert not found.z[row].any()
            continue
        x = np.linspace(0, 252, sample.width).astype(np.uint8)
        painted = np.tile(x[None, None, :, None], (1, sample.height, 1, 3))
        column = fit_frames(painted, np.zeros((0, 4)), size[1], size[0])[0][0, 0, :, 0].astype(float) / 252
        depth = found.z[row][found.valid[row]]
        cells = np.broadcast_to(column, size)[found.valid[row]]
        # z = 1 + frame + x + y / 10 of the picture: half a cell of the map (1/64), one of the frames, 8 bits of paint
        assert np.abs(depth - (1 + frame + cells) - 0.05).max() < 0.05 + 1 / 64 + 1 / size[1] + 0.02
        known = set(maps.z[MAPS.index(frame)][maps.valid[MAPS.index(frame)]].tolist())
        assert set(depth.tolist()) <= known


@pytest.mark.parametrize("metric", [False, True])
def test_batches_hold_the_corpus_depth_in_the_batch_s_unit(metric: bool, tmp_path: Path) -> None:
    shards = make_shards(tmp_path, clips=2, frames=12, metric=metric, depth=MAPS, options=WITH_DEPTH)
    store = Corpus.open(tmp_path / "corpus")
    loader = StreamingShards(shards, CONFIG)
    plain = StreamingShards(shards, dataclasses.replace(CONFIG, depth=False))
    assert loader.batch_bytes == plain.batch_bytes + 4 * 4 * 48 * 64 * 5
    starts = set()
    for step in range(8):
        batch, same = loader.replay(step), plain.replay(step)
        assert same.depth is None
        assert torch.equal(batch.video, same.video)
        assert batch.keys == same.keys
        assert batch.depth is not None
        assert batch.depth.z.shape == batch.depth.valid.shape == (4, 4, 48, 64)
        for key, z, valid in zip(batch.keys, batch.depth.z.numpy(), batch.depth.valid.numpy(), strict=True):
            truth = store.read(key).depth
            assert truth is not None
            assert (truth.scale is ScaleKind.METRIC) == metric
            doubled = {
                int(frame): (z.repeat(2, 0).repeat(2, 1), valid.repeat(2, 0).repeat(2, 1))
                for frame, z, valid in zip(truth.frame, truth.z, truth.valid, strict=True)
            }
            matching = [
                start
                for start in range(9)
                if all(
                    np.array_equal(valid[row], doubled[frame][1]) and np.array_equal(z[row], doubled[frame][0])
                    if (frame := start + row) in doubled
                    else not valid[row].any() and not z[row].any()
                    for row in range(4)
                )
            ]
            assert len(matching) == 1, "of all windows one has these maps in these rows"
            starts.update(matching)
    assert len(starts) > 3
    # frame 2 is 3 to 4 units away; a unit is 2 m
    assert float(store.read(batch.keys[0]).depth.z.max()) == pytest.approx(18 if metric else 9, rel=0.02)  # type: ignore[union-attr]


def test_odd_frames_and_a_size_cut_the_maps_too(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, clips=1, frames=8, size=(66, 50), depth=(1,))
    build_shards(corpus, tmp_path / "shards", BuildOptions(depth=True, size=(20, 60)))
    (sample,) = open_shards(tmp_path / "shards").samples
    maps = depth_of_arrays(arrays_of(read_part(tmp_path / "shards", sample, DEPTH)), ScaleKind.UP_TO_SCALE)
    # 66 px shrink to 60: all 33 columns stay; of 45 rows 20 are left, so are 11 of 25
    assert maps.z.shape == (1, 11, 33)
    whole = Corpus.open(corpus).read(sample.key).depth
    assert whole is not None
    np.testing.assert_array_equal(maps.z[0], whole.z[0, 7:18])
    assert verify_shards(tmp_path / "shards", full=True).damage == ()


def test_workers_do_not_change_a_byte_and_repair_makes_the_same(deep: Path, tmp_path: Path) -> None:
    corpus, good = deep.parent / "corpus", contents(deep)
    build_shards(corpus, tmp_path / "one", dataclasses.replace(WITH_DEPTH, workers=1))
    assert contents(tmp_path / "one") == good
    damaged = shutil.copytree(deep, tmp_path / "damaged")
    (damaged / "train-000001.tar").unlink()
    assert repair_shards(damaged, corpus).repaired == ("train-000001.tar",)
    (damaged / "index.parquet").unlink()
    assert repair_shards(damaged, corpus).repaired == ("index.parquet",)
    assert contents(damaged) == good


# Ends like a power cut at the n-th durable step.
KILLED = """
import os, sys
from pathlib import Path
from wmkit.dataset.writer import BuildOptions, build_shards
left, real = int(sys.argv[3]), os.replace
def replace(*names):
    global left
    left -= not str(names[1]).endswith(".mp4")
    if left == 0:
        os._exit(9)
    real(*names)
os.replace = replace
build_shards(Path(sys.argv[1]), Path(sys.argv[2]), BuildOptions(depth=True, shard_bytes=20_000))
"""


def test_a_killed_build_goes_on_to_the_same_bytes(deep: Path, tmp_path: Path) -> None:
    for step in (3, 6):
        out = tmp_path / f"killed-{step}"
        command = [sys.executable, "-c", KILLED, str(deep.parent / "corpus"), str(out), str(step)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 9, done.stderr
        build_shards(deep.parent / "corpus", out, WITH_DEPTH)
        assert contents(out) == contents(deep)


def test_verify_finds_any_flipped_byte_of_the_part(deep: Path, tmp_path: Path) -> None:
    shards = shutil.copytree(deep, tmp_path / "shards")
    sample = open_shards(shards).samples[1]
    part = sample.part(DEPTH)
    path = shards / sample.shard
    whole = path.read_bytes()
    for at in range(part.offset, part.offset + part.size, max(1, part.size // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        damage = verify_shards(shards).damage
        assert any(entry.sample == sample.key and ".depth.npz" in entry.what for entry in damage), at
        with pytest.raises(CorruptShardError, match=r"depth\.npz"):
            depth_of_window(shards, sample, range(8), (8, 8))


def test_maps_that_are_none_are_damage_however_well_they_are_vouched_for(tmp_path: Path) -> None:
    """A writer's mistake, or a hostile one: the index and every hash agree."""
    good = arrays_of(depth_bytes(depth_maps((0, 1), (4, 4))))
    zeros = np.zeros((2, 900, 900), dtype=np.uint8)
    wrong = {
        "no zip": b"PK\x03\x04",
        "an npy": b"\x93NUMPY",
        "beyond the clip": npz_bytes({**good, "frame": np.array([0, 2])}),
        "no maps": npz_bytes({**good, "frame": good["frame"][:0]}),
        "another size": npz_bytes({**good, "code_low": good["code_low"][:, :2]}),
        "a missing array": npz_bytes({name: good[name] for name in good if name != "code_high"}),
        "a range that is none": npz_bytes({**good, "inverse_range": np.full((2, 2), np.nan)}),
        "flat": npz_bytes({**good, **{name: good[name][0] for name in ("code_high", "code_low", "confidence")}}),
        "a bomb": deflated_npz_bytes({**good, "code_high": zeros, "code_low": zeros, "confidence": zeros}),
    }
    for what, data in wrong.items():
        listed = with_depth_part(data)
        shards = sealed(tmp_path / what.replace(" ", "-"), listed)
        damage = verify_shards(shards).damage
        assert [entry.what for entry in damage if "depth" in entry.what], what
        sample = open_shards(shards).samples[0]
        with pytest.raises(CorruptShardError, match="depth"):
            depth_of_window(shards, sample, range(2), (8, 8))
    sound = sealed(tmp_path / "sound", with_depth_part(npz_bytes(good)))
    assert verify_shards(sound).damage == ()


def with_depth_part(data: bytes) -> Members:
    """The tiny shards' members with a depth part in every sample."""
    grouped = itertools.groupby(members(), key=lambda member: member[0])
    return [row for key, own in grouped for row in sorted([*own, (key, DEPTH, data)], key=lambda member: member[1])]


def test_a_skipped_depth_is_counted_like_any_damage(deep: Path, tmp_path: Path) -> None:
    shards = shutil.copytree(deep, tmp_path / "shards")
    sample: Sample = open_shards(shards).samples[0]
    with open(shards / sample.shard, "r+b") as file:
        file.seek(sample.part(DEPTH).offset + 40)
        file.write(b"\0" * 8)
    config = dataclasses.replace(CONFIG, skip_budget=1, batch_size=3)
    batches = [StreamingShards(shards, config).replay(step) for step in range(2)]
    assert all(sample.key in batch.damaged and sample.key not in batch.keys for batch in batches)


def test_the_verb_takes_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = make_corpus(tmp_path, clips=1, frames=8, depth=MAPS)
    assert cli.main(["build-shards", str(corpus), "--out", str(tmp_path / "s"), "--depth"]) == 0
    assert "1 samples have depth maps" in capsys.readouterr().out


# Run apart: the package reads WDS_SECURE when it is imported, and its warnings are not ours.
READER = """
import json, sys
import webdataset as wds
found = {}
for sample in wds.WebDataset(sys.argv[1:], shardshuffle=False, nodesplitter=wds.split_by_node).decode():
    maps = sample["depth.npz"]
    code = 256.0 * maps["code_high"] + maps["code_low"]
    least, greatest = maps["inverse_range"].T[:, :, None, None]
    z = 1 / (least + (code - 1) / 65534 * (greatest - least))
    found[sample["__key__"]] = [maps["frame"].tolist(), float(z[code > 0].sum()), int((code > 0).sum())]
print(json.dumps(found))
"""


def test_the_webdataset_package_reads_the_maps(deep: Path) -> None:
    tars = [str(path) for path in sorted(deep.glob("*.tar"))]
    done = subprocess.run(
        [sys.executable, "-c", READER, *tars], capture_output=True, text=True, check=False, env={"WDS_SECURE": "1"}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    store = Corpus.open(deep.parent / "corpus")
    assert list(found) == [sample.key for sample in open_shards(deep).samples]
    for key, (frames, total, known) in found.items():
        depth = store.read(key).depth
        assert depth is not None
        assert (frames, known) == (depth.frame.tolist(), int(depth.valid.sum()))
        assert total == pytest.approx(float(depth.z.sum(dtype=np.float64)), rel=1e-6)  # float32 of the corpus
