"""`python -m tests.interop_reader energon|datasets SHARDS`: what another package reads of a shards folder, as JSON.

Run in a process of its own: these packages patch multiprocessing and open loops of their own when imported. Of every
sample each part that comes as bytes by its sha256, any other by its value.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def prepare_energon(shards: Path) -> None:
    """`energon prepare`, which asks nothing and writes its own index beside the tars."""
    import subprocess

    flags = ["--non-interactive", "--force-overwrite", "--no-progress", "--num-workers", "1"]
    flags += ["--sample-type", "CrudeWebdataset", "--split-parts", r"train:train-.*\.tar"]
    command = [sys.executable, "-m", "megatron.energon.cli.main"]  # its script may be off the PATH
    subprocess.run([*command, "prepare", str(shards), *flags], check=True, stdout=sys.stderr)


def energon_samples(shards: Path) -> Iterator[dict[str, Any]]:
    """Samples of a prepared folder as energon's own loader gives them, undecoded."""
    from megatron.energon import Cooker, DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset, stateless  # pyright: ignore[reportMissingImports]

    @stateless
    def as_it_is(sample: Any) -> Any:
        return sample

    class Plain(DefaultTaskEncoder):
        decoder = None
        cookers = [Cooker(as_it_is)]  # noqa: RUF012 - energon's own interface

    dataset = get_train_dataset(
        str(shards),
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        batch_size=None,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        task_encoder=Plain(),
        repeat=False,
    )
    yield from get_loader(dataset)


def by_energon(shards: Path) -> Iterator[dict[str, Any]]:
    """Prepared, and then read."""
    prepare_energon(shards)
    yield from energon_samples(shards)


def by_datasets(shards: Path) -> Iterator[dict[str, Any]]:
    """Samples as `load_dataset("webdataset")` streams them; it decodes json and npy by itself, videos when asked."""
    from datasets import load_dataset  # pyright: ignore[reportMissingImports]

    files = {"train": sorted(str(path) for path in shards.glob("train-*.tar"))}
    yield from load_dataset("webdataset", data_files=files, split="train", streaming=True).decode(False)


def told(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        value = value["bytes"]
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value


def main(reader: str, shards: str) -> None:
    read = {"energon": by_energon, "datasets": by_datasets}[reader]
    samples = {}
    for sample in read(Path(shards)):
        parts = {name: told(value) for name, value in sample.items() if not name.startswith("_")}
        samples[sample["__key__"].rpartition("/")[2]] = parts
    print(json.dumps(samples, default=lambda array: array.tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
