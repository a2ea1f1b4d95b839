"""`bench loader`: what reading a shards folder costs, beside webdataset, a bare `pread` and PyAV's own decoding.

Undecoded: every part of every sample of one split once, from the page cache, in core-seconds of one process. Decoded:
crops of `StreamingShards`, in this process for their cost and through a DataLoader for how long a step waits for its
batch. The limit of the first is `pread`, that of the second PyAV decoding the same bytes to RGB and nothing else.
"""

import importlib.util
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.order import BlockShuffle
from wmkit.dataset.schema import Sample, open_shards, read_part, sample_parts
from wmkit.errors import InputError

__all__ = ["LoaderBench", "LoaderBenchOptions", "bare_pread", "bench_loader", "checked_parts", "webdataset_bytes"]

ROUNDS = 3  # the quickest counts: what is left of the others is the machine's other work


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderBenchOptions:
    """crop and batch as in `LoaderConfig`; steps and DataLoader workers of the decoded part."""

    frames: int = 17
    height: int = 256
    width: int = 256
    batch_size: int = 4
    steps: int = 32
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"--workers: expected at least 0, got {self.workers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderBench:
    """The figures.

    samples_per_core_s        undecoded, by reader; webdataset is missing when it is not installed.
    pread_share               ours with every part checked over bare pread.
    decode_frames_per_core_s  of whole clips: PyAV alone, and ours; of crops with what precedes them: `crop`.
    pyav_share                ours over PyAV, of whole clips.
    wait_p50_ms, wait_p99_ms  from asking for a batch to having it; the first is left out.
    """

    shards: str
    samples: int
    samples_per_core_s: dict[str, float]
    pread_share: float
    decode_frames_per_core_s: dict[str, float]
    pyav_share: float
    workers: int
    steps: int
    wait_p50_ms: float
    wait_p99_ms: float

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A table for people."""
        undecoded = [f"{name:28} {rate:12.0f} samples a core-s" for name, rate in self.samples_per_core_s.items()]
        decoded = [f"{name:28} {rate:12.0f} frames a core-s" for name, rate in self.decode_frames_per_core_s.items()]
        return [
            f"{self.shards}: {self.samples} samples",
            *undecoded,
            f"{'of bare pread':28} {100 * self.pread_share:12.0f} %",
            *decoded,
            f"{'of PyAV':28} {100 * self.pyav_share:12.0f} %",
            f"a batch waits {self.wait_p50_ms:.1f} ms (p50), {self.wait_p99_ms:.1f} ms (p99) with {self.workers} "
            f"workers, {self.steps} steps asked for without a pause",
        ]


def bench_loader(shards: Path, options: LoaderBenchOptions = LoaderBenchOptions()) -> LoaderBench:
    """Measure; raises what opening the shards raises, InputError when no sample is as long as a crop."""
    folder = open_shards(shards)
    config = LoaderConfig(
        frames=options.frames,
        height=options.height,
        width=options.width,
        batch_size=options.batch_size,
        steps=options.steps,
    )
    stream = StreamingShards(folder, config)
    tars = [str(shards / name) for name in sorted({sample.shard for sample in folder.samples})]
    readers: dict[str, Callable[[], int]] = {
        "ours, integrity full": lambda: checked_parts(shards, folder.samples, check=True),
        "ours, integrity off": lambda: checked_parts(shards, folder.samples, check=False),
        "bare pread": lambda: bare_pread(shards, folder.samples),
    }
    if importlib.util.find_spec("webdataset") is not None:
        readers["webdataset"] = lambda: webdataset_bytes(tars)
    wanted = bare_pread(shards, folder.samples)
    rates = {name: len(folder.samples) / _quickest(read, wanted) for name, read in readers.items()}
    decoders = _decode_rates(shards, folder.samples, stream)
    waits_s = _waits(stream, options.workers)
    return LoaderBench(
        shards=str(shards),
        samples=len(folder.samples),
        samples_per_core_s={name: round(rate, 1) for name, rate in rates.items()},
        pread_share=round(rates["ours, integrity full"] / rates["bare pread"], 4),
        decode_frames_per_core_s={name: round(rate, 1) for name, rate in decoders.items()},
        pyav_share=round(decoders["ours"] / decoders["PyAV"], 4),
        workers=options.workers,
        steps=len(waits_s),
        wait_p50_ms=round(float(np.percentile(waits_s, 50)) * 1e3, 3),
        wait_p99_ms=round(float(np.percentile(waits_s, 99)) * 1e3, 3),
    )


def checked_parts(folder: Path, samples: Sequence[Sample], *, check: bool) -> int:
    """Bytes of every part of samples in shuffled order, a sample a read; CorruptShardError for a wrong one."""
    shuffle = BlockShuffle(len(samples), 0, block=64, window=16)
    total = 0
    for draw in range(len(samples)):
        sample = samples[shuffle.sample(draw)]
        for data in sample_parts(folder, sample, check=check).values():
            total += len(data)
    return total


def bare_pread(folder: Path, samples: Sequence[Sample]) -> int:
    """The limit: bytes by nothing but `pread` of every part, each tar opened once."""
    descriptors = {name: os.open(folder / name, os.O_RDONLY) for name in {sample.shard for sample in samples}}
    total = 0
    try:
        for sample in samples:
            for part in sample.parts:
                total += len(os.pread(descriptors[sample.shard], part.size, part.offset))
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return total


def webdataset_bytes(tars: Sequence[str]) -> int:
    """Bytes that the plain library yields, in tar order, not decoded."""
    from webdataset.compat import WebDataset
    from webdataset.shardlists import split_by_node

    stream = WebDataset(list(tars), shardshuffle=False, nodesplitter=split_by_node)
    return sum(len(data) for sample in stream for data in sample.values() if isinstance(data, bytes))


def _quickest(read: Callable[[], int], wanted: int) -> float:
    """CPU seconds of the quickest of three rounds; AssertionError when a reader did not read everything."""
    costs_s = []
    for _ in range(ROUNDS):
        start_s = time.process_time()
        total = read()
        costs_s.append(time.process_time() - start_s)
        if total != wanted:
            raise AssertionError(f"expected {wanted} bytes, got {total}")
    return max(min(costs_s), 1e-9)


def _decode_rates(shards: Path, samples: Sequence[Sample], stream: StreamingShards) -> dict[str, float]:
    """Frames a core-second: whole clips by PyAV alone and by ours, crops of the stream's first steps by ours."""
    from wmkit.dataset.decode import decode_frames

    some = samples[: max(1, min(len(samples), 16))]
    frames = sum(sample.frames for sample in some)
    bytes_of = [read_part(shards, sample, "mp4") for sample in some]
    plain_s = _quickest(lambda: sum(_pyav_frames(data) for data in bytes_of), frames)
    ours_s = _quickest(lambda: sum(len(decode_frames(shards, sample, 0, sample.frames)) for sample in some), frames)
    start_s = time.process_time()
    crops = sum(len(batch.keys) * batch.video.shape[1] for batch in (stream.replay(step) for step in range(4)))
    return {"PyAV": frames / plain_s, "ours": frames / ours_s, "crop": crops / (time.process_time() - start_s)}


def _pyav_frames(data: bytes) -> int:
    """Frames that PyAV decodes to RGB, on one thread."""
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(len(frame.to_ndarray(format="rgb24")) > 0 for frame in container.decode(video=0))


def _waits(stream: StreamingShards, workers: int) -> list[float]:
    """Seconds from asking for each batch but the first to having it."""
    from torch.utils.data import DataLoader

    waits_s, batches = [], iter(DataLoader(stream, batch_size=None, num_workers=workers))
    while True:
        start_s = time.monotonic()
        if next(batches, None) is None:
            return waits_s[1:]
        waits_s.append(time.monotonic() - start_s)
