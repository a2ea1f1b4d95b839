"""Depth and masks of an export, where the format has a place for them; what it cannot hold is said."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wmkit.clip import Annotation
from wmkit.formats.maps import DEEPEST, enlarged, write_array_map, write_depth_png, write_mask_png
from wmkit.formats.nerfstudio import FrameMaps
from wmkit.formats.rerun import RerunRecording
from wmkit.formats.track import CameraTrack
from wmkit.formats.vipe import write_vipe_depth, write_vipe_mask

__all__ = ["Maps", "log_maps", "write_colmap_maps", "write_nerfstudio_maps", "write_vipe_maps"]

NERFSTUDIO_STEP = 1e-3  # its depth_unit_scale_factor unless told otherwise


class Maps(NamedTuple):
    """What was written: files and folders, and what could not be: (what, reason)."""

    files: list[Path]
    left_out: list[tuple[str, str]]


def write_vipe_maps(annotation: Annotation, target: Path) -> Maps:
    """depth/<name>.zip, mask/<name>.zip and .txt of the frames that have them."""
    root, name, size = target.parent, target.name, (annotation.view.width, annotation.view.height)
    files = []
    if annotation.depth is not None:
        files += write_vipe_depth(annotation.depth, root, name, size)
    if annotation.dynamic is not None:
        files += write_vipe_mask(annotation.dynamic, root, name, size)
    return Maps(files, [])


def write_colmap_maps(annotation: Annotation, track: CameraTrack, target: Path) -> Maps:
    """stereo/depth_maps/<image>.geometric.bin, as coarse as measured, and masks/<image>.png, black where it moves.

    As `colmap patch_match_stereo` writes the one and `--ImageReader.mask_path` reads the other; posed frames that have
    them.
    """
    size, files = (annotation.view.width, annotation.view.height), []
    names = _names(track)
    for frame, z in _depths(annotation):
        if frame in names:
            write_array_map(target / "stereo" / "depth_maps" / f"{names[frame]}.geometric.bin", z)
            files = [target / "stereo" / "depth_maps"]
    masked = False
    for frame, moving in _moving(annotation):
        if frame in names:
            write_mask_png(target / "masks" / f"{names[frame]}.png", enlarged(~moving, size))
            masked = True
    return Maps(files + [target / "masks"] * masked, [])


def write_nerfstudio_maps(annotation: Annotation, track: CameraTrack, target: Path) -> tuple[FrameMaps, Maps]:
    """depth/<frame>.png, 16 bits in thousandths of the unit, and masks/<frame>.png, black where it moves.

    nerfstudio wants one for every frame or none at all: frames without share none.png, where nothing is known, and
    all.png, where nothing is masked.
    """
    size, names = (annotation.view.width, annotation.view.height), _names(track)
    depth, masks, beyond = {}, {}, 0
    for frame, z in _depths(annotation):
        if frame in names:
            depth[frame] = f"depth/{Path(names[frame]).stem}.png"
            beyond += write_depth_png(target / depth[frame], enlarged(z, size), NERFSTUDIO_STEP)
    for frame, moving in _moving(annotation):
        if frame in names:
            masks[frame] = f"masks/{Path(names[frame]).stem}.png"
            write_mask_png(target / masks[frame], enlarged(~moving, size))
    if depth and len(depth) < len(names):
        write_depth_png(target / "depth" / "none.png", np.zeros(size[::-1], np.float32), NERFSTUDIO_STEP)
    if masks and len(masks) < len(names):
        write_mask_png(target / "masks" / "all.png", np.ones(size[::-1], np.bool_))
    left_out = [(f"depth of {beyond} pixels", f"beyond {DEEPEST * NERFSTUDIO_STEP:.3f} units")] if beyond else []
    maps = FrameMaps(
        depth=tuple(depth.get(frame, "depth/none.png") for frame in names) if depth else (),
        mask=tuple(masks.get(frame, "masks/all.png") for frame in names) if masks else (),
    )
    return maps, Maps([target / "depth"] * bool(depth) + [target / "masks"] * bool(masks), left_out)


def log_maps(recording: RerunRecording, annotation: Annotation) -> int:
    """Depth maps and masks of the posed frames into a rerun recording; how many depth maps."""
    trajectory, logged = annotation.trajectory, 0
    if trajectory is None:
        return 0
    for frame, z in _depths(annotation):
        if trajectory.posed[frame]:
            camera = annotation.intrinsics[frame].resized(z.shape[1], z.shape[0])
            recording.log_depth(frame, float(trajectory.time_s[frame]), z, trajectory.world_from_cam[frame], camera)
            logged += 1
    size = (annotation.view.width, annotation.view.height)
    for frame, moving in _moving(annotation):
        if trajectory.posed[frame]:
            recording.log_mask(frame, float(trajectory.time_s[frame]), enlarged(moving, size))
    return logged


def _names(track: CameraTrack) -> dict[int, str]:
    """Frame index -> image name, in the track's order."""
    assert track.frame is not None
    assert track.names is not None
    return dict(zip(track.frame.tolist(), track.names, strict=True))


def _depths(annotation: Annotation) -> Iterator[tuple[int, NDArray[np.float32]]]:
    depth = annotation.depth
    return iter(()) if depth is None else zip(depth.frame.tolist(), depth.z, strict=True)


def _moving(annotation: Annotation) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    dynamic = annotation.dynamic
    return iter(()) if dynamic is None else zip(dynamic.frame.tolist(), dynamic.mask, strict=True)
