"""Worker processes that are killed, hang, crash or misbehave for real: each costs its own item and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.tasks import children, misbehave
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
GENEROUS_S = 60.0  # never reached; a test that gets there has failed


def run(folder: Path, items: list[str], **options: object) -> list[Outcome]:
    outcomes: list[Outcome] = []
    settings = ExecutorOptions(**{"kind": "local", "workers": 2, "timeout_s": GENEROUS_S, **options})  # type: ignore[arg-type]
    task = ItemTask(function=misbehave, config=str(folder))
    run_items([Item(key=item, payload=item) for item in items], task, settings, outcomes.append)
    return outcomes


def final(outcomes: list[Outcome]) -> dict[str, Outcome]:
    ends = [outcome for outcome in outcomes if outcome.final]
    assert len({outcome.key for outcome in ends}) == len(ends)
    return {outcome.key: outcome for outcome in ends}


@pytest.mark.parametrize(
    ("what", "attempts", "stage_and_code", "message"),
    [
        ("kill", 2, "worker/worker_crash", "the worker was ended by SIGKILL"),
        ("segfault", 2, "worker/worker_crash", "the worker was ended by SIGSEGV"),
        ("exit", 2, "worker/worker_crash", "ended by itself with exit code 7"),
        ("sysexit", 2, "worker/worker_crash", "ended by itself with exit code 3"),
        ("memory", 2, "worker/out_of_memory", "out of memory: big"),
        ("bug", 1, "worker/bug", "ValueError: two lines"),
        ("clip_error", 1, "decode/no_video_stream", "expected a video stream"),
    ],
)
def test_a_bad_item_ends_alone(tmp_path: Path, what: str, attempts: int, stage_and_code: str, message: str) -> None:
    outcomes = run(tmp_path, ["a", what, "b", "c"])
    ends = final(outcomes)
    assert {key: ends[key].result for key in "abc"} == {key: f"{key} done" for key in "abc"}
    failure = ends[what].failure
    assert failure is not None
    assert f"{failure.stage}/{failure.code}" == stage_and_code
    assert message in failure.message
    assert ends[what].attempt == attempts
    assert [outcome.attempt for outcome in outcomes if outcome.key == what] == list(range(1, attempts + 1))


def test_a_crash_and_a_hang_leave_their_stack(tmp_path: Path) -> None:
    ends = final(run(tmp_path, ["segfault", "hang", "a"], timeout_s=1.0, max_attempts=1))
    for what in ("segfault", "hang"):
        failure = ends[what].failure
        assert failure is not None
        assert "in misbehave" in failure.traceback
    assert ends["hang"].failure is not None
    assert ends["hang"].failure.code == "timeout"
    assert ends["a"].result == "a done"


def test_a_worker_that_passes_its_memory_limit_ends_its_item_for_good(tmp_path: Path) -> None:
    outcomes = run(tmp_path, ["hoard", "a", "b"], workers=1, memory_gib=0.5)
    ends = final(outcomes)
    failure = ends["hoard"].failure
    assert failure is not None
    assert (failure.stage, failure.code) == ("worker", "memory")
    assert "passed its memory limit" in failure.message
    assert "its limit is 0.5 GiB" in failure.traceback
    assert ends["hoard"].attempt == 1
    assert [ends[key].result for key in "ab"] == ["a done", "b done"]


def test_the_kernel_ends_what_burns_more_cpu_than_an_item_may(tmp_path: Path) -> None:
    """The limit counts from each item's start: those before it have used theirs."""
    outcomes: list[Outcome] = []
    task = ItemTask(function=misbehave, config=str(tmp_path), cpu_s=1.0)
    options = ExecutorOptions(kind="local", workers=1, max_attempts=1)
    run_items([Item(key=item, payload=item) for item in ("a", "burn", "b")], task, options, outcomes.append)
    failure = final(outcomes)["burn"].failure
    assert failure is not None
    assert failure.code == "worker_crash"
    assert "SIGXCPU (it used more CPU time than one item may)" in failure.message
    assert [final(outcomes)[key].result for key in "ab"] == ["a done", "b done"]


def test_a_worker_is_replaced_after_so_many_items(tmp_path: Path) -> None:
    ends = final(run(tmp_path, ["pid", "bug", "pid:1", "a"], workers=1, recycle_after=2))
    first, second = ends["pid"].result, ends["pid:1"].result
    assert first.isdigit()
    assert second.isdigit()
    assert first != second


def test_a_crash_that_passes_is_retried(tmp_path: Path) -> None:
    assert final(run(tmp_path, ["kill:once", "a"]))["kill:once"].result == "kill survived"


def test_one_worker_survives_a_series_of_crashes(tmp_path: Path) -> None:
    ends = final(run(tmp_path, ["kill", "a", "segfault", "b", "exit", "c"], workers=1, max_attempts=1))
    assert sorted(key for key, outcome in ends.items() if outcome.failure is None) == ["a", "b", "c"]


def test_workers_run_one_thread_each_whatever_the_shell_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert final(run(tmp_path, ["threads"]))["threads"].result == "1,1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_task_that_cannot_be_loaded_stops_the_run(tmp_path: Path) -> None:
    def nested(config: object, payload: object) -> None:
        """Not at module level, so no process can load it."""

    task = ItemTask(function=nested, config=None)
    with pytest.raises((RuntimeError, AttributeError), match="nested"):
        run_items([Item(key="a", payload=1)], task, ExecutorOptions(kind="local"), lambda outcome: None)


def test_a_late_item_takes_its_child_processes_with_it(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    options = ExecutorOptions(kind="local", workers=1, timeout_s=3.0, max_attempts=1)
    task = ItemTask(function=children, config=str(tmp_path))
    run_items([Item(key="a", payload="600")], task, options, outcomes.append)
    assert [outcome.failure.code for outcome in outcomes if outcome.failure] == ["timeout"]
    wait_until_gone(int((tmp_path / "child.pid").read_text()))


def test_a_killed_driver_leaves_no_worker(tmp_path: Path) -> None:
    script = (
        "from tests.faults.tasks import children; from wmkit.executor import *;"
        f"run_items([Item(key='a', payload='600')], ItemTask(function=children, config={str(tmp_path)!r}),"
        " ExecutorOptions(kind='local', workers=1), print)"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    mark = tmp_path / "child.pid"
    while not (mark.exists() and mark.read_text()):
        assert driver.poll() is None
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until_gone(int(mark.read_text()))


def wait_until_gone(pid: int) -> None:
    """Until no process has this id, or it is a zombie that nobody has collected; pytest's timeout is the limit."""
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
