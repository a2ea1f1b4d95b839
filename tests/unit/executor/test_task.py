"""The per-item boundary and the options."""

from collections.abc import Callable

import pytest

from wmkit.errors import ClipError, InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items
from wmkit.executor.task import run_item


def raising(error: BaseException) -> Callable[[object, object], None]:
    def function(config: object, payload: object) -> None:
        raise error

    return function


def test_a_result_is_passed_on() -> None:
    reply = run_item(ItemTask(function=lambda config, payload: (config, payload), config=1), 2)
    assert (reply.result, reply.failure) == ((1, 2), None)


@pytest.mark.parametrize(
    ("error", "stage", "code", "message", "retry"),
    [
        (ClipError("decode", "zero_frames", "expected\n frames"), "decode", "zero_frames", "expected frames", False),
        (MemoryError("17 GB"), "worker", "out_of_memory", "out of memory: 17 GB", True),
        (ValueError("two\nlines"), "worker", "bug", "ValueError: two lines", False),
        (InputError("rotation"), "worker", "bug", "InputError: rotation", False),
    ],
)
def test_every_exception_ends_its_item(error: Exception, stage: str, code: str, message: str, retry: bool) -> None:
    failure = run_item(ItemTask(function=raising(error), config=None), None).failure
    assert failure is not None
    assert (failure.stage, failure.code, failure.message, failure.retry) == (stage, code, message, retry)
    assert type(error).__name__ in failure.traceback


def test_an_interrupt_is_not_the_items() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_item(ItemTask(function=raising(KeyboardInterrupt()), config=None), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "dask"}, "--executor: expected one of ray, local, got 'dask'"),
        ({"workers": 0}, "--workers: expected at least 1, got 0"),
        ({"timeout_s": 0.0}, "--clip-timeout-s: expected a positive number of seconds, got 0.0"),
        ({"timeout_s": float("nan")}, "--clip-timeout-s"),
        ({"max_attempts": 0}, "max_attempts: expected at least 1"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExecutorOptions(**options)


def test_nothing_to_do_starts_nothing() -> None:
    def unexpected(outcome: Outcome) -> None:
        pytest.fail("no item, no outcome")

    run_items([], ItemTask(function=raising(ValueError()), config=None), ExecutorOptions(kind="ray"), unexpected)


def test_items_need_unique_keys() -> None:
    items = [Item(key="a", payload=1), Item(key="a", payload=2)]
    with pytest.raises(ValueError, match="unique"):
        run_items(items, ItemTask(function=raising(ValueError()), config=None), ExecutorOptions(), lambda outcome: None)
