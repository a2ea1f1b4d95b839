"""What a worker holds resident over 1,000 clips: does annotating leak?

`python benchmarks/worker_memory.py [--clips N] [--awkward FOLDER] [--log FILE.csv]`. One worker process of the
executor's own, never replaced, annotates N clips with the default config: small videos that were just made, decoded for
real, and every third a file of the awkward folder, broken ones too. One JSON line: resident MiB after each tenth
of the clips, and the growth in kiB a clip after the first fifth, by the median slope between clips (Theil and Sen): one
large clip that raises the peak is no leak, a clip in two that leaves something behind is.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import numpy as np

from wmkit.annotate.defaults import default_config
from wmkit.annotate.depth.plane_sweep import PlaneSweepConfig
from wmkit.annotate.pipeline import AnnotateConfig, config_dict, config_hash
from wmkit.annotate.worker import AnnotateTask, annotate_item
from wmkit.corpus import Corpus, LedgerRow
from wmkit.errors import ClipError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items
from wmkit.executor.memory import resident_gib
from wmkit.video import ClipFile, VideoConfig, discover, identify
from wmkit.video.encode import write_mp4

__all__ = ["WARM_UP", "Held", "growth_kib", "held_over", "small_config"]

AWKWARD_EVERY = 3  # so that each of the 61 was seen once within the warm-up of 1,000 clips: its decoder stays loaded
MADE = 16  # videos, over and over: each is decoded and posed as if it were new
WARM_UP = 0.2  # of the clips, in which caches and pools fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the worker held after one clip, GiB, how the clip ended, and the CPU seconds it took."""

    name: str
    end: str
    gib: float
    core_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakTask:
    """A worker's own task, and bytes that it keeps of every clip: a leak to be found, 0 but in a test."""

    annotate: AnnotateTask
    leak_bytes: int = 0


def measured(task: LeakTask, file: ClipFile) -> Held:
    """The work of a worker on one clip, forgotten again, and what is held after it."""
    start_s = time.process_time()
    try:
        end = str(cast("LedgerRow", annotate_item(task.annotate, file)).status)  # of one pool: never handed on
    except ClipError as error:
        end = f"{error.stage}/{error.code}"
    shutil.rmtree(Corpus(Path(task.annotate.corpus)).folder(file.clip_id), ignore_errors=True)
    _kept.append(np.ones(task.leak_bytes, dtype=np.uint8))
    return Held(name=file.name, end=end, gib=resident_gib(), core_s=time.process_time() - start_s)


_kept: list[Any] = []


def held_over(
    clips: int,
    folder: Path,
    config: AnnotateConfig,
    awkward: Path | None = None,
    leak_bytes: int = 0,
    told: Callable[[Held], None] = lambda _: None,
) -> list[Held]:
    """What one worker held after each of `clips` clips; `folder` is for its files, `told` is called after each."""
    made = [identify(found) for found in discover([_films(folder / "films")]).clips]
    odd = [] if awkward is None else [identify(found) for found in discover([awkward]).clips if _has_bytes(found.path)]
    corpus = Corpus.create_or_open(
        folder / "corpus", cast("dict[str, Any]", config_dict(config)), config_hash(config), update=False
    )
    sound, broken = cycle(made), cycle(odd or made)
    items = [
        Item(key=f"{number:06d}", payload=next(broken if number % AWKWARD_EVERY == AWKWARD_EVERY - 1 else sound))
        for number in range(clips)
    ]
    held: list[Held] = []

    def record(outcome: Outcome) -> None:
        if outcome.failure is not None:
            raise RuntimeError(f"expected a clip's own end, got {outcome.failure}")
        held.append(outcome.result)
        told(outcome.result)

    task = LeakTask(annotate=AnnotateTask(corpus=str(corpus.path), config=config), leak_bytes=leak_bytes)
    options = ExecutorOptions(kind="local", workers=1, recycle_after=clips + 1)
    run_items(items, ItemTask(function=measured, config=task), options, record)
    return held


def small_config() -> AnnotateConfig:
    """The default annotator, every stage of it, on few and small frames: what a clip costs is not the question."""
    return default_config(video=VideoConfig(max_side=128, fps=8), depth=PlaneSweepConfig(max_side=64, max_frames=2))


def growth_kib(held: Sequence[Held]) -> float:
    """KiB a clip that the worker grew by after its warm-up: the median of the slopes between clips half as many apart
    as there are, so that each compares two that lie far from one another."""
    steady = [row.gib for row in held[int(WARM_UP * len(held)) :]]
    half = len(steady) // 2
    return 2**20 * statistics.median((steady[at + half] - steady[at]) / half for at in range(half))


def _has_bytes(path: str) -> bool:
    return Path(path).is_dir() or Path(path).stat().st_size > 0  # an empty file ends before any worker sees it


def _films(folder: Path) -> Path:
    """Small videos of a textured wall: some slide past it, some stand still, some are short."""
    folder.mkdir(parents=True)
    for number in range(MADE):
        rng = np.random.default_rng(number)
        wall = np.kron(rng.integers(0, 255, (24, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        step, count = number % 3, 8 + number % 4
        frames = [wall[:96, step * k : step * k + 128] for k in range(count)]
        write_mp4(folder / f"{number:02d}.mp4", map(np.ascontiguousarray, frames), Fraction(16), (128, 96))
    return folder


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--awkward", type=Path, default=None)
    parser.add_argument("--log", type=Path, default=None)
    arguments = parser.parse_args()
    config = small_config()
    with tempfile.TemporaryDirectory() as name, open(arguments.log or os.devnull, "w", newline="") as log:

        def told_of(row: Held) -> None:
            csv.writer(log).writerow((row.name, row.end, f"{row.gib:.6f}", f"{row.core_s:.3f}"))
            log.flush()

        held = held_over(arguments.clips, Path(name), config, arguments.awkward, told=told_of)
    at = [round(1024 * held[len(held) * tenth // 10 - 1].gib, 1) for tenth in range(1, 11)]
    told = {
        "clips": len(held),
        "mib": at,
        "growth_kib_a_clip": round(growth_kib(held), 3),
        "core_s_a_clip": round(statistics.fmean(row.core_s for row in held), 3),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    # Under its own name, so that workers find `measured` where the driver says it is.
    from benchmarks.worker_memory import main as measure

    measure()
