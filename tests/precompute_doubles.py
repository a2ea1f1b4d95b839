"""Shards with captions to precompute, and an executor that works in this very process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.shard_samples import CONFIG, annotate_exactly, make_clip, record
from wmkit.annotate.pipeline import config_dict, config_hash
from wmkit.caption import Caption
from wmkit.corpus import Corpus
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome
from wmkit.executor.task import run_item
from wmkit.video import discover, identify, open_source

__all__ = ["captioned_shards", "in_this_process"]

UNPOSED = (3,)


def captioned_shards(folder: Path, *, clips: int = 3, frames: int = 24, shard_bytes: int = 40_000) -> Path:
    """`folder`/shards of 64x48 px in tars of two samples; frame 3 has no pose, and the first clip no caption."""
    for number in range(clips):
        make_clip(folder / "clips" / f"clip{number}.mp4", number, frames)
    store = Corpus.create_or_open(folder / "corpus", config_dict(CONFIG), config_hash(CONFIG), update=False)  # type: ignore[arg-type]
    for number, found in enumerate(discover([folder / "clips"]).clips):
        file = identify(found)
        annotation = annotate_exactly(open_source(file, CONFIG.video), file, UNPOSED, metric=number == 0)
        caption = Caption.of(f"a wall of {number} soft blocks", "test") if number else None
        record(store, replace(annotation, caption=caption), file)
    build_shards(folder / "corpus", folder / "shards", BuildOptions(shard_bytes=shard_bytes))
    return folder / "shards"


def in_this_process(
    items: Sequence[Item], task: ItemTask, options: ExecutorOptions, on_outcome: Callable[[Outcome], None]
) -> None:
    """`run_items` without processes, which take seconds to start: the same boundary around every item."""
    for item in items:
        reply = run_item(task, item.payload)
        on_outcome(Outcome(key=item.key, attempt=1, final=True, result=reply.result, failure=reply.failure))
