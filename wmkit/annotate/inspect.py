"""`inspect_clip`: one clip of a corpus in rerun: its video, cameras, points, depth and the evidence frame by frame."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.annotate.export_maps import log_maps
from wmkit.camera import Array
from wmkit.clip import QUALITY_ROWS, Annotation, Verdict
from wmkit.corpus import Corpus, Status
from wmkit.corpus.refind import SourceGone, reopen_source
from wmkit.errors import ClipError, InputError
from wmkit.formats.rerun import RerunRecording
from wmkit.formats.track import track_of_annotation
from wmkit.video.frames import FrameSource
from wmkit.video.still import jpeg_bytes

__all__ = ["InspectResult", "inspect_clip"]

JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectResult:
    """What is in the recording.

    rrd          the file written; None when a viewer was opened.
    cameras      frames that have one, out of `frames`; pictures and depth_maps are counts too.
    no_pictures  why the source could not give its frames, "" when it did.
    """

    clip_id: str
    source: str
    frames: int
    cameras: int
    pictures: int
    depth_maps: int
    no_pictures: str
    rrd: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        where = f"recording: {self.rrd}" if self.rrd else "opened in the rerun viewer"
        counts = f"{self.cameras} of {self.frames} frames with a camera, {self.depth_maps} depth maps"
        missing = [f"no pictures: {self.no_pictures}"] if self.no_pictures else []
        return [f"{self.source}: {counts}, {self.pictures} pictures", *missing, where]


def inspect_clip(corpus: Path, clip_id: str, rrd: Path | None = None) -> InspectResult:
    """Record the clip with this id, or the only one whose id begins so, into `rrd`, or show it in a viewer.

    Pictures are decoded again from the source, if it still is the one that was annotated. Raises InputError when the
    corpus is none, no clip or several have the id, the clip failed, or rerun-sdk is not installed.
    """
    store = Corpus.open(corpus)
    found = _found(store, clip_id)
    annotation = store.read(found)
    sources = [row for row in store.sources() if row.clip_id == found]
    recording = RerunRecording(found, rrd)
    trajectory, time_s = annotation.trajectory, annotation.view.time_s
    cameras = 0 if trajectory is None else int(trajectory.posed.sum())
    if cameras:
        recording.log_cameras(track_of_annotation(annotation))
    recording.log_rows(time_s, _rows(annotation))
    recording.log_text("verdicts", _verdict_table(annotation))
    depth_maps = log_maps(recording, annotation)
    frames = reopen_source(sources[0], annotation, store.config) if sources else None
    no_pictures, pictures = "no source of this clip is listed in sources.parquet", 0
    if isinstance(frames, SourceGone):
        no_pictures = f"{frames.reason}: {frames.detail}"
    elif frames is not None:
        pictures, no_pictures = _log_pictures(recording, frames)
    recording.close()
    return InspectResult(
        clip_id=found,
        source=annotation.clip.source,
        frames=len(time_s),
        cameras=cameras,
        pictures=pictures,
        depth_maps=depth_maps,
        no_pictures=no_pictures,
        rrd=None if rrd is None else str(rrd),
    )


def _found(store: Corpus, asked: str) -> str:
    """The whole id; InputError says how many clips begin so, or how the one clip failed."""
    columns = store.columns()
    ids = columns.words("clip_id")
    rows = [row for row, clip_id in enumerate(ids) if clip_id.startswith(asked)] if asked else []
    if len(rows) != 1:
        got = f"{asked!r}, which begins {len(rows)} of them" if rows else repr(asked)
        raise InputError(
            f"CLIP_ID: expected the id of one of the {len(ids)} clips of {store.path}, got {got}; "
            "`wmkit report` shows the ids"
        )
    (row,) = rows
    if columns.words("status")[row] == str(Status.FAILED):
        stage, code, message = (columns.words(name)[row] for name in ("stage", "code", "message"))
        raise InputError(
            f"{ids[row]}: expected a clip with a result, got one that failed ({stage}/{code}: {message}); "
            "its dead letter has the command that reruns it"
        )
    return ids[row]


def _rows(annotation: Annotation) -> dict[str, Array]:
    """What is known frame by frame: whether it is posed, and the backend's evidence where it left any."""
    trajectory, confidence = annotation.trajectory, annotation.confidence
    rows = {} if trajectory is None else {"posed": trajectory.posed.astype(np.float64)}
    if confidence is not None:
        rows |= {name: getattr(confidence.quality, name) for name in QUALITY_ROWS}
    return rows


def _verdict_table(annotation: Annotation) -> str:
    """Markdown: outcome and every verdict of the clip."""
    none, trajectory = annotation.no_trajectory, annotation.trajectory
    outcome = f"no trajectory: {none.reason}, {none.detail}" if none else "trajectory"
    unit = f", {trajectory.scale}" if trajectory is not None else ""
    lines = [f"**{annotation.clip.source}**: {outcome}{unit}", "", "| verdict | value |", "|---|---|"]
    return "\n".join([*lines, *(f"| {verdict.name} | {_words(verdict)} |" for verdict in annotation.verdicts)])


def _words(verdict: Verdict) -> str:
    if verdict.value is None:
        return f"unmeasured: {verdict.reason}"
    return f"{verdict.value:.6g} {verdict.unit}".strip()


def _log_pictures(recording: RerunRecording, frames: FrameSource) -> tuple[int, str]:
    """All frames as JPEG; how many, and why they ended early, "" when they did not."""
    count = 0
    try:
        for window in frames.windows():
            for index, rgb in enumerate(window.rgb):
                picture = jpeg_bytes(rgb, JPEG_QUALITY)
                recording.log_picture(window.start + index, float(window.time_s[index]), picture)
                count += 1
    except ClipError as error:
        return count, f"source cannot be read: {error}"
    return count, ""
