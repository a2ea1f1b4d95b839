"""What crosses between the driver and its workers: items, the task, replies. Small, and never a built object."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wmkit.atomic import no_room
from wmkit.errors import ClipError

__all__ = ["DISK_FULL", "THREAD_ENV", "Failure", "Item", "ItemTask", "Onward", "Outcome", "Reply", "run_item"]

THREAD_ENV: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
"""One item is one core: workers read these before any library starts threads, so sums have one order as well."""

DISK_FULL = "disk_full"  # code of a failure that the next item would end with too


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One unit of work. `key` is unique within a run; `payload` is small and picklable (a path, an id)."""

    key: str
    payload: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """What a task returns instead of a result when another pool has to go on: the same attempt at the same item.

    payload  the rest of the work, small: a path to what was done so far, not what was done.
    gpu      whether a worker with a GPU is to go on, or one without.
    """

    payload: Any
    gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTask:
    """What to do with an item: a module-level `function(config, payload)` and its frozen config.

    Both travel to the worker by reference and by value respectively; the worker builds what the config describes.
    `gpu`: items begin with workers that have a GPU, and there are no others.
    `memory_gib` is what a worker may hold resident, `cpu_s` the CPU time of its process for one item; None is no limit.
    """

    function: Callable[[Any, Any], Any]
    config: Any
    gpu: bool = False
    memory_gib: float | None = None
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed; `retry` when another attempt might end otherwise."""

    stage: str
    code: str
    message: str
    traceback: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a worker sends back for an item: a result, which may be an `Onward`, or the failure."""

    result: Any = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One attempt at one item, as reported to the driver's callback.

    attempt  1 for the first attempt in this run.
    final    no further attempt follows in this run: `result` is given, or the failure is for good.
    """

    key: str
    attempt: int
    final: bool
    result: Any = None
    failure: Failure | None = None


def run_item(task: ItemTask, payload: Any) -> Reply:
    """Run the task on one item: the one place of the program where every exception is caught.

    A ClipError is the item's own, deterministic end. Out of memory may pass when the neighbours are smaller.
    Anything else is a bug: it ends this item with its traceback on record, and costs no other item.
    """
    try:
        return Reply(result=task.function(task.config, payload))
    except ClipError as error:
        return Reply(failure=_failure(error.stage, error.code, error.message))
    except MemoryError as error:
        return Reply(failure=_failure("worker", "out_of_memory", f"out of memory: {error}", retry=True))
    except Exception as error:  # noqa: BLE001 - the per-item boundary
        code = DISK_FULL if no_room(error) else "bug"
        return Reply(failure=_failure("worker", code, f"{type(error).__name__}: {error}"))


def _failure(stage: str, code: str, message: str, retry: bool = False) -> Failure:
    line = " ".join(message.split())
    return Failure(stage=stage, code=code, message=line, traceback=traceback.format_exc(), retry=retry)
