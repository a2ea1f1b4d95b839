"""What a worker process does with one clip: annotate it, write its folder, return its ledger row."""

from dataclasses import dataclass
from pathlib import Path

from wmkit.annotate.pipeline import AnnotateConfig, annotate_clip
from wmkit.atomic import no_room
from wmkit.corpus import Corpus, LedgerRow
from wmkit.errors import ClipError, InputError
from wmkit.executor import DISK_FULL
from wmkit.executor.limits import address_space
from wmkit.video import ClipFile
from wmkit.video.remote import local_copy

__all__ = ["FIRST_PASS_GIB", "AnnotateTask", "annotate_item"]

FIRST_PASS_GIB = 8.0  # twice what sixteen references of 8192x8192 px in ten bits take


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateTask:
    """The config that every worker is sent once: the corpus folder (absolute) and how to annotate."""

    corpus: str
    config: AnnotateConfig


def annotate_item(task: AnnotateTask, file: ClipFile) -> LedgerRow:
    """Annotate one clip into the corpus; the driver records the returned row after the folder is in place.

    Raises ClipError when the clip cannot be used, ("write", "write_failed") when the disk refuses its folder, with
    the code `disk_full` when it does so for lack of room.
    """
    with local_copy(file) as here:
        result = annotate_clip(here, task.config, first_pass=address_space(FIRST_PASS_GIB))
    try:
        Corpus(Path(task.corpus)).write(result.annotation)
    except InputError as error:
        raise ClipError("write", DISK_FULL if no_room(error.__cause__) else "write_failed", str(error)) from error
    return LedgerRow.of(result.annotation, result.timings)
