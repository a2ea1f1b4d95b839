"""Per-item work on worker processes, with attempts, deadlines and quarantine. Results come in any order."""

from wmkit.executor.run import EXECUTORS, ExecutorOptions, gpus_there, run_items
from wmkit.executor.task import DISK_FULL, Failure, Item, ItemTask, Onward, Outcome

__all__ = [
    "DISK_FULL",
    "EXECUTORS",
    "ExecutorOptions",
    "Failure",
    "Item",
    "ItemTask",
    "Onward",
    "Outcome",
    "gpus_there",
    "run_items",
]
