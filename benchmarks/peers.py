"""What other packages' writers and readers of shards cost, each in a process of its own; skipped where not installed.

`python benchmarks/peers.py mds OUT SAMPLES MP4_BYTES` writes MosaicML streaming's shards of the same payloads as
`tar_writer`; `... energon SHARDS` runs `energon prepare` on a folder of tars and reads every byte by its loader. The
last line is JSON: CPU seconds, children included, and bytes. Other packages' imports are not counted.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

__all__ = ["peer"]

ROOT = Path(__file__).parents[1]
NEEDS = {"mds": "streaming", "energon": "megatron"}
EXTRAS = {"mds": "mosaicml-streaming", "energon": "megatron-energon"}


def peer(what: str, *words: object) -> dict[str, Any] | None:
    """The figures of one of these; None, and a line that says why, without its package."""
    if importlib.util.find_spec(NEEDS[what]) is None:
        print(f"{what}: skipped, {EXTRAS[what]} is not installed")
        return None
    command = [sys.executable, "-W", "ignore", __file__, what, *map(str, words)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def cpu_s() -> float:
    """CPU seconds of this process and of children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def mds(out: str, samples: str, mp4: str) -> dict[str, Any]:
    """`MDSWriter` with its defaults but for the size of a shard, with and without xxh3 of its shards."""
    # The package's own import also loads its vision part, which wants a torchvision that fits torch; this one does not.
    found = importlib.util.find_spec("streaming")
    if found is None or found.submodule_search_locations is None:
        raise SystemExit("streaming: expected a package")
    package = types.ModuleType("streaming")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["streaming"] = package
    from streaming.base.format.mds.writer import MDSWriter  # pyright: ignore[reportMissingImports]
    from tar_writer import SIZES
    from tar_writer import samples as made

    columns = {"key": "str", **dict.fromkeys(SIZES, "bytes")}
    costs = {}
    for name, hashes in (("plain", []), ("xxh3", ["xxh3_128"])):
        start_s = cpu_s()
        with MDSWriter(out=f"{out}/{name}", columns=columns, hashes=hashes, size_limit=1 << 30) as writer:
            for key, parts in made(int(samples), int(mp4)):
                writer.write({"key": key, **parts})
        costs[f"{name}_s"] = cpu_s() - start_s
    written = sum(path.stat().st_size for path in Path(out, "plain").rglob("*") if path.is_file())
    return {**costs, "bytes": written}


def energon(shards: str) -> dict[str, Any]:
    """`energon prepare`, then three rounds of its loader over the folder, the quickest of them."""
    from tests.interop_reader import energon_samples, prepare_energon

    start_s = cpu_s()
    prepare_energon(Path(shards))
    prepare_s, reads_s, total = cpu_s() - start_s, [], 0
    next(iter(energon_samples(Path(shards))))  # what is imported and opened once
    for _ in range(3):
        start_s = time.process_time()
        total = sum(
            len(value) for sample in energon_samples(Path(shards)) for value in sample.values() if _is_part(value)
        )
        reads_s.append(time.process_time() - start_s)
    return {"prepare_s": prepare_s, "read_s": min(reads_s), "bytes": total}


def _is_part(value: Any) -> bool:
    return isinstance(value, bytes)


if __name__ == "__main__":
    print(json.dumps({"mds": mds, "energon": energon}[sys.argv[1]](*sys.argv[2:])))
