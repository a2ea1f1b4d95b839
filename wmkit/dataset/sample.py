"""One clip of a corpus as the parts of one sample."""

import io
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wmkit.atomic import json_bytes
from wmkit.camera import Array, ScaleKind, Trajectory
from wmkit.clip import Annotation
from wmkit.corpus import Corpus
from wmkit.corpus.clip_folder import read_record
from wmkit.corpus.refind import SourceGone, reopen_source
from wmkit.dataset.decode import fit_cameras
from wmkit.dataset.depth import DEPTH, fitted_depth, seen_px
from wmkit.dataset.frames import CRF, GOP, copy_refusal, encode_clip, even_size, mean_rate
from wmkit.dataset.plan import Candidate, Dropped
from wmkit.errors import ClipError, InputError
from wmkit.video import FrameSource

__all__ = ["Prepared", "SampleOptions", "VideoMode", "check_copy", "prepare_sample", "prepare_samples"]

VideoMode = Literal["encode", "copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """How a clip's frames go into its sample.

    video  "copy" takes the source file itself.
    size   (height, width) px that every frame is made to cover and centre-cropped to; None: as annotated.
    depth  put a clip's depth maps in, where it has any.
    """

    video: VideoMode = "encode"
    size: tuple[int, int] | None = None
    depth: bool = False

    @property
    def fit(self) -> tuple[int, int] | None:
        """The size as (width, height)."""
        return None if self.size is None else (self.size[1], self.size[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A sample ready to be written: `parts` by name, in their order; width and height of the mp4's frames, px."""

    key: str
    parts: dict[str, bytes]
    width: int
    height: int
    trajectory: Trajectory


def prepare_sample(store: Corpus, candidate: Candidate, options: SampleOptions, scratch: Path) -> Prepared | Dropped:
    """Read the annotation, find the source, derive the frames; `Dropped` when one of them is not there any more.

    `scratch` is a folder for the mp4 while it is encoded. Raises InputError when the disk or the encoder refuses.
    """
    try:
        annotation = store.read(candidate.clip_id)
    except InputError as error:
        return _dropped(candidate, "annotation cannot be read", str(error))
    trajectory = annotation.trajectory
    if trajectory is None or not trajectory.posed.any():
        return _dropped(candidate, "annotation cannot be read", "the ledger knows poses that the folder has not")
    found = _find(store.config, candidate, annotation)
    if isinstance(found, SourceGone):
        return _dropped(candidate, found.reason, found.detail)
    path, frames = found
    try:
        copied = options.video == "copy"
        mp4 = path.read_bytes() if copied else _encoded(frames, scratch, candidate.clip_id, options.fit)
    except ClipError as error:
        return _dropped(candidate, "source cannot be read", str(error))
    except OSError as error:
        return _dropped(candidate, "source cannot be read", f"{path}: {error.strerror}")
    view = annotation.view
    cameras = annotation.intrinsics_rows
    width, height = (view.width, view.height) if copied else even_size(view.width, view.height)
    crop_px: tuple[float, float, float, float] = (0, 0, width, height)
    if options.fit is not None:
        width, height = options.fit
        cameras = fit_cameras(cameras, (view.width, view.height), options.fit)
        crop_px = seen_px(view.width, view.height, width, height)
    folder = store.folder(candidate.clip_id)
    record = _record(read_record(folder), annotation, options.video, (width, height))
    record["frames"]["crop_px"] = crop_px  # left, top, right, bottom in the frames of `view`
    parts = {
        "mp4": mp4,
        "json": json_bytes(record),
        "trajectory.npy": _npy(trajectory.world_from_cam),
        "intrinsics.npy": _npy(cameras),
    }
    if annotation.caption is not None:
        parts["txt"] = annotation.caption.text.encode()
    if options.depth and annotation.depth is not None:
        parts[DEPTH] = fitted_depth((folder / DEPTH).read_bytes(), (view.width, view.height), crop_px, (width, height))
    return Prepared(key=candidate.clip_id, parts=parts, width=width, height=height, trajectory=trajectory)


def prepare_samples(
    store: Corpus, candidates: Sequence[Candidate], options: SampleOptions, scratch: Path, workers: int | None = None
) -> Iterator[Prepared | Dropped]:
    """Samples in the order of `candidates`, `workers` (None: one a core) of them in work; an encoder is one thread."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(candidates))
    with ThreadPoolExecutor(workers) as threads:
        waiting: deque[Future[Prepared | Dropped]] = deque()
        try:
            for candidate in candidates:
                waiting.append(threads.submit(prepare_sample, store, candidate, options, scratch))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def check_copy(store: Corpus, candidate: Candidate) -> None:
    """InputError when the clip's source cannot be copied as it is; a source that is gone is the writer's business."""
    try:
        annotation = store.read(candidate.clip_id)
        found = _find(store.config, candidate, annotation)
        if isinstance(found, SourceGone):
            return
        with open(found[0], "rb") as file:
            head = file.read(12)
    except (InputError, OSError):
        return
    why = copy_refusal(found[1], head)
    if why is not None:
        raise InputError(
            f"--video copy: expected every source to be an H.264 mp4 used as it is, got {candidate.name}: {why}; "
            "use --video encode"
        )


def _find(
    config: Mapping[str, Any], candidate: Candidate, annotation: Annotation
) -> tuple[Path, FrameSource] | SourceGone:
    """The first source that still gives the annotated frames, and them; why the last one does not."""
    gone = SourceGone(reason="source is no longer in the corpus", detail=candidate.name)
    for row in candidate.sources:
        frames = reopen_source(row, annotation, config)
        if not isinstance(frames, SourceGone):
            return Path(frames.file.path), frames
        gone = frames
    return gone


def _encoded(frames: FrameSource, scratch: Path, name: str, fit: tuple[int, int] | None) -> bytes:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / f"{name}.mp4"
        encode_clip(frames, path, fit)
        return path.read_bytes()


def _record(
    record: Mapping[str, Any], annotation: Annotation, video: VideoMode, size: tuple[int, int]
) -> dict[str, Any]:
    """The .json of a sample; `record` is the clip's annotation.json."""
    view = annotation.view
    metric = annotation.scale is not None
    rate = mean_rate(view.time_s)
    return {
        "key": annotation.clip.id,
        "clip": record["clip"],
        "view": record["view"],
        "frames": {
            "count": len(view),
            "width": size[0],
            "height": size[1],
            "fps": f"{rate}",
            "time_s": view.time_s.tolist(),
            "video": "the source's own bytes" if video == "copy" else f"libx264, crf {CRF}, gop {GOP}",
        },
        "scale": {
            "kind": str(ScaleKind.METRIC if metric else ScaleKind.UP_TO_SCALE),
            "unit": "metre" if metric else "median depth of the clip's points",
            "estimate": record["scale"],
        },
        "verdicts": record["verdicts"],
        "provenance": record["provenance"],
        "caption": None if annotation.caption is None else annotation.caption.text,
    }


def _npy(array: Array) -> bytes:
    """An .npy whose every NaN is the one NaN, whatever arithmetic it came from."""
    buffer = io.BytesIO()
    array = np.ascontiguousarray(np.where(np.isnan(array), np.nan, array))
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _dropped(candidate: Candidate, reason: str, detail: str) -> Dropped:
    return Dropped(clip_id=candidate.clip_id, source=candidate.name, reason=reason, detail=detail)
