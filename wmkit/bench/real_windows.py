"""Windows of real sequences as calibration cases, where the reference is fine enough to say what is good.

A reference may label p_good only where it is at least three times finer than the limits: 0.5 degrees, and a third of
2 % of the window's own path. What each set's reference is worth is below, from the sets' own documentation;
gopro_max_walk (GPS, 5 %), lund_street (GPS, 3 m) and sevenscenes_kitchen (1-2 cm on a path of 0.6 m) are too coarse.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np

from wmkit.annotate.isolated import annotate_pixels, camera_config
from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.bench.pose import find_clip
from wmkit.bench.reference import match, read_reference
from wmkit.bench.worlds import judged
from wmkit.errors import ClipError, InputError

__all__ = ["FINER", "FINE_REFERENCES", "Fineness", "real_rows", "windows_of"]

FINER = 3.0
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fineness:
    """What a reference is worth: standard deviation of a position, in its own unit, and of a rotation, degrees."""

    position: float
    rotation_deg: float
    why: str


FINE_REFERENCES: MappingProxyType[str, Fineness] = MappingProxyType(
    {
        "kitti06_gray": Fineness(position=0.05, rotation_deg=0.1, why="official GPS/INS, centimetres within 60 m"),
        "icl_livingroom": Fineness(position=0.01, rotation_deg=0.3, why="reconstruction on clean depth, about 1 cm"),
        "fox": Fineness(position=0.015, rotation_deg=0.1, why="COLMAP, sub-pixel: 0.05 % of its path of 30 units"),
        "strecha_fountain11": Fineness(position=0.01, rotation_deg=0.1, why="registered to LiDAR, about 1 cm"),
    }
)
"""Sets whose reference can label whole clips; a window of one may still be too short."""


def windows_of(count: int) -> dict[str, list[int]]:
    """Names and frame indices of what a sequence of `count` frames is cut into: all, halves, quarters on, thinned."""
    every = list(range(count))
    windows = {"all": every}
    for name, start, end in (("first", 0.0, 0.5), ("middle", 0.25, 0.75), ("last", 0.5, 1.0), ("most", 0.0, 0.75)):
        windows[name] = every[int(start * count) : int(np.ceil(end * count))]
    windows["second"] = every[::2]
    windows["third"] = every[::3]
    return {name: part for name, part in windows.items() if len(part) >= 8}


def real_rows(
    folder: Path,
    done: set[str],
    emit: Callable[[Row], None],
    *,
    config: AnnotateConfig | None = None,
) -> None:
    """Annotate every window of a sequence that is not in `done` and `emit` its row; `unlabelled` if it is too short.

    Raises InputError when the set is none of `FINE_REFERENCES` or holds no image folder.
    """
    if folder.name not in FINE_REFERENCES:
        raise InputError(f"{folder}: expected one of {', '.join(FINE_REFERENCES)}; other references are too coarse")
    fine = FINE_REFERENCES[folder.name]
    reference = read_reference(folder)
    clip = find_clip(folder, reference.image_folder)
    if not clip.images or reference.poses is None:
        raise InputError(f"{folder}: expected a folder of images with poses.json")
    config = config or camera_config()
    for name, part in windows_of(len(clip.images)).items():
        case = f"real-{folder.name}-{name}"
        if case in done:
            continue
        images = tuple(clip.images[index] for index in part)
        row: Row = {"case": case, "family": f"real:{folder.name}", "seed": 0, "size": "real"}
        with TemporaryDirectory(prefix="wmkit-real-") as scratch:
            try:
                _, result = annotate_pixels(dataclasses.replace(clip, images=images), config, Path(scratch))
            except ClipError as error:
                emit(row | {"outcome": "failed", "reason": f"{error.stage}/{error.code}", "detail": error.message})
                continue
        annotation = result.annotation
        truth = match(reference, images, annotation)
        position = truth.position
        assert position is not None
        row["core_s"] = {"engine": sum(result.timings.values())}
        limit = 0.02 * position.path_length / FINER
        if fine.position > limit or fine.rotation_deg > 1.5 / FINER:
            emit(row | {"outcome": "unlabelled", "reason": "too short for its reference"})
            continue
        if annotation.trajectory is None:
            assert annotation.no_trajectory is not None
            emit(row | {"outcome": "no_trajectory", "reason": annotation.no_trajectory.reason})
            continue
        emit(row | {"outcome": "posed"} | judged(annotation.trajectory, position, annotation.confidence))
