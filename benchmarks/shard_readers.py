"""Samples a core-second from the same tar, undecoded: webdataset and Megatron-Energon streaming, ours in shuffled
order, and a bare `pread`.

`python benchmarks/shard_readers.py [--samples N] [--mp4 BYTES] [--rounds N] [--folder DIR]`. All bytes are in the page
cache; readers take turns. Energon reads a folder that `energon prepare` was run on, which is not counted.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers import peer

from wmkit.bench.loader import bare_pread, checked_parts, webdataset_bytes
from wmkit.camera import ScaleKind
from wmkit.dataset.schema import Part, Sample, checksum
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
            data = _json(rng, size) if name == "json" else rng.bytes(size or mp4)
            parts.append(Part(name=name, offset=file.add(f"{key}.{name}", data), size=len(data), xxh3=checksum(data)))
        place: dict[str, Any] = {"shard": NAME, "key": key, "frames": 81, "width": 640, "height": 352}
        samples.append(Sample(**place, scale=ScaleKind.METRIC, posed=np.ones(81, dtype=np.bool_), parts=tuple(parts)))
    file.close(count)
    return samples


def _json(rng: np.random.Generator, size: int) -> bytes:
    """Energon looks into one."""
    return json.dumps({"text": rng.bytes(size // 2).hex()}).encode()


def main() -> None:
    """Rounds, one reader after the other; the quickest of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--mp4", type=int, default=100_000, help="bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        samples = written(folder, arguments.samples, arguments.mp4)
        readers: dict[str, Callable[[], int]] = {
            "webdataset": lambda: webdataset_bytes([str(folder / NAME)]),
            "ours, integrity full": lambda: checked_parts(folder, samples, check=True),
            "ours, integrity off": lambda: checked_parts(folder, samples, check=False),
            "bare pread": lambda: bare_pread(folder, samples),
        }
        wanted, costs_s = bare_pread(folder, samples), dict.fromkeys(readers, float("inf"))
        for _ in range(arguments.rounds):
            for reader, read in readers.items():
                start_s = time.process_time()
                total = read()
                costs_s[reader] = min(costs_s[reader], time.process_time() - start_s)
                if total != wanted:
                    raise SystemExit(f"{reader}: expected {wanted} bytes, got {total}")
        energon = peer("energon", folder)
    if energon is not None:
        if energon["bytes"] != wanted:
            raise SystemExit(f"energon: expected {wanted} bytes, got {energon['bytes']}")
        costs_s["energon"] = energon["read_s"]
    ours_s = costs_s["ours, integrity full"]
    for reader, cost_s in costs_s.items():
        print(f"{reader:22} {arguments.samples / cost_s:10.0f} samples per core-s   ours {cost_s / ours_s:6.2f} times")


if __name__ == "__main__":
    main()
