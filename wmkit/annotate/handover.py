"""A clip that was begun in one process and goes on in another: by path, in a folder that goes with the hand-over.

The folder holds the annotation so far, as the corpus has it, and its depth to the last bit, which the corpus rounds:
results are the same bytes wherever a clip is handed on. Nothing in it outlives its attempt: it is removed when it is
read, or with the corpus's other scratch when a run begins.
"""

import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wmkit.annotate.pipeline import AnnotateConfig, ClipWork, Stage
from wmkit.atomic import HEADER_LOCK, no_room, npz_bytes
from wmkit.camera import ScaleKind
from wmkit.clip import Annotation, DepthMap, Verdict
from wmkit.corpus.clip_folder import annotation_files, read_annotation
from wmkit.errors import ClipError, InputError
from wmkit.executor import DISK_FULL
from wmkit.video import ClipFile

__all__ = ["Begun", "hand_over", "take_over"]

EXACT_DEPTH = "exact_depth.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What crosses to the next worker: the clip, what is left to do, and where what was done lies.

    folder    of the annotation; "" while there is none, before pose.
    verdicts  of the footage, while there is no annotation to hold them.
    timings   CPU seconds by stage so far.
    """

    file: ClipFile
    to_do: tuple[Stage, ...]
    folder: str
    verdicts: tuple[Verdict, ...]
    timings: dict[str, float]


def hand_over(work: ClipWork, file: ClipFile, folder: Path) -> Begun:
    """Write what was done of the clip `file` to the new `folder`; ClipError when the disk refuses."""
    annotation = work.annotation
    if annotation is not None:
        depth = annotation.depth
        files = annotation_files(replace(annotation, depth=None))
        if depth is not None:
            arrays = {"frame": depth.frame, "z": depth.z, "valid": depth.valid}
            sure = {} if depth.confidence is None else {"confidence": depth.confidence}
            files[EXACT_DEPTH] = npz_bytes(arrays | sure)
        try:
            folder.mkdir(parents=True)
            for name, data in files.items():
                (folder / name).write_bytes(data)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            message = f"{folder}: expected to write the clip's hand-over, got {error.strerror or error}"
            raise ClipError("write", DISK_FULL if no_room(error) else "write_failed", message) from error
    return Begun(
        file=file,
        to_do=work.to_do,
        folder="" if annotation is None else str(folder),
        verdicts=work.verdicts if annotation is None else (),
        timings=work.timings,
    )


def take_over(begun: Begun, here: ClipFile, config: AnnotateConfig) -> ClipWork:
    """The clip's work as it was handed over, whose folder is gone then; `here` is the clip's file on this machine.

    ClipError when the folder cannot be read: its machine does not share the corpus's path.
    """
    annotation = None
    if begun.folder:
        folder = Path(begun.folder)
        try:
            annotation = _read(folder)
        except (InputError, OSError, KeyError, ValueError) as error:
            raise ClipError(
                "worker",
                "hand_over_lost",
                f"{folder}: expected what another worker has begun, got {error}; every machine must see this path",
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return ClipWork(here, config, begun.to_do, begun.verdicts, annotation, begun.timings)


def _read(folder: Path) -> Annotation:
    annotation = read_annotation(folder)
    if not (folder / EXACT_DEPTH).exists():
        return annotation
    with HEADER_LOCK, np.load(io.BytesIO((folder / EXACT_DEPTH).read_bytes()), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    scale = ScaleKind.UP_TO_SCALE if annotation.trajectory is None else annotation.trajectory.scale
    return replace(annotation, depth=DepthMap(**arrays, scale=scale))
