"""`run_items`: the executor's one door."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wmkit.errors import InputError
from wmkit.executor.leases import Leases
from wmkit.executor.local import LocalPool
from wmkit.executor.loop import WorkerPool, drive
from wmkit.executor.task import Item, ItemTask, Outcome

__all__ = ["EXECUTORS", "ExecutorOptions", "gpus_there", "run_items"]

EXECUTORS = ("ray", "local")
CPU_GRACE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """How items are worked on; nothing here changes a result.

    kind          "ray" or "local": the same code with and without Ray.
    workers       processes, one core each; None is one for each core of this machine (of the cluster with Ray).
    gpu_workers   further processes, one GPU each, for what a task hands on to them; None is one for each GPU of this
                  machine (of the cluster with Ray), where a run has any use for them: see `gpus_there`.
    ray_address   "auto", "local" or host:port, see `wmkit.executor.ray`; None is what RAY_ADDRESS says, else local.
    timeout_s     per attempt; None is no limit.
    memory_gib    resident in a worker's process; one that passes it is stopped, and its item not tried again.
    max_attempts  for crashes, timeouts and lack of memory; a failure the item itself reports is final at once.
    recycle_after items after which a worker's process is replaced, so that what libraries leak does not add up.
    """

    kind: str = "ray"
    workers: int | None = None
    gpu_workers: int | None = None
    ray_address: str | None = None
    timeout_s: float | None = None
    memory_gib: float | None = None
    max_attempts: int = 2
    recycle_after: int = 200

    def __post_init__(self) -> None:
        if self.kind not in EXECUTORS:
            raise InputError(f"--executor: expected one of {', '.join(EXECUTORS)}, got {self.kind!r}")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers: expected at least 1, got {self.workers}")
        if self.gpu_workers is not None and self.gpu_workers < 0:
            raise InputError(f"--gpu-workers: expected at least 0, got {self.gpu_workers}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise InputError(f"--clip-timeout-s: expected a positive number of seconds, got {self.timeout_s}")
        if self.memory_gib is not None and not self.memory_gib > 0:
            raise InputError(f"--clip-memory-gib: expected a positive number of GiB, got {self.memory_gib}")
        for name in ("max_attempts", "recycle_after"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")


def run_items(
    items: Sequence[Item], task: ItemTask, options: ExecutorOptions, on_outcome: Callable[[Outcome], None]
) -> None:
    """Work on every item; `on_outcome` is called in this process for every attempt, as it ends.

    An item that crashes its worker, hangs or raises ends itself alone. KeyboardInterrupt ends the workers and
    is raised again. WorkersLostError when workers cannot start, InputError when they need GPUs and there are none.
    """
    if not items:
        return
    keys = (item.key for item in items)
    leases = Leases(keys, max_attempts=options.max_attempts, timeout_s=options.timeout_s, gpu=task.gpu)
    cores = os.cpu_count() or 1
    # The deadline comes first, unless the driver or Ray is too busy to keep it: then the kernel does.
    cpu_s = task.cpu_s if options.timeout_s is None else cores * options.timeout_s + CPU_GRACE_S
    task = replace(task, memory_gib=options.memory_gib, cpu_s=cpu_s)
    payloads = {item.key: item.payload for item in items}
    drive(_pool(task, options, len(items)), payloads, leases, on_outcome, recycle_after=options.recycle_after)


def gpus_there(options: ExecutorOptions) -> int:
    """How many workers with a GPU there will be for a task that can use them; torch is asked, or the cluster."""
    if options.gpu_workers is not None:
        return options.gpu_workers
    if options.kind == "ray":
        from wmkit.executor.ray import cluster_address, cluster_gpus

        if cluster_address(options.ray_address) is not None:
            return cluster_gpus(options.ray_address)
    import torch

    return torch.cuda.device_count()


def _pool(task: ItemTask, options: ExecutorOptions, items: int) -> WorkerPool:
    cores = len(os.sched_getaffinity(0))
    gpus = min(options.gpu_workers or 0, items)
    if task.gpu and not gpus:
        raise InputError("--gpu-workers: expected at least one for work that is done on GPUs alone, got none")
    if options.kind == "local":
        return LocalPool(task, (0 if task.gpu else min(options.workers or cores, items)) + gpus, gpus)
    from wmkit.executor.ray import RayPool, cluster_address

    workers = options.workers or (cores if cluster_address(options.ray_address) is None else items)
    return RayPool(task, (0 if task.gpu else min(workers, items)) + gpus, options.ray_address, gpus)
