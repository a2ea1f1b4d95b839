"""What the truth says about how solvable a clip is, before and without any engine's answer.

A clip is *well posed* when all of these hold; they were written down before the first engine ran on a case and are no
knobs to tune to a result:

    length    at least 24 frames
    parallax  over scene points on a grid, the median of the widest angle at which two frames see one: 3 degrees or more
    relief    at least 15 % of those points lie off the plane that most lie on, by more than 2 % of their distance
    texture   at least half of the picture's 16 x 9 cells show a corner: somewhere in the cell the brightness changes by
              3 grey levels a pixel or more in every direction (of the exposed picture), and by twice what noise does
    overlap   nine of ten steps from a frame to the next keep at least 60 % of the view
    still     at most half of the picture, on average, is taken by things that move on their own
    sharp     the exposure smears the median pixel by at most 1 % of the long side
"""

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, invert_rigid
from wmkit.spread import evenly_spread
from wmkit.worlds.families.case import Film

__all__ = ["Survey", "survey"]

GRID = (5, 8)
SAMPLED_FRAMES = 8
Indices = NDArray[np.int64]
CELLS = (9, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Truth-only properties of one clip; see the module for what each means and what makes `well_posed`."""

    frames: int
    parallax_deg: float
    relief_share: float
    texture_share: float
    overlap_share: float
    moving_share: float
    smear_share: float

    @property
    def well_posed(self) -> bool:
        """Whether a good engine should solve the clip."""
        return (
            self.frames >= 24
            and self.parallax_deg >= 3.0
            and self.relief_share >= 0.15
            and self.texture_share >= 0.5
            and self.overlap_share >= 0.6
            and self.moving_share <= 0.5
            and self.smear_share <= 0.01
        )

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**asdict(self), "well_posed": self.well_posed}


def survey(film: Film) -> Survey:
    """Measure a film's truth."""
    at = evenly_spread(len(film.z), SAMPLED_FRAMES)
    flow, kept = _flow(film)
    long_side = max(film.z.shape[1:])
    smear = film.imaging.shutter * float(np.nanmedian(flow)) / long_side if film.imaging.shutter else 0.0
    return Survey(
        frames=len(film.z),
        parallax_deg=_parallax_deg(film, at),
        relief_share=_relief_share(film, at),
        texture_share=float(np.median([_texture_share(film, index) for index in at.tolist()])),
        overlap_share=float(np.percentile(kept, 10)),
        moving_share=float(film.moving.mean()),
        smear_share=smear,
    )


def _grid(film: Film, frame: int) -> tuple[Array, Array]:
    """World points (P, 3) of a grid of pixels of `frame`, and those pixels' centres (P, 2); movers are left out."""
    height, width = film.z.shape[1:]
    rows = ((np.arange(GRID[0]) + 0.5) / GRID[0] * height).astype(int)
    columns = ((np.arange(GRID[1]) + 0.5) / GRID[1] * width).astype(int)
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    still = ~film.moving[frame, y, x]
    y, x = y[still], x[still]
    pixel = np.stack([x + 0.5, y + 0.5], axis=1)
    lens = film.intrinsics[frame]
    ray = np.concatenate([(pixel - [lens.cx, lens.cy]) / [lens.fx, lens.fy], np.ones((len(pixel), 1))], axis=1)
    pose = film.trajectory.world_from_cam[frame]
    return (ray * film.z[frame, y, x][:, None]) @ pose[:3, :3].T + pose[:3, 3], pixel


def _seen(film: Film, points: Array, frame: int) -> tuple[Array, NDArray[np.bool_]]:
    """Pixels (P, 2) of world points in `frame`, and whether each is in the picture and not hidden (to 3 % of depth)."""
    height, width = film.z.shape[1:]
    pose, lens = invert_rigid(film.trajectory.world_from_cam[frame]), film.intrinsics[frame]
    local = points @ pose[:3, :3].T + pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixel = local[:, :2] / local[:, 2:] * [lens.fx, lens.fy] + [lens.cx, lens.cy]
    inside = (local[:, 2] > 0) & (pixel >= 0).all(axis=1) & (pixel < [width, height]).all(axis=1)
    x, y = np.where(inside[:, None], pixel, 0).astype(int).T
    return pixel, inside & (local[:, 2] < 1.03 * film.z[frame, y, x])


def _parallax_deg(film: Film, at: Indices) -> float:
    """Median over points seen three times or more of the widest angle between two rays to it."""
    widest: list[float] = []
    position = film.trajectory.position
    for frame in at.tolist():
        points, _ = _grid(film, frame)
        seen = np.stack([_seen(film, points, other)[1] for other in range(len(position))])
        for index in np.flatnonzero(seen.sum(axis=0) >= 3).tolist():
            ray = position[seen[:, index]] - points[index]
            ray /= np.linalg.norm(ray, axis=1, keepdims=True)
            widest.append(float(np.degrees(np.arccos(np.clip((ray @ ray.T).min(), -1, 1)))))
    return float(np.median(widest)) if widest else 0.0


def _relief_share(film: Film, at: Indices) -> float:
    """Share of the grid's points that are off the best of 200 planes through three of them, by over 2 % of distance."""
    parts = [(_grid(film, frame)[0], film.trajectory.position[frame]) for frame in at.tolist()]
    points = np.concatenate([found for found, _ in parts])
    if len(points) < 3:
        return 0.0
    away = np.concatenate([np.linalg.norm(found - centre, axis=1) for found, centre in parts])
    pick = np.random.default_rng(0).integers(len(points), size=(200, 3))
    corner = points[pick]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    size = np.linalg.norm(normal, axis=1)
    normal = normal[size > 1e-9] / size[size > 1e-9, None]
    if len(normal) == 0:
        return 0.0
    offset = np.abs(normal @ points.T - (normal * corner[size > 1e-9, 0]).sum(axis=1)[:, None])
    return float((offset > 0.02 * away).mean(axis=1).min())


def _flow(film: Film) -> tuple[Array, Array]:
    """Image motion of every grid point from each frame to the next, px, and the share of points that stay in view."""
    motion, kept = [], []
    for frame in range(len(film.z) - 1):
        points, pixel = _grid(film, frame)
        if len(points) == 0:
            kept.append(0.0)
            continue
        moved, seen = _seen(film, points, frame + 1)
        motion.append(np.linalg.norm(moved - pixel, axis=1)[seen])
        kept.append(float(seen.mean()))
    return np.concatenate(motion) if motion else np.zeros(1), np.array(kept)


def _texture_share(film: Film, frame: int) -> float:
    """Share of the cells in which a corner stands out."""
    grey = cv2.cvtColor(film.clean[frame], cv2.COLOR_RGB2GRAY).astype(np.float32) * np.float32(film.imaging.gain[frame])
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 8
    xx, yy, xy = (cv2.blur(product, (7, 7)) for product in (gx * gx, gy * gy, gx * gy))
    weakest = np.sqrt(np.maximum((xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2), 0))
    limit = max(3.0, 2 * film.imaging.noise_level * 0.43)  # a Sobel gradient of white noise: 0.43 of its deviation
    height, width = grey.shape
    cells = weakest[: height - height % CELLS[0], : width - width % CELLS[1]]
    cells = cells.reshape(CELLS[0], height // CELLS[0], CELLS[1], width // CELLS[1])
    return float((cells.max(axis=(1, 3)) >= limit).mean())
