"""Long videos as clips: cut where shots change, and into parts of at most so many seconds.

Looking for cuts decodes a video once more, in the workers; what was found is kept in the corpus by content and length,
so that a run that goes on does not look again. Nothing is dropped: the parts of a video are all of it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.filters.hard_cut import CutFinder
from wmkit.annotate.progress import Progress
from wmkit.annotate.sources import SourcePlan
from wmkit.annotate.worker import FIRST_PASS_GIB
from wmkit.camera import Array
from wmkit.corpus import Corpus
from wmkit.errors import InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items
from wmkit.executor.limits import address_space
from wmkit.video import ClipFile, FoundClip, VideoConfig, open_source
from wmkit.video.picture import THUMBNAIL_SIDE_PX, pictures
from wmkit.video.reference import with_span
from wmkit.video.remote import local_copy

__all__ = ["SplitConfig", "borders_of", "split_found", "split_item"]

KEPT_EVERY = 256  # videos looked at before what was found is written


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """`clip_seconds` a part may last at most; `decoder` as in `VideoConfig`."""

    clip_seconds: float
    decoder: str = "pyav"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip_seconds) and self.clip_seconds > 0):
            raise InputError(f"--clip-seconds: expected a positive number of seconds, got {self.clip_seconds}")

    @property
    def words(self) -> str:
        """What two runs must have in common to share what was found."""
        return f"{self.decoder} {self.clip_seconds!r}"


def split_found(
    found: Sequence[FoundClip],
    plan: SourcePlan,
    corpus: Corpus,
    config: SplitConfig,
    workers: ExecutorOptions,
    progress: Progress,
) -> tuple[FoundClip, ...]:
    """The parts of every whole video in place of it; folders of images, named spans and what cannot be read stay."""
    ids = {row.path: row.clip_id for row in plan.rows}
    whole = {clip.path: plan.files.get(ids[clip.path]) for clip in found if not clip.images and clip.span_s is None}
    files = {file.content_hash: file for file in whole.values() if file is not None}
    known = corpus.splits(config.words)
    todo = [Item(key=key, payload=file) for key, file in files.items() if key not in known]
    if todo:
        progress.note(f"videos to look through for cuts: {len(todo)}")
        task = ItemTask(function=split_item, config=config)
        known |= _looked(corpus, config, todo, task, workers)
        missed = sum(item.key not in known for item in todo)
        if missed:
            progress.note(f"videos that could not be looked through, kept whole: {missed}")
    parts: list[FoundClip] = []
    for clip in found:
        file = whole.get(clip.path)
        borders = known.get(file.content_hash, ()) if file is not None else ()
        parts += _parts(clip, borders)
    return tuple(parts)


def split_item(config: SplitConfig, file: ClipFile) -> tuple[float, ...]:
    """Seconds from its first frame where a new part of the video begins; ClipError as `open_source` raises."""
    with local_copy(file) as here:
        with address_space(FIRST_PASS_GIB):
            frames = open_source(here, VideoConfig(decoder=config.decoder, fps=None, max_side=THUMBNAIL_SIDE_PX))
        finder = CutFinder()
        for picture in pictures(frames):
            finder.see(picture)
    return borders_of(frames.view.time_s, finder.cuts() or [], config.clip_seconds)


def borders_of(time_s: Array, cuts: Sequence[int], clip_seconds: float) -> tuple[float, ...]:
    """Seconds, increasing: half a frame before every cut, and before frames that divide a longer shot evenly.

    `time_s` (N,) are the frames' times from the first one, `cuts` first frames of new shots. A shot is as long as its
    frames are shown, the last one as long as the one before it.
    """
    ends_s = np.append(time_s, 2 * time_s[-1] - time_s[-2]) if len(time_s) > 1 else np.append(time_s, 0.0)
    firsts = [0, *(cut for cut in cuts if 0 < cut < len(time_s))]
    starts: list[int] = []
    for first, end in zip(firsts, [*firsts[1:], len(time_s)], strict=True):
        count = max(1, math.ceil((ends_s[end] - ends_s[first]) / clip_seconds - 1e-9))
        wanted_s = ends_s[first] + (ends_s[end] - ends_s[first]) * np.arange(count) / count
        at = np.unique(np.searchsorted(time_s[first:end], wanted_s - 1e-9) + first)
        starts += at[at < end].tolist()
    return tuple(float(time_s[start - 1] + time_s[start]) / 2 for start in starts if start)


def _looked(
    corpus: Corpus, config: SplitConfig, todo: Sequence[Item], task: ItemTask, workers: ExecutorOptions
) -> dict[str, tuple[float, ...]]:
    """What the workers found, on disk as well; a video that cannot be read has no entry: annotating it says why."""
    found: dict[str, tuple[float, ...]] = {}

    def record(outcome: Outcome) -> None:
        if outcome.failure is None:
            found[outcome.key] = outcome.result
            if len(found) % KEPT_EVERY == 0:
                corpus.write_splits(config.words, found)

    try:
        run_items(todo, task, workers, record)
    finally:
        corpus.write_splits(config.words, found)
    return found


def _parts(clip: FoundClip, borders: Sequence[float]) -> list[FoundClip]:
    if not borders:
        return [clip]
    edges: list[float | None] = [0.0, *borders, None]
    spans = [(float(start or 0), end) for start, end in itertools.pairwise(edges)]
    return [
        replace(clip, path=with_span(clip.path, span), name=with_span(clip.name, span), span_s=span) for span in spans
    ]
