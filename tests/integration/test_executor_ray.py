"""The Ray executor: the same outcomes and the same bytes as without Ray. One Ray session for the whole module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.dummy import dummy_config, write_clips
from tests.faults.tasks import misbehave
from tests.pose_worlds import cameras_alone, filmed, write_clip
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.corpus import Corpus
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items
from wmkit.executor.ray import connected

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    """Pools find a running session and leave it alone, so that the module pays for one start."""
    with connected(2):
        yield


def run(kind: str, folder: Path, items: list[str], timeout_s: float) -> list[Outcome]:
    folder.mkdir()
    outcomes: list[Outcome] = []
    task = ItemTask(function=misbehave, config=str(folder))
    options = ExecutorOptions(kind=kind, workers=2, timeout_s=timeout_s)
    run_items([Item(key=item, payload=item) for item in items], task, options, outcomes.append)
    return outcomes


def told(outcomes: list[Outcome]) -> list[tuple]:
    """All that is promised to be equal: order and stack addresses are not."""
    return sorted(
        (o.key, o.attempt, o.final, o.result, o.failure and (o.failure.stage, o.failure.code, o.failure.message))
        for o in outcomes
    )


def test_every_way_to_end_is_the_same_with_and_without_ray(tmp_path: Path) -> None:
    items = ["a", "kill", "segfault", "exit", "b", "memory", "bug", "clip_error", "kill:once", "threads", "c"]
    with_ray = run("ray", tmp_path / "ray", items, 60.0)
    assert told(with_ray) == told(run("local", tmp_path / "local", items, 60.0))
    crash = next(o.failure for o in with_ray if o.key == "segfault")
    assert crash is not None
    assert "in misbehave" in crash.traceback


def test_a_hang_is_stopped_and_the_rest_goes_on(tmp_path: Path) -> None:
    outcomes = run("ray", tmp_path / "ray", ["hang", "a", "b"], 2.0)
    ends = {o.key: o for o in outcomes if o.final}
    assert (ends["a"].result, ends["b"].result) == ("a done", "b done")
    hung = ends["hang"]
    assert hung.failure is not None
    assert (hung.failure.code, hung.attempt) == ("timeout", 2)
    assert "in misbehave" in hung.failure.traceback


def test_a_lost_actor_costs_one_attempt(tmp_path: Path) -> None:
    outcomes = run("ray", tmp_path / "ray", ["kill_parent:once", "a", "b"], 60.0)
    attempts = [(o.attempt, o.final, o.failure and o.failure.code) for o in outcomes if o.key == "kill_parent:once"]
    assert attempts == [(1, False, "worker_crash"), (2, True, None)]
    assert {o.key for o in outcomes if o.final} == {"kill_parent:once", "a", "b"}


def test_the_corpus_has_the_same_bytes(tmp_path: Path) -> None:
    inputs = write_clips(tmp_path / "in", ["a_1", "b_1", "static_1", "bad_1", "kill_1"])
    summaries = {}
    for kind in ("ray", "local"):
        options = RunOptions(executor=ExecutorOptions(kind=kind, workers=2, timeout_s=60.0))
        summary = run_annotate([inputs], tmp_path / kind, dummy_config(), options, SilentProgress())
        summaries[kind] = {**summary.to_json(), "corpus": "", "seconds": 0, "clips_per_s": 0}
    assert summaries["ray"] == summaries["local"]
    assert summaries["ray"]["codes"] == {"pose/diverged": 1, "worker/worker_crash": 1}
    assert Corpus.open(tmp_path / "ray").corpus_hash() == Corpus.open(tmp_path / "local").corpus_hash()


def test_the_engine_gives_the_same_bytes_on_ray(tmp_path: Path) -> None:
    write_clip(filmed("moves").rgb, tmp_path / "in" / "moves")
    for kind in ("ray", "local"):
        options = RunOptions(executor=ExecutorOptions(kind=kind, workers=1, timeout_s=120.0))
        summary = run_annotate([tmp_path / "in"], tmp_path / kind, cameras_alone(), options, SilentProgress())
        assert summary.ok == 1
    assert Corpus.open(tmp_path / "ray").corpus_hash() == Corpus.open(tmp_path / "local").corpus_hash()
