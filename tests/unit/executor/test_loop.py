"""The driver's loop over a pool that is a script: fake workers, fake clock."""

from collections.abc import Callable
from typing import Any

import pytest

from wmkit.errors import WorkersLostError
from wmkit.executor.leases import Leases
from wmkit.executor.loop import WAITING_PER_GPU, Broken, Died, Event, Ready, Replied, drive
from wmkit.executor.task import Failure, Onward, Outcome, Reply


class ScriptedPool:
    """Workers whose answer to (payload, how often it was tried) is a function; "hang" never answers."""

    def __init__(self, size: int, answer: Callable[[str, int], Any], gpus: int = 0) -> None:
        self.size, self.gpus, self.answer = size, gpus, answer
        self.start_timeout_s: float | None = 60.0
        self.now_s = 0.0
        self.alive: set[int] = set()
        self.starts: list[int] = []
        self.events: list[Event] = []
        self.tries: dict[str, int] = {}
        self.killed: list[int] = []
        self.closed = False
        self.on_start: Callable[[int], Event | None] = Ready

    def start(self, worker: int) -> None:
        assert worker not in self.alive
        self.alive.add(worker)
        self.starts.append(worker)
        event = self.on_start(worker)
        if event is not None:
            self.events.append(event)
        if isinstance(event, Died):
            self.alive.discard(worker)

    def submit(self, worker: int, payload: str) -> None:
        assert worker in self.alive
        self.tries[payload] = self.tries.get(payload, 0) + 1
        answer = self.answer(payload, self.tries[payload])
        if answer == "hang":
            return
        if answer in ("die", "oom"):
            self.alive.discard(worker)
            self.events.append(Died(worker, "was ended by SIGSEGV", "stack", out_of_memory=answer == "oom"))
        else:
            self.events.append(Replied(worker, answer))

    def wait(self, timeout_s: float | None) -> list[Event]:
        if not self.events:
            assert timeout_s is not None, "the loop would wait for ever"
            self.now_s += timeout_s
        events, self.events = self.events, []
        return events

    def kill(self, worker: int) -> str:
        self.alive.discard(worker)
        self.killed.append(worker)
        return "hung in read()"

    def close(self) -> None:
        self.closed = True


def ok(payload: str, _: int) -> Reply:
    return Reply(result=payload.upper())


def run(pool: ScriptedPool, items: str, max_attempts: int = 2, timeout_s: float | None = 10.0) -> list[Outcome]:
    outcomes: list[Outcome] = []
    leases = Leases(items, max_attempts=max_attempts, timeout_s=timeout_s)
    drive(pool, {item: item for item in items}, leases, outcomes.append, clock=lambda: pool.now_s)
    assert pool.closed
    return outcomes


def test_every_item_has_its_result() -> None:
    pool = ScriptedPool(2, ok)
    outcomes = run(pool, "abcde")
    assert sorted((outcome.key, outcome.result) for outcome in outcomes) == [(key, key.upper()) for key in "abcde"]
    assert all(outcome.final and outcome.attempt == 1 for outcome in outcomes)
    assert pool.starts == [0, 1]


def test_no_more_workers_than_items() -> None:
    pool = ScriptedPool(8, ok)
    run(pool, "ab")
    assert pool.starts == [0, 1]


def test_a_worker_is_started_again_after_so_many_items() -> None:
    """Not while another idle one could take what waits, and never for nothing; every item still has its result."""
    pool = ScriptedPool(1, ok)
    start = pool.start

    def restart(worker: int) -> None:
        pool.alive.discard(worker)
        start(worker)

    pool.start = restart  # type: ignore[method-assign]
    outcomes: list[Outcome] = []
    leases = Leases("abcdef", max_attempts=2, timeout_s=10.0)
    drive(pool, {key: key for key in "abcdef"}, leases, outcomes.append, clock=lambda: pool.now_s, recycle_after=2)
    assert [outcome.result for outcome in outcomes] == list("ABCDEF")
    assert pool.starts == [0, 0, 0], "before c and before e, not after f"


def test_a_crash_costs_only_its_own_item_and_the_worker_is_replaced() -> None:
    pool = ScriptedPool(1, lambda item, tried: "die" if item == "b" else ok(item, tried))
    outcomes = run(pool, "abc")
    assert [(o.key, o.attempt, o.final, o.failure is None) for o in outcomes] == [
        ("a", 1, True, True),
        ("b", 1, False, False),
        ("c", 1, True, True),
        ("b", 2, True, False),
    ]
    failure = outcomes[1].failure
    assert failure is not None
    assert (failure.stage, failure.code, failure.message) == (
        "worker",
        "worker_crash",
        "the worker was ended by SIGSEGV",
    )
    assert failure.traceback == "stack"


def test_a_crash_that_passes_is_no_failure() -> None:
    pool = ScriptedPool(1, lambda item, tried: "die" if tried == 1 else ok(item, tried))
    outcomes = run(pool, "a")
    assert [(o.attempt, o.final, o.result) for o in outcomes] == [(1, False, None), (2, True, "A")]


def test_a_hang_is_killed_at_its_deadline() -> None:
    pool = ScriptedPool(2, lambda item, tried: "hang" if item == "a" else ok(item, tried))
    outcomes = run(pool, "abc", max_attempts=1, timeout_s=10.0)
    late = outcomes[-1]
    assert (late.key, late.final) == ("a", True)
    assert late.failure is not None
    assert (late.failure.code, late.failure.traceback) == ("timeout", "hung in read()")
    assert "10 s" in late.failure.message
    assert pool.killed == [0]
    assert pool.now_s == 10.0
    assert pool.starts == [0, 1], "nothing was left to do, so no worker was started in its place"


def test_memory_is_named() -> None:
    outcomes = run(ScriptedPool(1, lambda item, tried: "oom"), "a")
    assert [o.failure.code for o in outcomes if o.failure] == ["out_of_memory", "out_of_memory"]


def test_the_items_own_failure_keeps_the_worker() -> None:
    failure = Failure(stage="decode", code="zero_frames", message="expected frames")
    pool = ScriptedPool(1, lambda item, tried: Reply(failure=failure) if item == "a" else ok(item, tried))
    outcomes = run(pool, "ab")
    assert [(o.key, o.final, o.failure) for o in outcomes] == [("a", True, failure), ("b", True, None)]
    assert pool.starts == [0]


def test_a_worker_that_dies_idle_is_replaced_when_needed() -> None:
    pool = ScriptedPool(2, ok)

    def two_lives(item: str, tried: int) -> Any:
        if item == "a":
            pool.events.append(Died(1, "died idle"))
            pool.alive.discard(1)
        return ok(item, tried)

    pool.answer = two_lives
    pool.on_start = lambda worker: Ready(worker) if worker == 0 else None
    assert sorted(o.result for o in run(pool, "abc")) == ["A", "B", "C"]


def test_a_task_that_cannot_be_loaded_stops_the_run() -> None:
    pool = ScriptedPool(2, ok)
    pool.on_start = lambda worker: Broken(worker, "ModuleNotFoundError: No module named 'x'")
    with pytest.raises(RuntimeError, match="No module named 'x'"):
        run(pool, "abc")
    assert pool.closed


@pytest.mark.parametrize("fate", ["dies", "hangs"])
def test_workers_that_never_start_stop_the_run(fate: str) -> None:
    pool = ScriptedPool(1, ok)
    pool.on_start = lambda worker: Died(worker, "ended by itself with exit code 1") if fate == "dies" else None
    with pytest.raises(WorkersLostError, match="3 workers in a row did not start"):
        run(pool, "abc")
    assert len(pool.starts) == 3
    assert pool.closed


def test_the_pool_is_closed_when_the_callback_raises() -> None:
    pool = ScriptedPool(1, ok)
    leases = Leases("a", max_attempts=1, timeout_s=None)

    def interrupt(_: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(pool, {"a": "a"}, leases, interrupt, clock=lambda: 0.0)
    assert pool.closed


def on_and_back(payload: str, _: int) -> Reply:
    """Core, GPU, core: the payload tells how far an item is."""
    if payload.endswith("..."):
        return Reply(result=payload.upper())
    return Reply(result=Onward(payload=f"{payload}.", gpu=not payload.endswith(".")))


def test_an_item_goes_on_in_the_other_pool_and_back() -> None:
    pool = ScriptedPool(3, on_and_back, gpus=1)
    where: dict[str, list[int]] = {}
    submit = pool.submit

    def noted(worker: int, payload: str) -> None:
        where.setdefault(payload[0], []).append(worker)
        submit(worker, payload)

    pool.submit = noted  # type: ignore[method-assign]
    outcomes = run(pool, "abcde")
    assert sorted((o.key, o.attempt, o.final, o.result) for o in outcomes) == [
        (key, 1, True, f"{key.upper()}...") for key in "abcde"
    ]
    for workers in where.values():
        assert [worker == 2 for worker in workers] == [False, True, False, False]
    assert set(pool.starts) == {0, 1, 2}


def test_without_a_gpu_an_item_goes_on_where_it_is() -> None:
    pool = ScriptedPool(1, on_and_back)
    assert sorted(o.result for o in run(pool, "ab")) == ["A...", "B..."]
    assert pool.starts == [0]


def test_what_waits_for_a_gpu_is_bounded() -> None:
    """The GPU's worker never becomes ready until nothing else can happen: the others stop beginning items."""
    begun: list[str] = []

    def answer(payload: str, tried: int) -> Reply:
        if not payload.endswith("."):
            begun.append(payload)
            return Reply(result=Onward(payload=f"{payload}.", gpu=True))
        return ok(payload, tried)

    pool = ScriptedPool(3, answer, gpus=1)
    pool.on_start = lambda worker: Ready(worker) if worker < 2 else None
    wait = pool.wait

    def late(timeout_s: float | None) -> list[Event]:
        if not pool.events and 2 in pool.alive:
            assert len(begun) <= WAITING_PER_GPU + 2
            pool.on_start = Ready
            pool.events.append(Ready(2))
        return wait(timeout_s)

    pool.wait = late  # type: ignore[method-assign]
    outcomes = run(pool, "abcdefghijklmnopqrstuvwxyz")
    assert len(outcomes) == 26
    assert len(begun) == 26


def test_a_loss_on_the_gpu_is_an_attempt_that_begins_anew() -> None:
    """Also when the workers without a GPU had ended meanwhile: one is started again for the retry."""
    lost: list[str] = []

    def answer(payload: str, tried: int) -> Any:
        if not payload.endswith("."):
            return Reply(result=Onward(payload=f"{payload}.", gpu=True))
        if not lost:
            lost.append(payload)
            pool.events.append(Died(0, "died idle"))
            pool.alive.discard(0)
            return "die"
        return ok(payload, tried)

    pool = ScriptedPool(2, answer, gpus=1)
    outcomes = run(pool, "a")
    assert [(o.attempt, o.final, o.failure and o.failure.code) for o in outcomes] == [
        (1, False, "worker_crash"), (2, True, None),
    ]  # fmt: skip
    assert pool.starts.count(0) == pool.starts.count(1) == 2


def test_the_time_of_an_attempt_is_that_of_all_its_parts() -> None:
    leases = Leases("ab", max_attempts=1, timeout_s=10.0)
    leases.acquire(0, 100.0)
    leases.hand_on(0, 107.0, gpu=True)
    assert leases.acquire(0, 107.0, gpu=False).key == "b"  # type: ignore[union-attr]
    lease = leases.acquire(1, 500.0, gpu=True)  # what it waited does not count
    assert lease is not None
    assert (lease.key, lease.attempt, lease.deadline_s) == ("a", 1, 503.0)
    assert [late.key for late in leases.expired(503.0)] == ["b", "a"]
