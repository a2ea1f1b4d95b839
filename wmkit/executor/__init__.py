"""Per-item work on worker processes, with attempts, deadlines and quarantine. Results come in any order."""

from wmkit.executor.run import EXECUTORS, ExecutorOptions, run_items
from wmkit.executor.task import Failure, Item, ItemTask, Outcome

__all__ = ["EXECUTORS", "ExecutorOptions", "Failure", "Item", "ItemTask", "Outcome", "run_items"]
