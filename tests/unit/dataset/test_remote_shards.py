"""Shards behind a URL give the batches of those on disk, by ranged reads, from a cache that is not trusted."""

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.http_folder import Served, http_folder
from wmkit.dataset import remote_shards
from wmkit.dataset.batch import Batch
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.remote_shards import RemoteShards
from wmkit.dataset.schema import open_shards
from wmkit.errors import CorruptShardError, InputError
from wmkit.video import remote

CONFIG = LoaderConfig(frames=3, height=16, width=16, batch_size=2, steps=4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0))
    return tmp_path / "cache" / "shards"


@pytest.fixture
def served(shards: Path) -> Iterator[Served]:
    with http_folder(shards) as found:
        yield found


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        a.keys == b.keys and torch.equal(a.video, b.video) and torch.equal(a.world_from_cam, b.world_from_cam)
        for a, b in zip(one, other, strict=True)
    )


def test_batches_are_those_of_the_folder_and_each_sample_is_read_once(served: Served, shards: Path) -> None:
    here, there = (list(StreamingShards(place, CONFIG)) for place in (shards, served.url))
    assert same(here, there)
    ranges = [asked for method, path, asked in served.requests if method == "GET" and path.endswith(".tar")]
    assert None not in ranges, "never a whole tar"
    assert len(set(ranges)) == len(ranges), "three samples, eight draws: one request a sample"
    samples = open_shards(shards).samples
    tars = sum(shard.size for shard in open_shards(shards).shards)
    wanted = sum(part.size for sample in samples for part in sample.parts)
    sent = served.bytes_sent - sum((shards / name).stat().st_size for name in ("shards.json", "index.parquet"))
    assert wanted <= sent < tars
    sent = served.bytes_sent
    assert same(here, list(StreamingShards(served.url, CONFIG)))
    assert served.bytes_sent - sent == sum((shards / name).stat().st_size for name in ("shards.json", "index.parquet"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_for_themselves(method: str, served: Served, shards: Path) -> None:
    """After this process has used it, so that a fork inherits threads that are not there."""
    remote = StreamingShards(served.url, CONFIG)
    remote.replay(0)
    loader = DataLoader(remote, batch_size=None, num_workers=2, multiprocessing_context=method)
    assert same(list(loader), list(StreamingShards(shards, CONFIG)))


def test_read_ahead_stays_within_its_budget(served: Served, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_shards(served.url)
    assert isinstance(folder.path, RemoteShards)
    size = max(sum(part.size for part in sample.parts) for sample in folder.samples)
    monkeypatch.setattr(remote_shards, "AHEAD_BYTES", 2 * size)
    for sample in folder.samples:
        folder.path.will_need(sample)
        folder.path.will_need(sample)
    assert len(folder.path._ahead) == 1, "two samples and their headers do not fit"
    for sample in folder.samples:
        for part in sample.parts:
            data, wrong = folder.path.pread(sample, part)
            assert (len(data), wrong) == (part.size, None)
    assert not folder.path._ahead
    assert pickle.loads(pickle.dumps(folder.path)).url == served.url


def test_a_spoilt_copy_is_fetched_again_and_a_spoilt_server_is_named(served: Served, shards: Path, cache: Path) -> None:
    wanted = list(StreamingShards(served.url, CONFIG))
    for copy in cache.glob("??/*"):
        data = bytearray(copy.read_bytes())
        data[len(data) // 2] ^= 1
        copy.write_bytes(data)
    assert same(list(StreamingShards(served.url, CONFIG)), wanted)
    for copy in cache.glob("??/*"):
        os.remove(copy)
    for tar in shards.glob("*.tar"):
        tar.write_bytes(bytes(len(tar.read_bytes())))
    with pytest.raises(CorruptShardError, match="got other bytes"):
        list(StreamingShards(served.url, CONFIG))


def test_a_cache_that_is_full_or_cannot_be_written_is_no_error(
    served: Served, shards: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = list(StreamingShards(shards, CONFIG))
    monkeypatch.setenv("WMKIT_CACHE_GIB", str(20_000 / 2**30))  # one sample of the three
    assert same(list(StreamingShards(served.url, CONFIG)), wanted)
    assert len(list(cache.glob("??/*"))) == 1
    monkeypatch.setenv("WMKIT_CACHE", "/proc/nowhere")
    assert same(list(StreamingShards(served.url, CONFIG)), wanted)


def test_a_url_without_shards_is_one_line(served: Served, shards: Path) -> None:
    with pytest.raises(InputError, match="expected shards at this URL"):
        StreamingShards(f"{served.url}/nowhere", CONFIG)
    (shards / "train-000001.tar").unlink()
    with pytest.raises(CorruptShardError, match=r"train-000001.tar: expected \d+ bytes, got no such file"):
        StreamingShards(served.url, CONFIG)


def test_a_stride_takes_every_nth_frame(sound_shards: Path) -> None:
    """Frame 3 has no pose: no crop holds it, one that steps over it may."""
    plain = StreamingShards(sound_shards, replace(CONFIG, frames=1, batch_size=3))
    config = replace(CONFIG, frames=4, stride=2, batch_size=3, steps=40)
    starts = set()
    for batch in StreamingShards(sound_shards, config):
        # The camera slides by 0.1 a frame and turns by 1 degree: in its own first frame it moved by k * stride steps.
        steps = batch.world_from_cam[:, :, :3, 3].norm(dim=-1) / 0.1
        torch.testing.assert_close(steps, torch.arange(0, 8, 2).expand(3, 4).float(), atol=0.01, rtol=0)
        bright = batch.video.mean(dim=(2, 3, 4)).numpy()
        # 90 levels over 24 frames, of 127.5 to a unit: two frames are 0.061 brighter, the wall's motion is noise on it
        assert np.allclose(np.diff(bright, axis=1), 2 * 90 / 23 / 127.5, atol=0.03)
        starts |= {round(float(value), 2) for value in bright[:, 0]}
    assert len(starts) > 8
    assert plain.samples == (3,)
    with pytest.raises(InputError, match="24 posed frames 2 apart"):
        StreamingShards(sound_shards, replace(config, frames=24))
