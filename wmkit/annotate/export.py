"""`export_corpus`: a corpus as files of another tool's format, one a source, and export.json that accounts for all.

::

    tum        <name>.txt
    kitti      <name>.txt, frames/<name>.txt
    re10k      <name>.txt
    rerun      <name>.rrd
    colmap     <name>/sparse/0/*.txt, <name>/images/frame_%06d.jpg (posed frames),
               <name>/stereo/depth_maps/<image>.geometric.bin, <name>/masks/<image>.png (the posed ones that have them)
    nerfstudio <name>/transforms.json, <name>/sparse_pc.ply, <name>/images/frame_%06d.jpg (posed frames),
               <name>/depth/ and <name>/masks/ (16-bit and 8-bit PNG; none.png and all.png for frames without)
    vipe       pose/<name>.npz, intrinsics/<name>.npz, intrinsics/<name>_camera.txt, rgb/<name>.mp4 (all frames),
               depth/<name>.zip and mask/<name>.zip, .txt (the frames that have them)

Pictures are not kept in a corpus: they are decoded again from the source, if it still is the one that was annotated.
They are the upright, resized and, where annotate found a lens, undistorted frames; cameras are always their pinholes.
export.json is written last, so a folder without it is an export that did not finish.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.export_maps import Maps, log_maps, write_colmap_maps, write_nerfstudio_maps, write_vipe_maps
from wmkit.annotate.export_names import export_names
from wmkit.clip import Annotation
from wmkit.corpus import Corpus, LedgerRow, SourceRow
from wmkit.corpus.refind import SourceGone, reopen_source
from wmkit.errors import ClipError, InputError
from wmkit.formats.colmap import write_colmap
from wmkit.formats.kitti import frames_path, write_kitti
from wmkit.formats.nerfstudio import write_nerfstudio
from wmkit.formats.re10k import write_re10k
from wmkit.formats.rerun import RerunRecording
from wmkit.formats.text import write_lines
from wmkit.formats.track import CameraTrack, track_of_annotation
from wmkit.formats.tum import write_tum
from wmkit.formats.vipe import rgb_path, write_vipe
from wmkit.video.frames import FrameSource
from wmkit.video.still import jpeg_bytes

__all__ = ["EXPORT_FORMATS", "ExportSummary", "export_corpus"]

# format -> what of an annotation it has no place for
EXPORT_FORMATS = {
    "tum": ("intrinsics", "image size", "unit", "points", "depth", "covariance", "images"),
    "kitti": ("intrinsics", "image size", "unit", "points", "depth", "covariance", "images"),
    "re10k": ("image size", "unit", "points", "depth", "covariance", "images", "times finer than 1 us"),
    "colmap": ("times", "unit", "observations of points", "confidence of depth", "covariance"),
    "nerfstudio": ("confidence of depth", "covariance"),
    "vipe": ("times", "unit", "points", "confidence of depth", "covariance"),
    "rerun": ("unit", "confidence of depth", "covariance", "images"),
}
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What became of every source.

    exported  sources with files.
    left_out  the others, reason -> count: sources = exported + their sum.
    """

    out: str
    format: str
    sources: int
    exported: int
    left_out: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class _Entry:
    """One source in export.json.

    files     relative to the folder, those ending in / are folders; empty when nothing could be written.
    left_out  what is missing of it, a stable reason and a detail for people.
    """

    name: str
    id: str
    source: str
    status: str
    frames: int | None = None
    posed_frames: int | None = None
    scale: str | None = None
    files: list[str] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def leave_out(self, what: str, reason: str, detail: str = "") -> None:
        self.left_out.append({"what": what, "reason": reason, "detail": detail})


def export_corpus(corpus: Path, file_format: str, out: Path) -> ExportSummary:
    """Write every source of the corpus that has posed frames into `out`, an empty or new folder.

    Names are the source's path below the input root, `/` -> `__`, without a video's extension unless two would then
    be called the same. Sources of equal content share an annotation and are each written. Raises InputError for an
    unknown format, an `out` that is not empty or cannot be written, and a corpus that is none.
    """
    if file_format not in EXPORT_FORMATS:
        raise InputError(f"--format: expected one of {', '.join(EXPORT_FORMATS)}, got {file_format!r}")
    store = Corpus.open(corpus)
    _expect_empty(out)
    sources = sorted(store.sources(), key=lambda row: (row.name, row.path))
    names = export_names([row.name for row in sources])
    latest = store.latest()
    entries = [
        _export_source(store, row, latest.get(row.clip_id), file_format, out / name)
        for row, name in zip(sources, names, strict=True)
    ]
    document = {
        "format": file_format,
        "not_in_format": list(EXPORT_FORMATS[file_format]),
        "naming": "path below the input root, / -> __; files are relative to this folder",
        "time": "seconds since the clip's first output frame (time_s); frames without a pose are left out",
        "sources": [asdict(entry) for entry in entries],
    }
    write_lines(out / "export.json", [json.dumps(document, indent=1, ensure_ascii=False)])
    reasons = Counter(entry.left_out[0]["reason"] for entry in entries if not entry.files)
    return ExportSummary(
        out=str(out),
        format=file_format,
        sources=len(entries),
        exported=sum(1 for entry in entries if entry.files),
        left_out=dict(sorted(reasons.items())),
    )


def _expect_empty(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = next(out.iterdir(), None)
    except OSError as error:
        raise InputError(f"{out}: expected a folder that can be written, got {error.strerror}") from error
    if taken is not None:
        raise InputError(f"{out}: expected an empty or new folder, it holds {taken.name}; pass another --out")


def _export_source(store: Corpus, row: SourceRow, last: LedgerRow | None, file_format: str, target: Path) -> _Entry:
    entry = _Entry(name=target.name, id=row.clip_id, source=row.name, status=str(last.status) if last else "unfinished")
    if last is None:
        entry.leave_out("everything", "not annotated yet")
        return entry
    if not last.done:
        entry.leave_out("everything", f"failed: {last.stage}/{last.code}", last.message)
        return entry
    try:
        annotation = store.read(row.clip_id)
    except InputError as error:
        entry.status = "damaged"
        entry.leave_out("everything", "damaged", str(error))
        return entry
    entry.frames = len(annotation.view)
    if annotation.trajectory is None or not annotation.trajectory.posed.any():
        none = annotation.no_trajectory
        entry.posed_frames = 0
        reason, detail = (none.reason, none.detail) if none else ("no_posed_frame", "")
        entry.leave_out("everything", f"no trajectory: {reason}", detail)
        return entry
    track = track_of_annotation(annotation)
    entry.posed_frames, entry.scale = len(track), str(annotation.trajectory.scale)
    if len(track) < entry.frames:
        entry.leave_out(f"{entry.frames - len(track)} frames", "they have no pose")
    written = _write_cameras(annotation, track, file_format, row.name, target)
    files = written.files
    for what, reason in written.left_out:
        entry.leave_out(what, reason)
    if file_format in ("colmap", "nerfstudio", "vipe"):
        frames = reopen_source(row, annotation, store.config)
        if isinstance(frames, SourceGone):
            entry.leave_out("images", frames.reason, frames.detail)
        elif file_format == "vipe":
            files += _write_video(frames, annotation, rgb_path(target.parent, target.name), entry)
        else:
            files += _write_images(frames, annotation.trajectory.posed, target / "images", entry)
    root = target.parent
    entry.files = [path.relative_to(root).as_posix() + ("/" if path.is_dir() else "") for path in files]
    return entry


def _write_cameras(annotation: Annotation, track: CameraTrack, file_format: str, source: str, target: Path) -> Maps:
    """Write one clip's cameras, depth and masks in any format but its pictures; the files and folders made."""
    root, name = target.parent, target.name
    text = root / f"{name}.txt"
    match file_format:
        case "tum":
            write_tum(track, text)
            return Maps([text], [])
        case "kitti":
            write_kitti(track, text)
            return Maps([text, frames_path(text)], [])
        case "re10k":
            write_re10k(track, text, source)
            return Maps([text], [])
        case "rerun":
            recording = RerunRecording(name, root / f"{name}.rrd")
            recording.log_cameras(track)
            log_maps(recording, annotation)
            recording.close()
            return Maps([root / f"{name}.rrd"], [])
        case "colmap":
            write_colmap(track, target / "sparse" / "0")
            maps = write_colmap_maps(annotation, track, target)
            return Maps([target / "sparse" / "0", *maps.files], maps.left_out)
        case "nerfstudio":
            named, maps = write_nerfstudio_maps(annotation, track, target)
            write_nerfstudio(track, target, maps=named)
            made = [path for path in (target / "transforms.json", target / "sparse_pc.ply") if path.exists()]
            return Maps([*made, *maps.files], maps.left_out)
        case _:
            write_vipe(track, root, name)
            rows = root / "intrinsics"
            made = [root / "pose" / f"{name}.npz", rows / f"{name}.npz", rows / f"{name}_camera.txt"]
            return Maps([*made, *write_vipe_maps(annotation, target).files], [])


def _write_images(frames: FrameSource, posed: NDArray[np.bool_], folder: Path, entry: _Entry) -> list[Path]:
    """JPEG of every posed frame."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, rgb in _numbered(frames):
            if posed[index]:
                (folder / f"frame_{index:06d}.jpg").write_bytes(jpeg_bytes(rgb, JPEG_QUALITY))
    except OSError as error:
        raise InputError(f"{folder}: expected a writable folder, got {error.strerror}") from error
    except ClipError as error:
        entry.leave_out("images", "source cannot be read", str(error))
    return [folder]


def _write_video(frames: FrameSource, annotation: Annotation, path: Path, entry: _Entry) -> list[Path]:
    """H.264 of all frames, posed or not: ViPE's `inds` count them."""
    from wmkit.video.encode import write_mp4

    view = annotation.view
    width, height = view.width + view.width % 2, view.height + view.height % 2
    pad = ((0, height - view.height), (0, width - view.width), (0, 0))
    if (width, height) != (view.width, view.height):
        detail = f"last row or column repeated to {width}x{height}"
        entry.leave_out("odd image size", "H.264 needs even sizes", detail)
    rate = (len(view) - 1) / float(view.time_s[-1]) if len(view) > 1 else annotation.clip.fps
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mp4(path, (np.pad(rgb, pad, mode="edge") for _, rgb in _numbered(frames)), rate, (width, height))
    except OSError as error:
        raise InputError(f"{path}: expected a writable folder, got {error.strerror}") from error
    except ClipError as error:
        entry.leave_out("images", "source cannot be read", str(error))
        return []
    return [path]


def _numbered(frames: FrameSource) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for window in frames.windows():
        yield from enumerate(window.rgb, start=window.start)
