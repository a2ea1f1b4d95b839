"""The lease machine alone: no clock, no process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.executor.leases import Leases


def test_items_go_out_in_order_with_a_deadline() -> None:
    leases = Leases(["a", "b"], max_attempts=2, timeout_s=10)
    first, second = leases.acquire(0, 100.0), leases.acquire(1, 103.0)
    assert first is not None
    assert second is not None
    assert (first.key, first.attempt, first.deadline_s) == ("a", 1, 110.0)
    assert (second.key, second.attempt, second.deadline_s) == ("b", 1, 113.0)
    assert leases.acquire(2, 104.0) is None
    assert leases.next_deadline_s() == 110.0
    assert not leases.finished


def test_attempts_begin_and_begin_anew_with_a_gpu_where_all_do() -> None:
    leases = Leases(["a"], max_attempts=2, timeout_s=None, gpu=True)
    assert leases.acquire(0, 0.0) is None
    assert leases.acquire(0, 0.0, gpu=True) is not None
    leases.fail(0, retry=True)
    assert leases.acquire(0, 0.0) is None
    assert leases.acquire(1, 0.0, gpu=True) is not None


def test_completion_ends_an_item() -> None:
    leases = Leases(["a"], max_attempts=2, timeout_s=None)
    lease = leases.acquire(0, 0.0)
    assert lease is not None
    assert lease.deadline_s is None
    assert leases.next_deadline_s() is None
    assert leases.expired(1e9) == []
    assert leases.complete(0) == lease
    assert leases.finished
    assert (leases.done, leases.quarantined) == (["a"], [])


def test_a_retried_item_waits_behind_the_others_and_is_quarantined_at_the_cap() -> None:
    leases = Leases(["bad", "good"], max_attempts=2, timeout_s=5)
    leases.acquire(0, 0.0)
    lease, final = leases.fail(0, retry=True)
    assert (lease.key, final) == ("bad", False)
    after = leases.acquire(0, 1.0)
    assert after is not None
    assert after.key == "good"
    leases.complete(0)
    again = leases.acquire(0, 2.0)
    assert again is not None
    assert (again.key, again.attempt, again.deadline_s) == ("bad", 2, 7.0)
    assert leases.fail(0, retry=True)[1]
    assert leases.finished
    assert leases.quarantined == ["bad"]


def test_a_deterministic_failure_is_final_at_once() -> None:
    leases = Leases(["a"], max_attempts=5, timeout_s=None)
    leases.acquire(0, 0.0)
    assert leases.fail(0, retry=False)[1]
    assert leases.quarantined == ["a"]


def test_expiry_is_at_the_deadline_and_only_of_what_is_late() -> None:
    leases = Leases(["a", "b"], max_attempts=1, timeout_s=10)
    leases.acquire(1, 0.0)
    leases.acquire(0, 5.0)
    assert leases.expired(9.999) == []
    assert [lease.key for lease in leases.expired(10.0)] == ["a"]
    assert [lease.worker for lease in leases.expired(15.0)] == [0, 1]
    leases.fail(1, retry=True)
    assert [lease.key for lease in leases.expired(15.0)] == ["b"]


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        Leases(["a", "a"], max_attempts=1, timeout_s=None)
    for attempts, timeout_s in ((0, None), (1, 0.0), (1, -1.0), (1, float("nan"))):
        with pytest.raises(ValueError, match="max_attempts >= 1 and timeout > 0"):
            Leases(["a"], max_attempts=attempts, timeout_s=timeout_s)
    leases = Leases(["a", "b"], max_attempts=1, timeout_s=None)
    leases.acquire(0, 0.0)
    with pytest.raises(ValueError, match="already holds a"):
        leases.acquire(0, 0.0)
    with pytest.raises(KeyError):
        leases.complete(1)


@given(
    items=st.integers(0, 8),
    workers=st.integers(1, 4),
    max_attempts=st.integers(1, 3),
    fates=st.lists(st.sampled_from(["complete", "retry", "final", "to gpu", "from gpu"]), max_size=60),
)
def test_whatever_happens_every_item_ends_once_within_its_attempts(
    items: int, workers: int, max_attempts: int, fates: list[str]
) -> None:
    leases = Leases([str(index) for index in range(items)], max_attempts=max_attempts, timeout_s=1)
    attempts: dict[str, int] = {}
    script = iter(fates)
    while not leases.finished:
        for worker in range(workers):
            lease = leases.held_by(worker) or leases.acquire(worker, 0.0) or leases.acquire(worker, 0.0, gpu=True)
            if lease is None:
                continue
            attempts[lease.key] = lease.attempt
            fate = next(script, "complete")
            if fate == "complete":
                leases.complete(worker)
            elif fate.endswith("gpu"):
                leases.hand_on(worker, 0.0, gpu=fate == "to gpu")
            else:
                leases.fail(worker, retry=fate == "retry")
    assert sorted(leases.done + leases.quarantined) == sorted(str(index) for index in range(items))
    assert set(attempts.values()) <= set(range(1, max_attempts + 1))
    assert leases.pending() == leases.pending(gpu=True) == 0
