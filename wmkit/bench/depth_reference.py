"""Depth references at the size of the maps they judge: depth images named by poses.json, or a world's exact depth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.errors import InputError
from wmkit.json_object import read_json
from wmkit.worlds import WorldClip, render

__all__ = ["DepthImages", "WorldDepth", "read_depth_images"]

UNIT_M = 0.001  # a depth image's grey level
INVALID = (0, 65535)  # grey levels that say "unknown"
Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthImages:
    """16-bit depth images in mm beside a clip.

    paths             of the frames (by output-frame index) that have one.
    colour_camera     (4,) fx fy cx cy px of the colour pictures, at their full size.
    depth_camera      (4,) of a depth camera of its own; None where depth and colour share pixels.
    colour_from_depth (3,) metres, the depth camera's place in the colour camera's axes; no turn between them.
    """

    paths: dict[int, Path]
    colour_camera: Array
    depth_camera: Array | None = None
    colour_from_depth: Array | None = None

    @property
    def frames(self) -> tuple[int, ...]:
        """Output frames with a reference, increasing."""
        return tuple(sorted(self.paths))

    def read(self, frame: int, width: int, height: int) -> Image:
        """(height, width) metres of z-depth in the colour picture shrunk to that size, 0 where unknown."""
        import cv2

        found = cv2.imread(str(self.paths[frame]), cv2.IMREAD_UNCHANGED)
        if found is None or found.dtype != np.uint16 or found.ndim != 2:
            raise InputError(f"{self.paths[frame]}: expected a 16-bit grey depth image, got none")
        z = np.where(np.isin(found, INVALID), 0, found * UNIT_M).astype(np.float32)
        if self.depth_camera is None:
            return np.asarray(cv2.resize(z, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
        return self._registered(z, width, height)

    def _registered(self, z: Image, width: int, height: int) -> Image:
        """Seen from the colour camera: every depth pixel is moved there, the nearest surface wins."""
        assert self.depth_camera is not None
        rows, columns = np.nonzero(z)
        known = z[rows, columns].astype(np.float64)
        fx, fy, cx, cy = self.depth_camera
        xyz = np.stack([(columns + 0.5 - cx) / fx * known, (rows + 0.5 - cy) / fy * known, known], axis=1)
        xyz = xyz + (np.zeros(3) if self.colour_from_depth is None else self.colour_from_depth)
        xyz = xyz[xyz[:, 2] > 0]
        fx, fy, cx, cy = self.colour_camera
        shrink_x, shrink_y = width / z.shape[1], height / z.shape[0]
        column = np.floor((xyz[:, 0] / xyz[:, 2] * fx + cx) * shrink_x).astype(int)
        row = np.floor((xyz[:, 1] / xyz[:, 2] * fy + cy) * shrink_y).astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        moved = np.full((height, width), np.inf)
        np.minimum.at(moved, (row[inside], column[inside]), xyz[inside, 2])
        return np.where(np.isfinite(moved), moved, 0).astype(np.float32)


def read_depth_images(
    folder: Path, images: tuple[str, ...], colour_from_depth_m: tuple[float, ...] | None = None
) -> DepthImages:
    """The depth images that a folder's poses.json names (`depth`), by the place of each frame's image in `images`.

    `K_depth`, where given, is a depth camera of its own. InputError when there are none, or not in mm.
    """
    record = read_json(folder / "poses.json")
    rows = [row for row in record.get("frames", []) if isinstance(row, dict) and "depth" in row]
    place = {name: index for index, name in enumerate(images)}
    paths = {place[name]: folder / row["depth"] for row in rows if (name := Path(row["file"]).name) in place}
    if not paths or not str(record.get("depth_unit", "")).startswith("mm uint16"):
        raise InputError(f"{folder}: expected poses.json to name depth images in mm uint16 of the clip's frames")
    return DepthImages(
        paths=paths,
        colour_camera=np.array(rows[0]["K"], dtype=np.float64),
        depth_camera=np.array(rows[0]["K_depth"], dtype=np.float64) if "K_depth" in rows[0] else None,
        colour_from_depth=None if colour_from_depth_m is None else np.array(colour_from_depth_m),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldDepth:
    """Exact depth of a synthetic clip, drawn from its true cameras."""

    clip: WorldClip

    @property
    def frames(self) -> tuple[int, ...]:
        """Every frame."""
        return tuple(range(self.clip.frames))

    def read(self, frame: int, width: int, height: int) -> Image:
        """(height, width) metres of z-depth at that size, 0 where nothing is seen."""
        camera = self.clip.intrinsics.resized(width, height)
        pose = self.clip.sampled.world_from_cam[frame : frame + 1]
        shown = next(iter(render(self.clip.scene.build(), camera, pose)))
        return np.where(shown.valid, shown.z, np.float32(0))
