"""Given poses held against the images: a table of readings, and what it says about the file."""

from dataclasses import dataclass

import numpy as np

from wmkit.annotate.pose.conventions import Fit, Pair, Reading, fit_reading, pairs_of, readings_of
from wmkit.annotate.pose.given_file import GivenCameras
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["Diagnosis", "Row", "diagnose", "find_focal"]

FACTOR, MARGIN_PX = 1.5, 0.25  # a reading is refuted when its error is beyond FACTOR times the best plus MARGIN_PX
FITS_SHARE = 0.0025  # of the diagonal: poses whose points lie farther than this from their epipolar lines fit nothing
FRONT = 0.5  # share of points that must lie in front of both cameras
STILL_SHARE = 0.005  # of the diagonal: points that move less do not tell one reading from another
MIN_PAIRS = 3
FOCALS = np.geomspace(0.35, 4.0, 25)  # of the long side: fields of view from 110 to 14 degrees
SHARP = 0.2  # a focal length counts as found when one that is off by this share is refuted


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One reading in the table; `focal_px` is the focal length it was tried with, found where none is known."""

    name: str
    kind: str
    error_px: float
    in_front: float | None
    focal_px: float
    possible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the images say.

    verdict  `consistent`   the file as declared explains the images, and no other reading does;
             `undecidable`  it does, but so do others: the motion cannot tell them apart;
             `wrong`        another reading does, and the file as declared does not;
             `no_fit`       no reading does: other frames, another order or other intrinsics;
             `no_evidence`  the pictures share too few points to say anything.
    rows     every reading, best first.
    pairs    pairs of frames it rests on; points: matched points in them.
    """

    verdict: str
    rows: tuple[Row, ...]
    pairs: int
    points: int

    @property
    def declared(self) -> Row | None:
        """The file as declared; None without evidence."""
        return next((row for row in self.rows if row.kind == "declared"), None)

    @property
    def possible(self) -> tuple[Row, ...]:
        """The readings that the images leave possible."""
        return tuple(row for row in self.rows if row.possible)

    def line(self) -> str:
        """The verdict in one line for people."""
        declared = self.declared
        if declared is None:
            return "the pictures share too few points to check the poses"
        told = f"{declared.error_px:.2f} px from the epipolar lines, {_share(declared.in_front)} in front"
        best = self.rows[0]
        rest = f"{best.name}: {best.error_px:.2f} px, {_share(best.in_front)} in front"
        match self.verdict:
            case "consistent":
                return f"the file as declared explains the images ({told})"
            case "undecidable":
                others = "; ".join(row.name for row in self.possible if row.kind != "declared")
                return f"the file as declared explains the images ({told}), but so would: {others}"
            case "wrong":
                return f"expected poses as declared, got points {told}; the images say {rest}"
            case _:
                known = f"as declared {told}" if best.kind == "declared" else f"as declared {told}; best {rest}"
                return f"no reading of the poses explains the images ({known})"


def diagnose(cameras: GivenCameras, tracks: Tracks, rows: Array | None) -> Diagnosis:
    """Every reading of the file against the tracks.

    `rows` (N, 4) fx fy cx cy px; None: every reading is tried with the focal length that suits it best.
    """
    pairs = pairs_of(tracks, cameras.posed)
    points = sum(len(pair.xy_i) for pair in pairs)
    if len(pairs) < min(MIN_PAIRS, int(cameras.posed.sum()) - 1):
        return Diagnosis(verdict="no_evidence", rows=(), pairs=len(pairs), points=points)
    size = (tracks.width, tracks.height)
    tried = [_tried(reading, pairs, rows, size) for reading in readings_of(cameras.world_from_cam, cameras.quaternions)]
    table = sorted(tried, key=lambda item: (not _ahead(item[1]), item[1].error_px))
    limit_px = FACTOR * table[0][1].error_px + MARGIN_PX
    fits = _ahead(table[0][1]) and table[0][1].error_px <= FITS_SHARE * tracks.diagonal_px
    listed = tuple(
        Row(
            name=reading.name,
            kind=reading.kind,
            error_px=fit.error_px,
            in_front=fit.in_front,
            focal_px=focal_px,
            possible=fits and _ahead(fit) and fit.error_px <= limit_px,
        )
        for reading, fit, focal_px in table
    )
    declared = next(row for row in listed if row.kind == "declared")
    moved_px = float(np.median(np.concatenate([np.linalg.norm(pair.xy_j - pair.xy_i, axis=1) for pair in pairs])))
    if moved_px < STILL_SHARE * tracks.diagonal_px:  # a still picture can refute motion, but names no convention
        fits = declared.possible
    others = sum(row.possible for row in listed) - declared.possible
    verdict = "no_fit" if not fits else "wrong" if not declared.possible else "undecidable" if others else "consistent"
    return Diagnosis(verdict=verdict, rows=listed, pairs=len(pairs), points=points)


def find_focal(world_from_cam: Array, tracks: Tracks) -> float | None:
    """The focal length px with the least epipolar error, to 1 %; None when the motion leaves it open.

    Square pixels, principal point in the middle. A search in one unknown: a grid over fields of view from 110 to 14
    degrees, then golden section. It counts only when a focal length off by 20 % fits clearly worse.
    """
    pairs = pairs_of(tracks, np.isfinite(world_from_cam[:, 0, 0]))
    if not pairs:
        return None
    size = (tracks.width, tracks.height)
    focal_px, fit = _searched(world_from_cam, pairs, size)
    sides = [_at_focal(world_from_cam, pairs, focal_px * share, size) for share in (1 - SHARP, 1 + SHARP)]
    worse = all(side.error_px > FACTOR * fit.error_px + MARGIN_PX / 2 for side in sides)
    return focal_px if worse and _ahead(fit) else None


def _share(in_front: float | None) -> str:
    return "unknown share" if in_front is None else f"{100 * in_front:.0f} %"


def _ahead(fit: Fit) -> bool:
    return fit.in_front is None or fit.in_front >= FRONT


def _tried(
    reading: Reading, pairs: tuple[Pair, ...], rows: Array | None, size: tuple[int, int]
) -> tuple[Reading, Fit, float]:
    if rows is not None:
        return reading, fit_reading(reading.world_from_cam, rows, pairs), float(np.median(rows[:, 0]))
    focal_px, fit = _searched(reading.world_from_cam, pairs, size)
    return reading, fit, focal_px


def _at_focal(world_from_cam: Array, pairs: tuple[Pair, ...], focal_px: float, size: tuple[int, int]) -> Fit:
    row = np.array([focal_px, focal_px, size[0] / 2, size[1] / 2])
    return fit_reading(world_from_cam, np.tile(row, (len(world_from_cam), 1)), pairs)


def _searched(world_from_cam: Array, pairs: tuple[Pair, ...], size: tuple[int, int]) -> tuple[float, Fit]:
    """Focal length and fit at the least error. A wider grid step than 10 % could step over the minimum."""
    grid = FOCALS * max(size)

    def error(focal_px: float) -> float:
        fit = _at_focal(world_from_cam, pairs, focal_px, size)
        return fit.error_px if _ahead(fit) else np.inf

    errors = [error(float(focal_px)) for focal_px in grid]
    best = int(np.argmin(errors))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    golden = (np.sqrt(5) - 1) / 2
    while high / low > 1.01:
        inner = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, inner[1]) if error(inner[0]) <= error(inner[1]) else (inner[0], high)
    focal_px = float(np.sqrt(low * high))
    return focal_px, _at_focal(world_from_cam, pairs, focal_px, size)
