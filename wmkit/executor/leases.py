"""Which item is with which worker, until when, for the how-manieth time. Pure: no clock, process or file in it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Lease", "Leases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One attempt in progress. `deadline_s` is on the driver's clock; None never expires."""

    key: str
    worker: int
    attempt: int
    deadline_s: float | None


class Leases:
    """pending → leased → done, or back to pending until `max_attempts`, then quarantined.

    A retried item goes to the end of the queue, so that it meets other neighbours than those it died beside.
    """

    def __init__(self, keys: Iterable[str], *, max_attempts: int, timeout_s: float | None) -> None:
        keys = tuple(keys)
        if len(set(keys)) != len(keys):
            raise ValueError("leases: expected unique item keys")
        if max_attempts < 1 or (timeout_s is not None and not timeout_s > 0):
            raise ValueError(f"leases: expected max_attempts >= 1 and timeout > 0, got {max_attempts}, {timeout_s}")
        self._pending = deque((key, 1) for key in keys)
        self._leased: dict[int, Lease] = {}
        self._max_attempts = max_attempts
        self.timeout_s = timeout_s
        self.done: list[str] = []
        self.quarantined: list[str] = []

    @property
    def finished(self) -> bool:
        """Every item is done or quarantined."""
        return not self._pending and not self._leased

    @property
    def pending(self) -> int:
        """How many items wait for a worker."""
        return len(self._pending)

    def held_by(self, worker: int) -> Lease | None:
        """The lease of a worker, if it has one."""
        return self._leased.get(worker)

    def acquire(self, worker: int, now_s: float) -> Lease | None:
        """Lease the next item to an idle worker; None when nothing waits."""
        if worker in self._leased:
            raise ValueError(f"worker {worker} already holds {self._leased[worker].key}")
        if not self._pending:
            return None
        key, attempt = self._pending.popleft()
        deadline_s = None if self.timeout_s is None else now_s + self.timeout_s
        lease = Lease(key=key, worker=worker, attempt=attempt, deadline_s=deadline_s)
        self._leased[worker] = lease
        return lease

    def complete(self, worker: int) -> Lease:
        """The worker's item has its result."""
        lease = self._leased.pop(worker)
        self.done.append(lease.key)
        return lease

    def fail(self, worker: int, *, retry: bool) -> tuple[Lease, bool]:
        """The worker's attempt failed; True beside the lease when that was the item's last."""
        lease = self._leased.pop(worker)
        final = not retry or lease.attempt >= self._max_attempts
        if final:
            self.quarantined.append(lease.key)
        else:
            self._pending.append((lease.key, lease.attempt + 1))
        return lease, final

    def expired(self, now_s: float) -> list[Lease]:
        """Leases whose deadline has come, in order of worker; they stay held until `fail`."""
        held = (self._leased[worker] for worker in sorted(self._leased))
        return [lease for lease in held if lease.deadline_s is not None and lease.deadline_s <= now_s]

    def next_deadline_s(self) -> float | None:
        """When the next lease expires; None when none will."""
        return min((lease.deadline_s for lease in self._leased.values() if lease.deadline_s is not None), default=None)
