"""What packing samples into a tar costs a core: our writer beside webdataset's, MosaicML's and Energon's.

`python benchmarks/tar_writer.py [--samples N] [--mp4 BYTES] [--folder DIR]`: a table of CPU seconds. All write the same
payloads without the samples being encoded anew. Ours takes XXH3-128 of every part and of the whole; sha256, the sync
and the read-back from the disk are their own line. webdataset's tar has no index and no checksum, and is not synced;
`energon prepare` is what has to follow it before Energon reads it. `MDSWriter` writes shards of its own kind and an
index, without and with XXH3-128 of every shard. The last two in processes of their own, where they are installed.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from peers import peer
from webdataset.writer import TarWriter
from xxhash import xxh3_128_hexdigest

from wmkit.dataset.tar import ShardFile

Result = TypeVar("Result")

SIZES = {"intrinsics.npy": 2_700, "json": 12_000, "mp4": 1_000_000, "trajectory.npy": 10_500}  # bytes, of 81 frames


def samples(count: int, mp4: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The same payloads again and again: the writers are measured, not the generator."""
    rng = np.random.default_rng(0)
    parts = {name: rng.bytes(mp4 if name == "mp4" else size) for name, size in SIZES.items()}
    parts["json"] = b'{"text": "%s"}' % rng.bytes(SIZES["json"] // 2).hex().encode()  # Energon looks into one
    for number in range(count):
        yield f"{number:032x}", parts


def ours(path: Path, count: int, mp4: int) -> ShardFile:
    """Packed and hashed, not yet closed."""
    file = ShardFile(path)
    for key, parts in samples(count, mp4):
        for name, data in parts.items():
            file.add(f"{key}.{name}", data)
            xxh3_128_hexdigest(data)
    return file


def theirs(path: Path, count: int, mp4: int) -> None:
    """The plain `TarWriter`, its encoders off."""
    with TarWriter(str(path), encoder=False) as writer:
        for key, parts in samples(count, mp4):
            writer.write({"__key__": key, **parts})


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds of this process, and what came out."""
    start_s = time.process_time()
    result = work()
    return time.process_time() - start_s, result


def one_round(path: Path, count: int, mp4: int) -> tuple[dict[str, float], int]:
    """CPU seconds by what was done, one after the other so that all meet the same machine; bytes of the tar."""
    costs_s = {"webdataset.TarWriter": timed(lambda: theirs(path, count, mp4))[0]}
    energon = peer("energon", path.parent)
    if energon is not None:
        costs_s["energon prepare, after it"] = energon["prepare_s"]
        shutil.rmtree(path.parent / ".nv-meta")
    path.unlink()
    costs_s["packing with xxh3"], file = timed(lambda: ours(path, count, mp4))
    costs_s["fsync, sha256, read back"], shard = timed(lambda: file.close(count))
    costs_s["ours, all together"] = costs_s["packing with xxh3"] + costs_s["fsync, sha256, read back"]
    path.unlink()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        mds = peer("mds", folder, count, mp4)
    if mds is not None:
        costs_s |= {"MDSWriter": mds["plain_s"], "MDSWriter with xxh3": mds["xxh3_s"]}
    return costs_s, shard.size


def main() -> None:
    """Three rounds, the quickest of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--mp4", type=int, default=SIZES["mp4"], help="bytes")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rounds = [one_round(Path(folder) / "train-000000.tar", arguments.samples, arguments.mp4) for _ in range(3)]
    theirs_s = min(costs_s["webdataset.TarWriter"] for costs_s, _ in rounds)
    for name in rounds[0][0]:
        least_s, size = min(costs_s[name] for costs_s, _ in rounds), rounds[0][1]
        speed = f"{size / least_s / 1e9:6.2f} GB per core-s"
        print(f"{name:26} {least_s:8.3f} core-s   {speed}   {theirs_s / least_s:5.2f} of TarWriter's speed")


if __name__ == "__main__":
    main()
