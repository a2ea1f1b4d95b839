"""Batches by worker processes: those of the stream, bounded ahead, with errors in one line."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.schema import open_shards
from wmkit.dataset.workers import BatchWorkers
from wmkit.errors import CorruptShardError, InputError

CONFIG = LoaderConfig(frames=3, height=8, width=8, batch_size=6, seed=5, steps=7)
BATCH_BYTES = 6 * 3 * 3 * 8 * 8 * 4


def test_batches_are_the_streams_from_any_step(sound_shards: Path) -> None:
    stream = StreamingShards(sound_shards, CONFIG, rank=1, world_size=2)
    batches = BatchWorkers(StreamingShards(sound_shards, CONFIG, rank=1, world_size=2), 2)
    for step in (2, 3, 4, 5):
        found, wanted = batches(step), stream.share(step)
        assert (found.step, found.keys) == (step, wanted.keys)
        assert torch.equal(found.video, wanted.video)


def test_as_many_ahead_as_fit(sound_shards: Path) -> None:
    stream = StreamingShards(sound_shards, CONFIG)
    assert stream.batch_bytes == stream.replay(0).video.nbytes == BATCH_BYTES
    for workers, room, wanted in ((3, 7, (3, 2)), (3, 3, (3, 1)), (3, 2, (2, 1)), (1, 5, (1, 5))):
        held = BatchWorkers(stream, workers, room * BATCH_BYTES + 5)
        assert (held.workers, held.ahead) == wanted
        assert held.workers * held.ahead <= room
    with pytest.raises(InputError, match="room for a batch"):
        BatchWorkers(stream, 1, BATCH_BYTES - 1)
    with pytest.raises(InputError, match="at least 1"):
        BatchWorkers(stream, 0)


def test_damage_and_the_end_are_one_line(shards: Path) -> None:
    for sample in open_shards(shards).samples:
        with open(shards / sample.shard, "r+b") as file:
            file.seek(sample.part("mp4").offset + 50)
            file.write(b"xx")
    batches = BatchWorkers(StreamingShards(shards, CONFIG), 1)
    with pytest.raises(CorruptShardError, match=r"^[^\n]*expected .mp4 as it was written[^\n]*$"):
        batches(0)
    ended = BatchWorkers(StreamingShards(shards, replace(CONFIG, steps=2)), 1)
    with pytest.raises(InputError, match="ended before"):
        ended(2)
