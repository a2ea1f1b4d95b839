"""Samples a core-second from the same tar, undecoded: webdataset streaming, ours in shuffled order, and a bare `pread`.

`python benchmarks/shard_readers.py [--samples N] [--mp4 BYTES] [--folder DIR]`. All bytes are in the page cache.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from webdataset.compat import WebDataset
from webdataset.shardlists import split_by_node

from wmkit.camera import ScaleKind
from wmkit.dataset.order import BlockShuffle
from wmkit.dataset.schema import Part, Sample, checksum, part_bytes
from wmkit.dataset.tar import ShardFile

SIZES = {"intrinsics.npy": 2_700, "json": 12_000, "mp4": 0, "trajectory.npy": 10_500}  # bytes, of 81 frames
NAME = "train-000000.tar"


def written(folder: Path, count: int, mp4: int) -> list[Sample]:
    """One tar of `count` samples, and its index."""
    rng = np.random.default_rng(0)
    file, samples = ShardFile(folder / NAME), []
    for number in range(count):
        key, parts = f"{number:032x}", []
        for name, size in SIZES.items():
            data = rng.bytes(size or mp4)
            parts.append(Part(name=name, offset=file.add(f"{key}.{name}", data), size=len(data), xxh3=checksum(data)))
        place: dict[str, Any] = {"shard": NAME, "key": key, "frames": 81, "width": 640, "height": 352}
        samples.append(Sample(**place, scale=ScaleKind.METRIC, posed=np.ones(81, dtype=np.bool_), parts=tuple(parts)))
    file.close(count)
    return samples


def webdataset_stream(folder: Path) -> int:
    """Bytes that the plain library yields, in tar order, not decoded."""
    stream = WebDataset(str(folder / NAME), shardshuffle=False, nodesplitter=split_by_node)
    return sum(len(data) for sample in stream for data in sample.values() if isinstance(data, bytes))


def ours(folder: Path, samples: list[Sample], *, check: bool) -> int:
    """Bytes read part by part in shuffled order, as the loader reads them."""
    shuffle = BlockShuffle(len(samples), 0, block=64, window=16)
    total = 0
    for draw in range(len(samples)):
        sample = samples[shuffle.sample(draw)]
        for part in sample.parts:
            data, wrong = part_bytes(folder, sample, part, check=check)
            if wrong:
                raise SystemExit(wrong)
            total += len(data)
    return total


def bare(folder: Path, samples: list[Sample]) -> int:
    """The limit: nothing but `pread` of every part, one open file."""
    descriptor, total = os.open(folder / NAME, os.O_RDONLY), 0
    for sample in samples:
        for part in sample.parts:
            total += len(os.pread(descriptor, part.size, part.offset))
    os.close(descriptor)
    return total


def main() -> None:
    """Three rounds, one reader after the other; the quickest of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--mp4", type=int, default=100_000, help="bytes")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        samples = written(folder, arguments.samples, arguments.mp4)
        readers: dict[str, Callable[[], int]] = {
            "webdataset": lambda: webdataset_stream(folder),
            "ours, integrity full": lambda: ours(folder, samples, check=True),
            "ours, integrity off": lambda: ours(folder, samples, check=False),
            "bare pread": lambda: bare(folder, samples),
        }
        wanted, costs_s = bare(folder, samples), dict.fromkeys(readers, float("inf"))
        for _ in range(3):
            for reader, read in readers.items():
                start_s = time.process_time()
                total = read()
                costs_s[reader] = min(costs_s[reader], time.process_time() - start_s)
                if total != wanted:
                    raise SystemExit(f"{reader}: expected {wanted} bytes, got {total}")
    for reader, cost_s in costs_s.items():
        print(f"{reader:22} {arguments.samples / cost_s:10.0f} samples per core-s")


if __name__ == "__main__":
    main()
