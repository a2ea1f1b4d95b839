"""A checkpoint of a run on many processes, by torch's distributed checkpointing (DCP): no tensor is ever gathered.

Each process puts the rows it holds where they belong in the files that one process alone would have written, byte for
byte: a row-sharded tensor's rows are one stretch of a safetensors file. DCP copies to the CPU, plans who writes what,
writes on a thread and tells every process of an error; its own files are no choice here, since their index is a pickle.
The run's folder has to be one and the same for all processes.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult

from wmkit.atomic import write_pieces, write_synced

__all__ = ["FirstSteps", "begin_sharded_save", "header_and_places"]

# safetensors' names, the narrowest first: tensors lie in a file from the widest to the narrowest, then by name.
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


def header_and_places(tensors: Mapping[str, tuple[torch.dtype, torch.Size]]) -> tuple[bytes, dict[str, int]]:
    """The beginning of a safetensors file of such tensors, and where in the file each of them begins."""
    width = {dtype: place for place, dtype in enumerate(DTYPES)}
    told, ends, end = {}, {}, 0
    for name in sorted(tensors, key=lambda name: (-width[tensors[name][0]], name)):
        dtype, shape = tensors[name]
        begin, end = end, end + dtype.itemsize * math.prod(shape)
        told[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        ends[name] = begin
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    return head, {name: len(head) + begin for name, begin in ends.items()}


class FirstSteps(NamedTuple):
    """What the first process does on its thread: make the folder, and end the checkpoint when all tensors of all
    processes are on disk.
    """

    make: Callable[[], None]
    publish: Callable[[], None]


def begin_sharded_save(
    files: Mapping[str, Mapping[str, Tensor]],
    scratch: Path,
    steps: FirstSteps,
    group: dist.ProcessGroup,
) -> Future[Any]:
    """Copy these tensors, by file and name, and begin to write them into the folder `scratch`; every process calls.

    `group` is the processes' own for this, on the CPU, and has nothing else to do meanwhile.
    """
    flat: dict[str, Any] = {f"{file}/{name}": tensor for file, held in files.items() for name, tensor in held.items()}
    found = async_save(flat, storage_writer=_OneFileOfAll(scratch, steps), process_group=group)
    assert isinstance(found, Future)  # what the default stager copies before it returns
    return found


class _OneFileOfAll(StorageWriter):
    """DCP's calls, in their order: plans of all at the first process, then the rows of each, then the first's last."""

    def __init__(self, scratch: Path, steps: FirstSteps) -> None:
        self._scratch, self._steps = scratch, steps

    def reset(self, checkpoint_id: Any = None) -> None:
        """Nothing is kept from one checkpoint to the next."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Nothing to do before the plans are there."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """As it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Makes the files with their headers; every plan learns where tensors begin."""
        files: dict[str, dict[str, tuple[torch.dtype, torch.Size]]] = defaultdict(dict)
        for item in (item for plan in plans for item in plan.items):
            file, _, name = item.index.fqn.partition("/")
            data = item.tensor_data
            if data is None:
                raise ValueError(f"expected tensors alone, got {item.index.fqn}")
            files[file][name] = (data.properties.dtype, data.size)
        self._steps.make()
        places = {}
        for file, tensors in files.items():
            header, begins = header_and_places(tensors)
            write_synced(self._scratch / file, header)
            places |= {f"{file}/{name}": begin for name, begin in begins.items()}
        return [replace(plan, storage_data=places) for plan in plans]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> torch.futures.Future[list[WriteResult]]:
        """This process's rows, file by file."""
        pieces: dict[str, list[tuple[int, WriteItem]]] = defaultdict(list)
        for item in plan.items:
            file = item.index.fqn.partition("/")[0]
            pieces[file].append((plan.storage_data[item.index.fqn] + _before(item), item))
        for file, items in pieces.items():
            write_pieces(
                self._scratch / file, ((place, _bytes_of(planner.resolve_data(item))) for place, item in items)
            )
        results = [WriteResult(index=item.index, size_in_bytes=0, storage_data=None) for item in plan.items]
        written: torch.futures.Future[list[WriteResult]] = torch.futures.Future()
        written.set_result(results)
        return written

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """All have written."""
        self._steps.publish()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:  # noqa: ARG003 - DCP's signature
        """Made for one folder; never chosen by a name."""
        return False


def _before(item: WriteItem) -> int:
    """Bytes of the tensor before the rows of this item; ValueError for a share that is not whole rows."""
    data = item.tensor_data
    assert data is not None
    chunk, size = data.chunk, data.size
    if any(chunk.offsets[1:]) or chunk.sizes[1:] != size[1:]:
        raise ValueError(f"expected whole rows of {item.index.fqn}, got {chunk} of {size}")
    return (chunk.offsets[0] * math.prod(size[1:]) if size else 0) * data.properties.dtype.itemsize


def _bytes_of(tensor: Any) -> memoryview:
    return memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
