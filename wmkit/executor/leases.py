"""Which item is with which worker, until when, for the how-manieth time. Pure: no clock, process or file in it.

There are two queues, one for workers with a GPU and one for those without. Every attempt begins in the latter, or
every one in the former, and may be handed from one to the other; it is one attempt all the while, and its time is that
with workers, waiting apart.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Lease", "Leases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One attempt in progress. `deadline_s` is on the driver's clock; None never expires. `used_s` is the time it had
    before this lease, which began at `begun_s`."""

    key: str
    worker: int
    attempt: int
    deadline_s: float | None
    begun_s: float = 0.0
    used_s: float = 0.0


class Leases:
    """pending → leased → done, or back to pending until `max_attempts`, then quarantined.

    A retried item goes to the end of the queue, so that it meets other neighbours than those it died beside.
    """

    def __init__(self, keys: Iterable[str], *, max_attempts: int, timeout_s: float | None, gpu: bool = False) -> None:
        """`gpu`: attempts begin in the queue for workers with a GPU."""
        keys = tuple(keys)
        if len(set(keys)) != len(keys):
            raise ValueError("leases: expected unique item keys")
        if max_attempts < 1 or (timeout_s is not None and not timeout_s > 0):
            raise ValueError(f"leases: expected max_attempts >= 1 and timeout > 0, got {max_attempts}, {timeout_s}")
        self._pending = {has_gpu: deque[tuple[str, int, float]]() for has_gpu in (False, True)}
        self._first = self._pending[gpu]
        self._first.extend((key, 1, 0.0) for key in keys)
        self._leased: dict[int, Lease] = {}
        self._max_attempts = max_attempts
        self.timeout_s = timeout_s
        self.done: list[str] = []
        self.quarantined: list[str] = []

    @property
    def finished(self) -> bool:
        """Every item is done or quarantined."""
        return not any(self._pending.values()) and not self._leased

    def pending(self, gpu: bool = False) -> int:
        """How many items wait for a worker with a GPU, or for one without."""
        return len(self._pending[gpu])

    def held_by(self, worker: int) -> Lease | None:
        """The lease of a worker, if it has one."""
        return self._leased.get(worker)

    def acquire(self, worker: int, now_s: float, gpu: bool = False) -> Lease | None:
        """Lease the next item of a queue to an idle worker; None when nothing waits."""
        if worker in self._leased:
            raise ValueError(f"worker {worker} already holds {self._leased[worker].key}")
        if not self._pending[gpu]:
            return None
        key, attempt, used_s = self._pending[gpu].popleft()
        deadline_s = None if self.timeout_s is None else now_s + self.timeout_s - used_s
        lease = Lease(key=key, worker=worker, attempt=attempt, deadline_s=deadline_s, begun_s=now_s, used_s=used_s)
        self._leased[worker] = lease
        return lease

    def complete(self, worker: int) -> Lease:
        """The worker's item has its result."""
        lease = self._leased.pop(worker)
        self.done.append(lease.key)
        return lease

    def hand_on(self, worker: int, now_s: float, gpu: bool) -> Lease:
        """The worker's attempt goes on elsewhere: it waits in a queue, with the time it has left."""
        lease = self._leased.pop(worker)
        rest = (lease.key, lease.attempt, lease.used_s + now_s - lease.begun_s)
        if gpu:
            self._pending[True].append(rest)
        else:
            self._pending[False].appendleft(rest)  # what was begun ends before more is begun
        return lease

    def fail(self, worker: int, *, retry: bool) -> tuple[Lease, bool]:
        """The worker's attempt failed; True beside the lease when that was the item's last."""
        lease = self._leased.pop(worker)
        final = not retry or lease.attempt >= self._max_attempts
        if final:
            self.quarantined.append(lease.key)
        else:
            self._first.append((lease.key, lease.attempt + 1, 0.0))
        return lease, final

    def expired(self, now_s: float) -> list[Lease]:
        """Leases whose deadline has come, in order of worker; they stay held until `fail`."""
        held = (self._leased[worker] for worker in sorted(self._leased))
        return [lease for lease in held if lease.deadline_s is not None and lease.deadline_s <= now_s]

    def next_deadline_s(self) -> float | None:
        """When the next lease expires; None when none will."""
        return min((lease.deadline_s for lease in self._leased.values() if lease.deadline_s is not None), default=None)
