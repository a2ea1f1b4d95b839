"""The driver's loop, the same over every kind of worker: lease, wait, record, restart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wmkit.clock import monotonic_s
from wmkit.errors import WorkersLostError
from wmkit.executor.leases import Lease, Leases
from wmkit.executor.task import Failure, Outcome, Reply

__all__ = ["Broken", "Died", "Event", "Ready", "Replied", "WorkerPool", "drive"]

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
    start_timeout_s  how long a worker may take to be ready; None for as long as it needs.
    """

    size: int
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
        self.idle: set[int] = set()
        self.starting: dict[int, float | None] = {}
        self.failed_starts = 0
        self.served: dict[int, int] = {}
        self.recycle_after = recycle_after
        self.outcomes: list[Outcome] = []

    def start(self, worker: int, now_s: float) -> None:
        limit_s = self.pool.start_timeout_s
        self.starting[worker] = None if limit_s is None else now_s + limit_s
        self.served[worker] = 0
        self.pool.start(worker)

    def hand_out(self, now_s: float) -> None:
        for worker in sorted(self.idle):
            lease = self.leases.acquire(worker, now_s)
            if lease is None:
                return
            self.idle.discard(worker)
            self.pool.submit(worker, self.payloads[lease.key])

    def wait_s(self, now_s: float) -> float | None:
        times = [at for at in (self.leases.next_deadline_s(), *self.starting.values()) if at is not None]
        return max(0.0, min(times) - now_s) if times else None

    def handle(self, event: Event, now_s: float) -> None:
        worker = event.worker
        if isinstance(event, Broken):
            raise RuntimeError(f"a worker could not load its task:\n{event.traceback}")
        if isinstance(event, Died):
            self.lost(event, now_s)
            return
        self.starting.pop(worker, None)
        self.failed_starts = 0
        if isinstance(event, Replied):
            if event.reply.failure is None:
                lease = self.leases.complete(worker)
                self.report(lease, True, event.reply)
            else:
                lease, final = self.leases.fail(worker, retry=event.reply.failure.retry)
                self.report(lease, final, event.reply)
            self.served[worker] += 1
            if self.served[worker] >= self.recycle_after and self.is_wanted():
                self.start(worker, now_s)
                return
        self.idle.add(worker)

    def lost(self, event: Died, now_s: float) -> None:
        worker = event.worker
        self.idle.discard(worker)
        if self.leases.held_by(worker) is not None:
            code = "out_of_memory" if event.out_of_memory else "worker_crash"
            code = "memory" if event.over_limit else code
            self.fail(worker, code, f"the worker {event.reason}", event.log, retry=not event.over_limit)
        elif worker in self.starting:
            del self.starting[worker]
            self.count_failed_start(event.reason, event.log)
        self.restart(worker, now_s)

    def expire(self, now_s: float) -> None:
        for lease in self.leases.expired(now_s):
            log = self.pool.kill(lease.worker)
            message = f"took longer than its limit of {self.leases.timeout_s:g} s and was stopped"
            self.fail(lease.worker, "timeout", message, log)
            self.restart(lease.worker, now_s)
        for worker, deadline_s in list(self.starting.items()):
            if deadline_s is not None and deadline_s <= now_s:
                del self.starting[worker]
                self.count_failed_start("was not ready in time", self.pool.kill(worker))
                self.restart(worker, now_s)

    def fail(self, worker: int, code: str, message: str, log: str, *, retry: bool = True) -> None:
        failure = Failure(stage="worker", code=code, message=message, traceback=log, retry=retry)
        lease, final = self.leases.fail(worker, retry=retry)
        self.report(lease, final, Reply(failure=failure))

    def restart(self, worker: int, now_s: float) -> None:
        if self.is_wanted():
            self.start(worker, now_s)

    def is_wanted(self) -> bool:
        """Whether more items wait than there are workers for them."""
        return self.leases.pending > len(self.idle) + len(self.starting)

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
        for worker in range(min(pool.size, leases.pending)):
            driver.start(worker, clock())
        while not leases.finished:
            for event in pool.wait(driver.wait_s(clock())):
                driver.handle(event, clock())
            driver.expire(clock())
            driver.hand_out(clock())
            for outcome in driver.outcomes:
                on_outcome(outcome)
            driver.outcomes.clear()
    finally:
        pool.close()
