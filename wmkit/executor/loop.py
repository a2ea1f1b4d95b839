"""The driver's loop, the same over every kind of worker: lease, wait, hand on, record, restart.

Workers are of two pools, with a GPU and without, each bounded. A task that returns `Onward` has its item go on in the
other one. While many items wait for a GPU, workers without begin no further ones: what lies between the two is bounded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wmkit.clock import monotonic_s
from wmkit.errors import WorkersLostError
from wmkit.executor.leases import Lease, Leases
from wmkit.executor.task import Failure, Onward, Outcome, Reply

__all__ = ["WAITING_PER_GPU", "Broken", "Died", "Event", "Ready", "Replied", "WorkerPool", "drive"]

WAITING_PER_GPU = 8  # items that may wait for a worker with a GPU before no further ones are begun
MAX_FAILED_STARTS = 3  # in a row, with no worker ever ready between: the machine or the install is broken


@dataclass(frozen=True, slots=True)
class Ready:
    """A started worker has loaded its task and waits for an item."""

    worker: int


@dataclass(frozen=True, slots=True)
class Replied:
    """A worker finished its item, well or not, and waits for the next."""

    worker: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone: how it ended, what it last wrote, and whether memory was why.

    out_of_memory  the machine had none left, which may pass; over_limit: its own limit, which will not.
    """

    worker: int
    reason: str
    log: str = ""
    out_of_memory: bool = False
    over_limit: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A worker could not even load its task; every other one would fail alike."""

    worker: int
    traceback: str


Event = Ready | Replied | Died | Broken


class WorkerPool(Protocol):
    """Numbered workers that take one item at a time.

    size             how many workers to run.
    gpus             how many of them, those with the last numbers, have a GPU.
    start_timeout_s  how long a worker may take to be ready; None for as long as it needs.
    """

    size: int
    gpus: int
    start_timeout_s: float | None

    def start(self, worker: int) -> None:
        """Begin to start a worker, instead of the idle one of this number; a Ready, Broken or Died follows."""
        ...

    def submit(self, worker: int, payload: Any) -> None:
        """Hand an item to an idle worker; a Replied or Died follows."""
        ...

    def wait(self, timeout_s: float | None) -> list[Event]:
        """What happened since the last call, at the latest after the timeout."""
        ...

    def kill(self, worker: int) -> str:
        """End a worker at once, with its children; no event follows. Returns where it was, as far as known."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


class _Driver:
    def __init__(self, pool: WorkerPool, payloads: Mapping[str, Any], leases: Leases, recycle_after: int) -> None:
        self.pool, self.payloads, self.leases = pool, payloads, leases
        self.onward: dict[str, Any] = {}
        self.stopped = set(range(pool.size))
        self.idle: set[int] = set()
        self.starting: dict[int, float | None] = {}
        self.failed_starts = 0
        self.served: dict[int, int] = {}
        self.recycle_after = recycle_after
        self.outcomes: list[Outcome] = []

    def has_gpu(self, worker: int) -> bool:
        return worker >= self.pool.size - self.pool.gpus

    def start(self, worker: int, now_s: float) -> None:
        limit_s = self.pool.start_timeout_s
        self.starting[worker] = None if limit_s is None else now_s + limit_s
        self.served[worker] = 0
        self.stopped.discard(worker)
        self.pool.start(worker)

    def keep_staffed(self, now_s: float) -> None:
        """Start stopped workers for which there is work."""
        for worker in sorted(self.stopped):
            if self.is_wanted(self.has_gpu(worker)):
                self.start(worker, now_s)

    def hand_out(self, now_s: float) -> None:
        for worker in sorted(self.idle):
            gpu = self.has_gpu(worker)
            if not gpu and self.is_full():
                continue
            lease = self.leases.acquire(worker, now_s, gpu)
            if lease is not None:
                self.idle.discard(worker)
                self.pool.submit(worker, self.onward.pop(lease.key, self.payloads[lease.key]))

    def wait_s(self, now_s: float) -> float | None:
        times = [at for at in (self.leases.next_deadline_s(), *self.starting.values()) if at is not None]
        return max(0.0, min(times) - now_s) if times else None

    def handle(self, event: Event, now_s: float) -> None:
        worker = event.worker
        if isinstance(event, Broken):
            raise RuntimeError(f"a worker could not load its task:\n{event.traceback}")
        if isinstance(event, Died):
            self.lost(event)
            return
        self.starting.pop(worker, None)
        self.failed_starts = 0
        if isinstance(event, Replied):
            if isinstance(event.reply.result, Onward):
                self.hand_on(worker, event.reply.result, now_s)
            elif event.reply.failure is None:
                lease = self.leases.complete(worker)
                self.report(lease, True, event.reply)
            else:
                lease, final = self.leases.fail(worker, retry=event.reply.failure.retry)
                self.report(lease, final, event.reply)
            self.served[worker] += 1
            if self.served[worker] >= self.recycle_after and self.is_wanted(self.has_gpu(worker)):
                self.start(worker, now_s)
                return
        self.idle.add(worker)

    def hand_on(self, worker: int, onward: Onward, now_s: float) -> None:
        """The item's attempt goes on in the other pool, or in this one where there is no other."""
        lease = self.leases.hand_on(worker, now_s, onward.gpu and self.pool.gpus > 0)
        self.onward[lease.key] = onward.payload

    def lost(self, event: Died) -> None:
        worker = event.worker
        self.idle.discard(worker)
        self.stopped.add(worker)
        if self.leases.held_by(worker) is not None:
            code = "out_of_memory" if event.out_of_memory else "worker_crash"
            code = "memory" if event.over_limit else code
            self.fail(worker, code, f"the worker {event.reason}", event.log, retry=not event.over_limit)
        elif worker in self.starting:
            del self.starting[worker]
            self.count_failed_start(event.reason, event.log)

    def expire(self, now_s: float) -> None:
        for lease in self.leases.expired(now_s):
            log = self.pool.kill(lease.worker)
            message = f"took longer than its limit of {self.leases.timeout_s:g} s and was stopped"
            self.fail(lease.worker, "timeout", message, log)
            self.stopped.add(lease.worker)
        for worker, deadline_s in list(self.starting.items()):
            if deadline_s is not None and deadline_s <= now_s:
                del self.starting[worker]
                self.stopped.add(worker)
                self.count_failed_start("was not ready in time", self.pool.kill(worker))

    def fail(self, worker: int, code: str, message: str, log: str, *, retry: bool = True) -> None:
        failure = Failure(stage="worker", code=code, message=message, traceback=log, retry=retry)
        lease, final = self.leases.fail(worker, retry=retry)
        self.report(lease, final, Reply(failure=failure))

    def is_wanted(self, gpu: bool) -> bool:
        """Whether more items wait than there are workers for them."""
        free = [worker for worker in (*self.idle, *self.starting) if self.has_gpu(worker) == gpu]
        return self.leases.pending(gpu) > len(free)

    def is_full(self) -> bool:
        """Whether so many items wait for a GPU that no further ones should be begun."""
        return self.pool.gpus > 0 and self.leases.pending(gpu=True) >= WAITING_PER_GPU * self.pool.gpus

    def count_failed_start(self, reason: str, log: str) -> None:
        self.failed_starts += 1
        if self.failed_starts >= MAX_FAILED_STARTS:
            raise WorkersLostError(
                f"{self.failed_starts} workers in a row did not start; the last one {reason}: "
                f"{' '.join(log.split()) or 'it said nothing'}; what is finished is on disk, run the same command again"
            )

    def report(self, lease: Lease, final: bool, reply: Reply) -> None:
        outcome = Outcome(key=lease.key, attempt=lease.attempt, final=final, result=reply.result, failure=reply.failure)
        self.outcomes.append(outcome)


def drive(
    pool: WorkerPool,
    payloads: Mapping[str, Any],
    leases: Leases,
    on_outcome: Callable[[Outcome], None],
    clock: Callable[[], float] = monotonic_s,
    recycle_after: int = 200,
) -> None:
    """Run until every item of `leases` is done or quarantined; `on_outcome` is called for every attempt, in order.

    A worker that has served `recycle_after` items is started again, in place of its process.

    The pool is closed however this ends. WorkersLostError when workers cannot start at all, RuntimeError when they
    cannot load the task.
    """
    driver = _Driver(pool, payloads, leases, recycle_after)
    try:
        driver.keep_staffed(clock())
        while not leases.finished:
            for event in pool.wait(driver.wait_s(clock())):
                driver.handle(event, clock())
            driver.expire(clock())
            driver.keep_staffed(clock())
            driver.hand_out(clock())
            for outcome in driver.outcomes:
                on_outcome(outcome)
            driver.outcomes.clear()
    finally:
        pool.close()
