"""Per-item work on worker processes, with attempts, deadlines and quarantine. Results come in any order."""

from wmkit.executor.run import EXECUTORS, ExecutorOptions, gpus_there, run_items
from wmkit.executor.task import Failure, Item, ItemTask, Onward, Outcome

__all__ = [
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
