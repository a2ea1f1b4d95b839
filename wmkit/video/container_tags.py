"""What a file says of itself: tags of container and streams, marks of provenance. No pixel is decoded."""

import re
from pathlib import Path

import av
from av.error import FFmpegError

from wmkit.video.frames import ClipFile
from wmkit.video.guard import OPEN_OPTIONS

__all__ = ["SOURCE_TYPE", "container_tags", "provenance_marks"]

SOURCE_TYPE = "iptc.digital_source_type"
SCANNED_BYTES = 1 << 20  # at either end: a C2PA manifest or XMP packet lies before or after the samples
# The last words of IPTC's digital source types (cv.iptc.org/newscodes/digitalsourcetype), which C2PA and XMP write out.
KINDS = re.compile(rb"digitalsourcetype/(\w{4,60})|(?<=[\"'>])(\w*[aA]lgorithmicMedia|digitalCapture)(?=[\"'<])")
LABEL = re.compile(rb"AIGC[^{}]{0,40}\{[^{}]{0,20}\"?Label\"?\s*:\s*\"?([123])")  # GB 45438-2025, Annex E


def container_tags(file: ClipFile) -> tuple[tuple[str, str], ...]:
    """(key, value), sorted by key, of a video's container and streams, lower-case keys, and marks of provenance.

    Of an image folder the marks of its first image. Nothing for a file that cannot be read: the decoder tells of it.
    """
    path = Path(file.path) / file.images[0] if file.images else Path(file.path)
    tags = {} if file.images else _of_video(file.path)
    try:
        with path.open("rb") as opened:
            data = opened.read(SCANNED_BYTES)
            opened.seek(max(len(data), opened.seek(0, 2) - SCANNED_BYTES))
            data += opened.read(SCANNED_BYTES)
    except OSError:
        return ()
    return tuple(sorted((tags | provenance_marks(data)).items()))


def provenance_marks(data: bytes) -> dict[str, str]:
    """What kind of origin bytes of a file declare: IPTC's digital source type (C2PA, XMP), China's AIGC label.

    Where several are declared (a manifest lists its ingredients), one that says algorithm counts before the others.
    """
    found = {(match[1] or match[2]).decode("ascii") for match in KINDS.finditer(data)}
    marks = {}
    if found:
        marks[SOURCE_TYPE] = min(found, key=lambda kind: ("algorithmic" not in kind.lower(), kind))
    label = LABEL.search(data)
    if label:
        marks["aigc.label"] = label[1].decode("ascii")
    return marks


def _of_video(path: str) -> dict[str, str]:
    try:
        with av.open(path, metadata_errors="replace", options=dict(OPEN_OPTIONS)) as container:
            tags = {key: value for stream in container.streams for key, value in stream.metadata.items()}
            tags |= container.metadata
    except (FFmpegError, OSError):
        return {}
    return {str(key).lower(): str(value) for key, value in tags.items()}
