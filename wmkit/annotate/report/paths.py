"""The map of trajectories: many small paths seen from above, each in a box of its own size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.report.svg import Canvas, number
from wmkit.annotate.report.topdown import posed_runs, unit_of
from wmkit.camera import Trajectory
from wmkit.corpus import Corpus, Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.errors import InputError
from wmkit.spread import evenly_spread

__all__ = ["PathMap", "PathTile", "path_map", "path_svg", "sampled_paths"]

TILES = 96  # three to eight rows on a page; each is read from its clip's folder
SIDE_PX, MARGIN_PX = 90.0, 9.0
CORNERS = 80  # a path of more frames is thinned to as many


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTile:
    """One clip's path; `style` is its colour: passes or fails the thresholds. `words` tell its length."""

    clip_id: str
    source: str
    style: str
    svg: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMap:
    """`tiles`, those that pass first, of `total` clips with a trajectory; `unread` of the sample could not be read."""

    tiles: tuple[PathTile, ...]
    total: int
    unread: int


def sampled_paths(columns: LedgerColumns, first: NDArray[np.int64], most: int = TILES) -> dict[str, bool]:
    """At most `most` clips with a trajectory, evenly along the ids (hashes, so by chance): id -> passes.

    first  (N,) as `failing` says: -1 where all thresholds are passed.
    """
    posed = np.flatnonzero(columns.is_status(Status.OK))
    chosen = posed[evenly_spread(len(posed), most)]
    ids = columns.table["clip_id"]
    return {ids[int(row)].as_py(): bool(first[row] == -1) for row in chosen}


def path_map(corpus: Corpus, columns: LedgerColumns, first: NDArray[np.int64]) -> PathMap:
    """Paths of the sampled clips; one clip is in memory at a time."""
    tiles, unread = [], 0
    chosen = sampled_paths(columns, first)
    for clip_id, passes in sorted(chosen.items(), key=lambda item: (not item[1], item[0])):
        try:
            annotation = corpus.read(clip_id)
        except InputError:
            unread += 1
            continue
        if annotation.trajectory is None or not annotation.trajectory.posed.any():
            unread += 1
            continue
        style = "passes" if passes else "fails"
        tiles.append(
            PathTile(
                clip_id=clip_id,
                source=annotation.clip.source,
                style=style,
                svg=path_svg(annotation.trajectory, annotation.clip.source, style),
                words=f"{number(annotation.trajectory.path_length)} {unit_of(annotation.trajectory.scale)}",
            )
        )
    total = int(np.count_nonzero(columns.is_status(Status.OK)))
    return PathMap(tiles=tuple(tiles), total=total, unread=unread)


def path_svg(trajectory: Trajectory, title: str, style: str) -> str:
    """x to the right, z up, as large as the box allows with equal axes; nothing is drawn across unposed frames."""
    posed = np.flatnonzero(trajectory.posed)
    track = trajectory.position[:, ::2]
    low, high = track[posed].min(axis=0), track[posed].max(axis=0)
    per_px = float((high - low).max()) / (SIDE_PX - 2 * MARGIN_PX) or 1.0
    place = SIDE_PX / 2 + (track - (low + high) / 2) / per_px * np.array([1.0, -1.0])
    canvas = Canvas(SIDE_PX, SIDE_PX, title)
    for run in posed_runs(posed):
        canvas.line(place[run[evenly_spread(len(run), CORNERS)]], f"trace {style}")
    canvas.dots(place[posed[:1]], 3.0, f"trace-start {style}")
    return canvas.svg()
