"""Shards folders of two samples of a few hundred bytes, made by hand: every one of their bytes can be tried."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from wmkit.camera import ScaleKind
from wmkit.dataset.schema import Part, Sample, Shard, checksum, index_bytes
from wmkit.dataset.tar import BLOCK, END, member_header

__all__ = ["KEYS", "NAME", "members", "sealed", "vouched"]

NAME = "train-000000.tar"
KEYS = ("a" * 32, "b" * 32)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def parts_of(key: str) -> dict[str, bytes]:
    """Parts that agree with one another; the mp4 is none, which only --full would notice."""
    return {
        "intrinsics.npy": npy(np.ones((2, 4))),
        "json": json.dumps({"key": key}).encode(),
        "mp4": b"no film",
        "trajectory.npy": npy(np.tile(np.eye(4), (2, 1, 1))),
    }


Members = list[tuple[str, str, bytes]]  # key, part, payload


def members() -> Members:
    return [(key, name, data) for key in KEYS for name, data in parts_of(key).items()]


def sealed(folder: Path, listed: Members, *, end: bytes = END) -> Path:
    """A shards folder of these members whose head and index vouch for all of it: a writer's mistake, not a disk's."""
    folder.mkdir(exist_ok=True)
    tar, parts = b"", {}
    for key, name, data in listed:
        part = Part(name=name, offset=len(tar) + BLOCK, size=len(data), xxh3=checksum(data))
        parts.setdefault(key, []).append(part)
        tar += member_header(f"{key}.{name}", len(data)) + data + bytes(-len(data) % BLOCK)
    rest = {"shard": NAME, "frames": 2, "width": 8, "height": 8, "scale": ScaleKind.METRIC, "posed": np.ones(2, bool)}
    return vouched(folder, tar + end, [Sample(key=key, parts=tuple(own), **rest) for key, own in parts.items()])


def vouched(folder: Path, tar: bytes, samples: list[Sample]) -> Path:
    """The folder with this tar, this index, and a head with the sha256 of both."""
    index = index_bytes(samples)
    shard = Shard(name=NAME, size=len(tar), sha256=hashlib.sha256(tar).hexdigest(), samples=len(samples))
    row = {"name": NAME, "bytes": shard.size, "sha256": shard.sha256, "samples": shard.samples}
    head = {"schema_version": 1, "shards": [row], "index": {"sha256": hashlib.sha256(index).hexdigest()}}
    (folder / NAME).write_bytes(tar)
    (folder / "index.parquet").write_bytes(index)
    (folder / "shards.json").write_text(json.dumps(head))
    return folder
