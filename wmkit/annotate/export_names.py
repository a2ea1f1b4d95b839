"""One file name a source: readable, unique (also where case does not count) and short enough for any file system."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence

from wmkit.video.discover import VIDEO_EXTENSIONS

__all__ = ["export_names"]

MAX_BYTES = 200  # file systems end at 255; formats add suffixes
RESERVED = frozenset({"export.json", "frames", "pose", "intrinsics", "rgb", "depth", "mask"})


def export_names(sources: Sequence[str]) -> list[str]:
    """A name for each of these distinct source names (posix paths below the input root).

    `/` becomes `__` and a video's extension goes. Those that would then be equal (also but for case) keep the
    extension; those still equal, reserved or too long end in a hash of the source's own name.
    """
    detail = dict.fromkeys(sources, 0)
    while True:
        names = {source: _name(source, detail[source]) for source in sources}
        count = Counter(name.casefold() for name in names.values())
        clashing = [s for s, name in names.items() if detail[s] < 2 and (count[name.casefold()] > 1 or _unfit(name))]
        if not clashing:
            return [names[source] for source in sources]
        for source in clashing:
            detail[source] += 1


def _name(source: str, detail: int) -> str:
    stem, extension = os.path.splitext(source)
    if detail == 0 and extension.lower() in VIDEO_EXTENSIONS:
        source_name = stem
    else:
        source_name = source
    name = source_name.replace("/", "__")
    if detail < 2:
        return name
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return f"{name.encode()[: MAX_BYTES - 16].decode(errors='ignore')}~{digest}"


def _unfit(name: str) -> bool:
    return name.casefold() in RESERVED or len(name.encode()) > MAX_BYTES
