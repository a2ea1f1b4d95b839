"""Two pools of workers: the same bytes and the same ends as with one, on Ray and without. No GPU is needed: Ray is told
of one, and the networks are tiny, of random weights, on the CPU."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.depth_doubles import tiny_depth_anything
from tests.faults.dummy import dummy_config, write_clips
from wmkit.annotate.depth.network import named_depth_model
from wmkit.annotate.handover import hand_over, take_over
from wmkit.annotate.pipeline import STAGES, AnnotateConfig, ClipWork, annotate_clip
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.run import RunOptions, RunSummary, run_annotate
from wmkit.annotate.worker import AnnotateTask, annotate_item, uses_gpu
from wmkit.camera import ScaleVote
from wmkit.clip import Annotation, DepthMap
from wmkit.corpus import Corpus, LedgerRow
from wmkit.errors import ClipError, InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Onward, Outcome, gpus_there, run_items
from wmkit.executor.ray import connected
from wmkit.video import ClipFile, FrameSource, discover, identify

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

CLIPS = ["a_1", "b_1", "static_1", "bad_1", "kill_1", "c_1"]


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """A Ray of two CPUs and a GPU that is none, started once."""
    with connected(2, gpus=1):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuScaleConfig:
    """A scale cue that is for a worker with a GPU, notes where it ran, and ends badly for some clips."""

    notes: str
    name: ClassVar[str] = "gpu_scale"
    licence: ClassVar[str] = "Apache-2.0"
    on_gpu: ClassVar[bool] = True

    def build(self, device: str) -> "_GpuScale":
        return _GpuScale(self.notes)


@dataclass(frozen=True, slots=True)
class _GpuScale:
    notes: str

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        note(self.notes, "scale", annotation.clip.source)
        if annotation.clip.source.startswith("c_"):
            raise ClipError("scale", "no_good", "expected a scene that the network likes, got this one")
        if annotation.clip.source.startswith("b_") and len(list(Path(self.notes).glob("scale b_1 *"))) == 1:
            os._exit(11)
        return ScaleVote(cue="factor", value=3.0, sigma_log=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuDepthConfig:
    """Depth that costs a core and no GPU: the clip has to come back for it."""

    notes: str
    name: ClassVar[str] = "cpu_depth"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> "_CpuDepth":
        return _CpuDepth(self.notes)


@dataclass(frozen=True, slots=True)
class _CpuDepth:
    notes: str

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap:
        note(self.notes, "depth", annotation.clip.source)
        first = next(iter(frames.windows())).rgb[:2].mean(axis=3).astype(np.float32) / 7 + 1
        assert annotation.trajectory is not None
        return DepthMap(
            frame=np.arange(2), z=first, valid=np.ones(first.shape, dtype=bool), scale=annotation.trajectory.scale
        )


def note(folder: str, stage: str, clip: str) -> None:
    (Path(folder) / f"{stage} {clip} {os.getpid()} {time.time_ns()}").touch()


def config_of(notes: Path) -> AnnotateConfig:
    notes.mkdir(exist_ok=True)
    return replace(dummy_config(), scale=(GpuScaleConfig(notes=str(notes)),), depth=CpuDepthConfig(notes=str(notes)))


def ran(notes: Path, stage: str) -> dict[str, set[str]]:
    """Clip -> ids of the processes in which a stage ran."""
    found: dict[str, set[str]] = {}
    for path in notes.iterdir():
        word, clip, pid, _ = path.name.split()
        if word == stage:
            found.setdefault(clip, set()).add(pid)
    return found


def run(kind: str, gpus: int, inputs: Path, out: Path, config: AnnotateConfig) -> RunSummary:
    workforce = ExecutorOptions(kind=kind, workers=2, gpu_workers=gpus, timeout_s=120.0)
    options = RunOptions(executor=workforce, gpu_device="cpu")
    return run_annotate([inputs], out, config, options, SilentProgress())


def told(summary: RunSummary) -> dict[str, object]:
    return {**summary.to_json(), "corpus": "", "seconds": 0, "clips_per_s": 0}


def attempts(corpus: Path) -> list[tuple[str, int, str, str]]:
    return sorted((row.source, row.attempt, row.status, row.code) for row in Corpus.open(corpus).ledger())


def test_pools_change_no_byte_and_no_end(session: None, tmp_path: Path) -> None:
    inputs = write_clips(tmp_path / "in", CLIPS)
    summaries, hashes, rows = [], set(), []
    for kind, gpus in (("local", 0), ("local", 1), ("ray", 1)):
        notes, out = tmp_path / "notes", tmp_path / f"{kind}-{gpus}"
        summaries.append(told(run(kind, gpus, inputs, out, config_of(notes))))
        rows.append(attempts(out))
        hashes.add(Corpus.open(out).corpus_hash())
        scale, depth = ran(notes, "scale"), ran(notes, "depth")
        assert scale.keys() == {"a_1", "b_1", "c_1"}
        assert len(scale["b_1"]) == 2, "once more after its crash"
        on_gpu = set().union(*scale.values())
        assert bool(on_gpu & set().union(*depth.values())) == (gpus == 0), "a pool of its own, or none"
        assert not [left for left in (out / ".tmp").iterdir() if not left.name.startswith(lost_clip(out))]
        for path in notes.iterdir():
            path.unlink()
    assert summaries[0] == summaries[1] == summaries[2]
    assert rows[0] == rows[1] == rows[2]
    assert summaries[0]["codes"] == {"pose/diverged": 1, "scale/no_good": 1, "worker/worker_crash": 1}
    assert summaries[0]["metric"] == 2
    assert len(hashes) == 1


def lost_clip(out: Path) -> str:
    """Id of the clip whose worker died with what it was handed."""
    return next(row.clip_id for row in Corpus.open(out).sources() if row.name == "b_1")


def test_a_depth_network_runs_in_a_pool_of_its_own(tmp_path: Path) -> None:
    model = tiny_depth_anything(tmp_path / "model", "metric")
    inputs = write_clips(tmp_path / "in", ["a_1", "b_1"])
    config = replace(dummy_config(), depth=named_depth_model(model, 32, 2))
    assert uses_gpu(config)
    summaries = [told(run("local", gpus, inputs, tmp_path / f"out-{gpus}", config)) for gpus in (0, 1)]
    assert summaries[0] == summaries[1]
    assert summaries[0]["ok"] == 2
    one, two = (Corpus.open(tmp_path / f"out-{gpus}") for gpus in (0, 1))
    assert one.corpus_hash() == two.corpus_hash()


@pytest.mark.parametrize("left", range(len(STAGES)))
def test_a_clip_handed_over_before_any_stage_ends_as_if_it_was_not(left: int, tmp_path: Path) -> None:
    inputs = write_clips(tmp_path / "in", ["a_1"])
    file = identify(discover([inputs]).clips[0])
    config = config_of(tmp_path / "notes")
    whole, store = annotate_clip(file, config), Corpus(tmp_path / "corpus")
    work = ClipWork(file, config)
    for _ in range(left):
        work.run_next("cpu")
    begun = hand_over(work, file, tmp_path / "handed")
    again = take_over(begun, file, config)
    assert not (tmp_path / "handed").exists()
    while again.to_do:
        again.run_next("cpu")
    hashes = set()
    for result in (whole, again.result()):
        store.write(result.annotation)
        hashes.add(store.corpus_hash())
    assert len(hashes) == 1
    assert set(again.timings) >= set(whole.timings)


def test_a_hand_over_that_is_lost_is_the_clip_s_own_end(tmp_path: Path) -> None:
    file = identify(discover([write_clips(tmp_path / "in", ["a_1"])]).clips[0])
    config = config_of(tmp_path / "notes")
    task = AnnotateTask(corpus=str(tmp_path / "corpus"), config=config, gpu_device="cpu")
    onward = annotate_item(task, file)
    assert isinstance(onward, Onward)
    assert onward.gpu
    back = annotate_item(task, onward.payload)
    assert isinstance(back, Onward)
    assert not back.gpu
    row = annotate_item(task, back.payload)
    assert isinstance(row, LedgerRow)
    assert row.status == "ok"
    assert {"pose", "scale", "depth"} <= set(row.timings)
    with pytest.raises(ClipError, match="every machine must see this path"):
        annotate_item(task, onward.payload)
    elsewhere = replace(task, gpu_device="cuda")
    with pytest.raises(ClipError, match="--gpu-workers 0"):
        annotate_item(elsewhere, annotate_item(elsewhere, file).payload)  # type: ignore[union-attr]


def tell_gpu(config: str, payload: str) -> str | Onward:
    """On to the other kind of worker and back, telling what each sees of GPUs."""
    seen = f"{payload} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}"
    return seen if payload.count(" ") == 2 else Onward(payload=seen, gpu=payload.count(" ") == 0)


def test_a_worker_with_a_gpu_sees_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    outcomes: list[Outcome] = []
    options = ExecutorOptions(kind="local", workers=1, gpu_workers=2)
    items = [Item(key=key, payload=key) for key in "abcdef"]
    run_items(items, ItemTask(function=tell_gpu, config=""), options, outcomes.append)
    assert sorted(o.key for o in outcomes if o.final and o.attempt == 1) == list("abcdef")
    assert {o.result.split(" ", 1)[1] for o in outcomes} <= {"5 5 5", "5 1 5"}


def test_an_actor_with_a_gpu_sees_its_own(session: None) -> None:
    outcomes: list[Outcome] = []
    options = ExecutorOptions(kind="ray", workers=1, gpu_workers=2)
    items = [Item(key=key, payload=key) for key in "abc"]
    run_items(items, ItemTask(function=tell_gpu, config=""), options, outcomes.append)
    assert {o.result.split(" ")[2] for o in outcomes} == {"0"}, "Ray's first GPU"


def test_how_many_there_are() -> None:
    assert gpus_there(ExecutorOptions(gpu_workers=3)) == 3
    assert gpus_there(ExecutorOptions(kind="local")) == 0, "torch sees none here"
    assert not uses_gpu(dummy_config())
    with pytest.raises(InputError, match="--gpu-workers: expected at least 0"):
        ExecutorOptions(gpu_workers=-1)
