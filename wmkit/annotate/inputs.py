"""What annotate is given: manifests are read, everything else is searched."""

from collections.abc import Callable, Sequence
from pathlib import Path

from wmkit.annotate.manifest import MANIFESTS, read_manifest
from wmkit.video import Discovery, FoundClip, discover
from wmkit.video.reference import is_url

__all__ = ["find_inputs"]


def find_inputs(paths: Sequence[str | Path], note: Callable[[str], None]) -> Discovery:
    """Every clip that the paths lead to; `note` hears of a manifest's columns that are not used.

    A path that ends in .csv or .parquet is a manifest on this machine; else see `discover`. Raises InputError as
    `read_manifest` and `discover` do.
    """
    listed: list[FoundClip] = []
    searched: list[str] = []
    for path in map(str, paths):
        if is_url(path) or not path.lower().endswith(MANIFESTS):
            searched.append(path)
            continue
        clips, unused = read_manifest(Path(path))
        if unused:
            note(f"{path}: columns that are not used: {', '.join(unused)}")
        listed += clips
    return discover(searched, listed)
