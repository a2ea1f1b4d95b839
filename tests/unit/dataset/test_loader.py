"""Batches: pure in (seed, step), cameras that still fit the pixels, frames that are the ones asked for."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
import torch

from tests.shard_samples import annotate_folder, make_shards
from tests.video_clips import read_number, write_clip
from wmkit.dataset.batch import Batch
from wmkit.dataset.decode import decode_frames, fit_frames
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.schema import open_shards, opened, read_part
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.errors import CorruptShardError, InputError

CONFIG = LoaderConfig(frames=5, height=24, width=32, batch_size=2, seed=7)


def same(left: Batch, right: Batch) -> bool:
    return (
        left.keys == right.keys
        and left.metric == right.metric
        and torch.equal(left.video, right.video)
        and torch.equal(left.world_from_cam, right.world_from_cam)
        and torch.equal(left.intrinsics, right.intrinsics)
    )


def test_shapes_ranges_and_types(sound_shards: Path) -> None:
    batch = StreamingShards(sound_shards, CONFIG).replay(0)
    assert batch.video.shape == (2, 5, 3, 24, 32)
    assert batch.world_from_cam.shape == (2, 5, 4, 4)
    assert batch.intrinsics.shape == (2, 5, 4)
    assert {batch.video.dtype, batch.world_from_cam.dtype, batch.intrinsics.dtype} == {torch.float32}
    assert -1 <= batch.video.min() < -0.3
    assert 0 < batch.video.max() <= 1
    assert batch.metric == (False, False)


def test_a_batch_is_a_pure_function_of_seed_and_step(sound_shards: Path) -> None:
    loader = StreamingShards(sound_shards, CONFIG)
    first = [loader.replay(step) for step in range(5)]
    fresh = StreamingShards(sound_shards, CONFIG)
    assert all(same(first[step], fresh.replay(step)) for step in (4, 0, 3, 3, 1, 2))
    other = StreamingShards(sound_shards, LoaderConfig(frames=5, height=24, width=32, batch_size=2, seed=8))
    assert not all(same(first[step], other.replay(step)) for step in range(5))


def test_every_sample_comes_once_an_epoch_in_a_changing_order(sound_shards: Path) -> None:
    loader = StreamingShards(sound_shards, LoaderConfig(frames=2, height=8, width=8, batch_size=1))
    epochs = [tuple(loader.replay(3 * epoch + place).keys[0] for place in range(3)) for epoch in range(12)]
    assert all((len(set(epoch)),) == loader.samples == (3,) for epoch in epochs)
    assert len(set(epochs)) > 1


def test_batch_size_does_not_change_the_order(sound_shards: Path) -> None:
    small = StreamingShards(sound_shards, LoaderConfig(frames=4, height=8, width=8, batch_size=1))
    large = StreamingShards(sound_shards, LoaderConfig(frames=4, height=8, width=8, batch_size=4))
    batch = large.replay(1)
    for place in range(4):
        alone = small.replay(4 + place)
        assert alone.keys[0] == batch.keys[place]
        assert torch.equal(alone.video[0], batch.video[place])


def test_crops_hold_posed_frames_in_order_and_begin_everywhere(sound_shards: Path) -> None:
    """Frame 3 of 24 has no pose, so four frames fit from 4 to 20 only; every frame is brighter than the one before."""
    level: dict[str, np.ndarray] = {}
    for sample in open_shards(sound_shards).samples:
        rgb, _ = fit_frames(decode_frames(sound_shards, sample, 0, 24), np.full((24, 4), 9.0), 8, 8)
        level[sample.key] = rgb.mean(axis=(1, 2, 3)) / 127.5 - 1
    loader = StreamingShards(sound_shards, LoaderConfig(frames=4, height=8, width=8, batch_size=8))
    starts: Counter[int] = Counter()
    for batch in (loader.replay(step) for step in range(20)):
        assert torch.isfinite(batch.world_from_cam).all()
        assert torch.equal(batch.world_from_cam[:, 0], torch.eye(4).expand(8, 4, 4))
        for key, video in zip(batch.keys, batch.video.mean(dim=(2, 3, 4)).numpy(), strict=True):
            frames = [int(np.abs(level[key] - mean).argmin()) for mean in video]
            assert frames == list(range(frames[0], frames[0] + 4))
            starts[frames[0]] += 1
    assert set(starts) == set(range(4, 21))


@pytest.mark.parametrize("metric", [False, True])
def test_cameras_are_relative_to_the_first_of_the_crop(metric: bool, tmp_path: Path) -> None:
    shards = make_shards(tmp_path, clips=1, frames=6, metric=metric)
    batch = StreamingShards(shards, LoaderConfig(frames=6, height=48, width=64, batch_size=1)).replay(0)
    (sample,) = open_shards(shards).samples
    poses = np.load(io.BytesIO(read_part(shards, sample, "trajectory.npy")), allow_pickle=False)
    want = np.linalg.inv(poses[0]) @ poses
    # float32 of numbers around 1.
    np.testing.assert_allclose(batch.world_from_cam[0].numpy(), want, rtol=0, atol=1e-6)
    assert batch.metric == (metric,)
    # The made-up camera slides 0.1 a frame; the made-up scale is 2 m a unit.
    step = np.linalg.norm(batch.world_from_cam[0, 1, :3, 3].numpy())
    assert step == pytest.approx(0.2 if metric else 0.1, abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (32, 24), (30, 30), (20, 44), (128, 96), (47, 13)])
def test_intrinsics_follow_resize_and_crop(width: int, height: int) -> None:
    """A white square is found where the moved camera projects its centre, at every size and crop."""
    cameras = np.array([[60.0, 58.0, 31.0, 25.0]])
    point = np.array([0.05, -0.03, 1.0])
    center = cameras[0, :2] * point[:2] + cameras[0, 2:]
    y, x = np.mgrid[0:48, 0:64] + 0.5
    blob = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * 3.0**2))
    rgb = np.repeat((blob * 255).round().astype(np.uint8)[None, ..., None], 3, axis=-1)
    picture, moved = fit_frames(rgb, cameras, width, height)
    assert picture.shape == (1, height, width, 3)
    weight = picture[0, :, :, 0].astype(np.float64)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    want = moved[0, :2] * point[:2] + moved[0, 2:]
    if min(width, height) >= 24:  # below, the crop cuts the square's tails and moves its centroid
        # 8-bit rounding and the tails at the border move the centroid by a few hundredths of a pixel.
        np.testing.assert_allclose(found, want, rtol=0, atol=0.1)
    else:
        row, column = np.unravel_index(weight.argmax(), weight.shape)
        np.testing.assert_allclose([column + 0.5, row + 0.5], want, rtol=0, atol=1.0)


def test_frames_and_rows_are_the_same_frames(tmp_path: Path) -> None:
    """Numbered frames at uneven times: every row of the mp4 shows the number whose time the json names."""
    ticks = [0, 3, 4, 5, 9, 10, 11, 12, 13, 20, 21, 22, 24, 26, 27, 28, 29, 30, 31, 33]
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "vfr.mp4", ticks, (96, 64))
    corpus = annotate_folder(tmp_path / "clips", tmp_path / "corpus")
    build_shards(corpus, tmp_path / "shards")
    (sample,) = open_shards(tmp_path / "shards").samples
    record = json.loads(read_part(tmp_path / "shards", sample, "json"))
    pts_s = np.array(record["view"]["pts_s"])
    numbers = [int(np.abs(np.array(ticks) / 30 - time_s).argmin()) for time_s in pts_s]
    assert len(set(numbers)) == sample.frames
    for start in (0, 5, sample.frames - 3):
        rgb = decode_frames(tmp_path / "shards", sample, start, 3)
        assert [read_number(frame) for frame in rgb] == numbers[start : start + 3]


@pytest.mark.parametrize("video", ["encode", "copy"])
def test_a_crop_from_the_middle_is_the_full_decode_cut(video: Literal["encode", "copy"], tmp_path: Path) -> None:
    """Decoding starts at a keyframe, of which 40 frames have several (encode) or one (copy), B-frames between them."""
    shards = make_shards(tmp_path, clips=1, frames=40, options=BuildOptions(video=video))
    (sample,) = open_shards(shards).samples
    with av.open(io.BytesIO(read_part(shards, sample, "mp4")), "r") as container:
        keyframes = sum(packet.is_keyframe for packet in container.demux(video=0) if packet.pts is not None)
    assert keyframes >= 3 if video == "encode" else keyframes == 1
    with av.open(io.BytesIO(read_part(shards, sample, "mp4")), "r") as container:
        full = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    for start in range(38):
        np.testing.assert_array_equal(decode_frames(shards, sample, start, 3), full[start : start + 3])


@pytest.mark.parametrize("size", [(50, 34), (66, 48)])
def test_rows_that_a_decoder_pads_are_pyavs(size: tuple[int, int], tmp_path: Path) -> None:
    """Widths whose rows of RGB end off the decoder's alignment."""
    shards = make_shards(tmp_path, clips=1, frames=4, size=size)
    (sample,) = open_shards(shards).samples
    with av.open(io.BytesIO(read_part(shards, sample, "mp4")), "r") as container:
        full = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    np.testing.assert_array_equal(decode_frames(shards, sample, 0, 4), full)


def test_an_open_tar_is_its_samples_alone(sound_shards: Path) -> None:
    first, *_, last = open_shards(sound_shards).samples
    assert first.shard != last.shard
    with opened(sound_shards, first) as place:
        assert read_part(place, first, "json") == read_part(sound_shards, first, "json")
        with pytest.raises(ValueError, match=r"expected a sample of train-000000\.tar"):
            read_part(place, last, "json")
    with pytest.raises(CorruptShardError, match=r"got a closed tar"):
        read_part(place, first, "json")


def test_samples_that_give_no_crop_are_counted(tmp_path: Path, sound_shards: Path) -> None:
    assert StreamingShards(sound_shards, CONFIG).skipped == {"too_short": 0, "unposed": 0}
    # Frames 0 to 2 and 4 to 23 are posed.
    assert StreamingShards(sound_shards, LoaderConfig(frames=20, height=8, width=8, batch_size=1)).samples == (3,)
    with pytest.raises(InputError, match=r"21 consecutive posed frames, got none of 3 \(0 too short\)"):
        StreamingShards(sound_shards, LoaderConfig(frames=21, height=8, width=8, batch_size=1))
    with pytest.raises(InputError, match="3 too short"):
        StreamingShards(sound_shards, LoaderConfig(frames=25, height=8, width=8, batch_size=1))


@pytest.mark.parametrize("name", ["frames", "height", "width", "batch_size"])
def test_a_config_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        replace(LoaderConfig(frames=1, height=1, width=1, batch_size=1), **{name: 0})


def test_an_mp4_that_lies_is_a_corrupt_shard(sound_shards: Path) -> None:
    sample = open_shards(sound_shards).samples[0]
    with pytest.raises(CorruptShardError, match=r"24 frames of 64x48 px .* got 0 of frames 23 to 24"):
        decode_frames(sound_shards, sample, 23, 2)


def test_a_batch_checks_itself() -> None:
    good = {
        "video": torch.zeros(1, 2, 3, 4, 5),
        "world_from_cam": torch.zeros(1, 2, 4, 4),
        "intrinsics": torch.zeros(1, 2, 4),
        "keys": ("a",),
        "metric": (True,),
        "step": 0,
    }
    Batch(**good)
    wrong = {
        "video": torch.zeros(1, 2, 4, 5, 3),
        "world_from_cam": torch.zeros(1, 3, 4, 4),
        "intrinsics": torch.zeros(1, 2, 4, dtype=torch.float64),
        "keys": ("a", "b"),
        "metric": (),
    }
    for name, value in wrong.items():
        with pytest.raises(InputError, match="batch"):
            Batch(**{**good, name: value})
