"""What a worker process does with one clip: annotate it, write its folder, return its ledger row.

Where there are workers with a GPU, a clip whose config has networks goes through two pools: what needs none (decoding,
footage filters, the default pose engine, depth by plane sweep) is done by workers of one core each, and what is a
network by workers of one GPU each, which it is handed to and back from by path. One pool of workers that each hold a
core and a share of a GPU would be simpler, and would leave the GPU idle through most of a clip's time: posing a clip
takes a core half a minute, a depth network a GPU a second.
"""

from dataclasses import dataclass
from pathlib import Path

from wmkit.annotate.handover import Begun, hand_over, take_over
from wmkit.annotate.pipeline import STAGES, AnnotateConfig, ClipWork, stage_on_gpu
from wmkit.atomic import no_room
from wmkit.corpus import Corpus, LedgerRow
from wmkit.errors import ClipError, InputError
from wmkit.executor import DISK_FULL, Onward
from wmkit.executor.limits import address_space
from wmkit.video import ClipFile
from wmkit.video.remote import local_copy

__all__ = ["FIRST_PASS_GIB", "AnnotateTask", "annotate_item", "uses_gpu"]

FIRST_PASS_GIB = 8.0  # twice what sixteen references of 8192x8192 px in ten bits take


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateTask:
    """The config that every worker is sent once: the corpus folder (absolute) and how to annotate.

    gpu_device  of networks, in workers that have a GPU; None when there are none: every worker does all of a clip.
    """

    corpus: str
    config: AnnotateConfig
    gpu_device: str | None = None


def uses_gpu(config: AnnotateConfig) -> bool:
    """Whether any stage of a clip is for a worker with a GPU."""
    return config.stop_after is None and any(stage_on_gpu(stage, config) for stage in STAGES)


def annotate_item(task: AnnotateTask, item: ClipFile | Begun) -> LedgerRow | Onward:
    """Annotate one clip into the corpus, or as much of it as this kind of worker does; the driver records the returned
    row after the folder is in place.

    Raises ClipError when the clip cannot be used, ("write", "write_failed") when the disk refuses its folder, with
    the code `disk_full` when it does so for lack of room.
    """
    corpus = Corpus(Path(task.corpus))
    file = item if isinstance(item, ClipFile) else item.file
    with local_copy(file) as here:
        work = ClipWork(here, task.config) if isinstance(item, ClipFile) else take_over(item, here, task.config)
        here_on_gpu = task.gpu_device is not None and bool(work.next_on_gpu())
        device = _gpu(task.gpu_device) if here_on_gpu else "cpu"
        while work.to_do:
            wanted = work.next_on_gpu()
            if task.gpu_device is not None and wanted is not None and wanted is not here_on_gpu:
                begun = hand_over(work, file, corpus.scratch(f"{file.clip_id}.begun"))
                return Onward(payload=begun, gpu=wanted)
            work.run_next(device, address_space(FIRST_PASS_GIB))
        result = work.result()
    try:
        corpus.write(result.annotation)
    except InputError as error:
        raise ClipError("write", DISK_FULL if no_room(error.__cause__) else "write_failed", str(error)) from error
    return LedgerRow.of(result.annotation, result.timings)


def _gpu(device: str | None) -> str:
    """`device`, once torch sees it: a worker with a GPU that is none would be slow for ever and say nothing."""
    if device is None or not device.startswith("cuda"):
        return device or "cpu"
    import torch

    if not torch.cuda.is_available():
        raise ClipError(
            "worker", "no_gpu", "expected a GPU in a worker of --gpu-workers, torch sees none; pass --gpu-workers 0"
        )
    return device
