"""safetensors on disk, whole or in shards: headers without loading, tensors one by one, nothing by pickle.

A source is a `.safetensors` file or a folder that holds one, or an index (`*.safetensors.index.json`, as Hugging Face
libraries write it) and its shards.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wmkit.atomic import put_in_place, sync_file, write_atomic
from wmkit.errors import ConfigError, InputError
from wmkit.json_object import read_json

__all__ = ["TensorSpec", "WeightsSource", "write_shards"]

PICKLED = {".pt", ".pth", ".bin", ".ckpt", ".pkl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Shape of a stored tensor, its dtype as safetensors calls it, and the file that holds it."""

    shape: tuple[int, ...]
    dtype: str
    file: Path

    @property
    def values(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Names and shapes of a checkpoint; `folder` is where a config may stand beside it."""

    specs: Mapping[str, TensorSpec]
    folder: Path

    @classmethod
    def open(cls, path: Path) -> "WeightsSource":
        """Read the headers alone. Raises InputError for no checkpoint, a pickled one, or a damaged or absent shard."""
        files = _files_of(path)
        specs: dict[str, TensorSpec] = {}
        for file in files:
            for name, spec in _header(file).items():
                if name in specs:
                    raise InputError(f"{file}: expected every tensor once, got {name} in {specs[name].file.name} too")
                specs[name] = spec
        return cls(specs=specs, folder=path if path.is_dir() else path.parent)

    def tensor(self, name: str) -> Tensor:
        """One tensor, on the CPU."""
        from safetensors import safe_open

        with safe_open(self.specs[name].file, framework="pt") as file:
            return file.get_tensor(name)


def write_shards(
    tensors: Iterator[tuple[str, Tensor]], folder: Path, stem: str, shard_bytes: int | float
) -> list[Path]:
    """Write `stem.safetensors`, or numbered shards of at most `shard_bytes` and their index; one shard is in memory.

    `folder` must exist. Raises ConfigError unless `shard_bytes` is positive.
    """
    from safetensors.torch import save_file

    if not shard_bytes > 0:  # NaN is not
        raise ConfigError(f"shard size: expected more than 0 bytes, got {shard_bytes}")
    written: list[tuple[Path, list[str]]] = []
    total = 0
    for part in _parts(tensors, shard_bytes):
        scratch = folder / f".{stem}-{len(written):05d}"
        save_file(part, scratch, metadata={"format": "pt"})
        sync_file(scratch)
        written.append((scratch, list(part)))
        total += sum(tensor.nbytes for tensor in part.values())
    if len(written) == 1:
        single = folder / f"{stem}.safetensors"
        put_in_place(written[0][0], single)
        return [single]
    files, places = [], {}
    for number, (scratch, names) in enumerate(written, start=1):
        file = folder / f"{stem}-{number:05d}-of-{len(written):05d}.safetensors"
        put_in_place(scratch, file)
        files.append(file)
        places |= dict.fromkeys(names, file.name)
    index = folder / f"{stem}.safetensors.index.json"
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=1) + "\n"
    write_atomic(index, text.encode())
    return [*files, index]


def _parts(tensors: Iterator[tuple[str, Tensor]], shard_bytes: int | float) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if part and size + tensor.nbytes > shard_bytes:
            yield part
            part, size = {}, 0
        part[name] = tensor.contiguous()
        size += tensor.nbytes
    yield part


def _files_of(path: Path) -> list[Path]:
    _refuse_pickle(path)
    if path.is_file():
        return _indexed(path) if path.name.endswith(".index.json") else [path]
    if not path.is_dir():
        raise InputError(f"{path}: expected a .safetensors file or a folder of them, found no such path")
    indices, files = sorted(path.glob("*.safetensors.index.json")), sorted(path.glob("*.safetensors"))
    if len(indices) == 1:
        return _indexed(indices[0])
    if len(files) == 1 and not indices:
        return files
    found = len(indices) + len(files)
    if not found:
        for pickled in sorted(path.iterdir()):
            _refuse_pickle(pickled)
    raise InputError(f"{path}: expected one .safetensors file or one index of shards, found {found}; name the file")


def _refuse_pickle(path: Path) -> None:
    if path.suffix in PICKLED:
        raise InputError(
            f"{path}: expected safetensors, got a pickle, which can run code; ask its author for safetensors"
        )


def _indexed(index: Path) -> list[Path]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index}: expected a weight_map of tensor names to files, found none")
    files = [index.parent / name for name in sorted({str(name) for name in places.values()})]
    for file in files:
        _refuse_pickle(file)
    absent = [file.name for file in files if file.parent != index.parent or not file.is_file()]
    if absent:
        raise InputError(f"{index}: expected {len(files)} shards beside it, {absent[0]} is absent; fetch it again")
    return files


def _header(file: Path) -> dict[str, TensorSpec]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
            return {
                name: TensorSpec(shape=tuple(part.get_shape()), dtype=part.get_dtype(), file=file)
                for name, part in slices.items()
            }
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: expected whole safetensors, got: {error}; fetch it again") from error
