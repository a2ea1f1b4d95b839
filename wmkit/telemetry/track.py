"""What a receiver or sensor said about a clip: positions and the direction of gravity, on the clip's clock."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, frozen_array
from wmkit.errors import InputError

__all__ = ["MAX_SAMPLES", "GpsTrack", "GravityTrack", "enu_m"]

MAX_SAMPLES = 1_000_000  # of one track: 15 hours at 18 Hz
_SEMI_MAJOR_M, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GpsTrack:
    """Positions of a satellite receiver that moved with the camera.

    time_s        (M,) float64, increasing: the clip's own clock, seconds since its first output frame.
    enu_m         (M, 3) float64: metres east, north and up of some origin; up is NaN where no altitude was given.
    sigma_m       (M,) float64 > 0: standard deviation of one horizontal axis of a fix; errors of neighbours are alike.
    fix           (M,) int64: 0 no position, 2 without a sound altitude, 3 with one. Rows of 0 are kept and never used.
    elapsed_s     (M,) float64, not decreasing: real time, by which errors forget each other; `time_s` but for stills.
    clock_sigma_s how far the receiver's clock may be off the frames', one standard deviation.
    source        which file and format it came from.

    Raises InputError when a shape or value breaks these rules; an empty track breaks them.
    """

    time_s: Array
    enu_m: Array
    sigma_m: Array
    fix: NDArray[np.int64]
    elapsed_s: Array
    clock_sigma_s: float
    source: str

    def __post_init__(self) -> None:
        time_s = frozen_array(self.time_s, np.float64, (None,), f"{self.source}: time_s")
        count = len(time_s)
        if not 1 <= count <= MAX_SAMPLES:
            raise InputError(f"{self.source}: expected 1 to {MAX_SAMPLES} positions, got {count}")
        if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
            raise InputError(f"{self.source}: expected finite, increasing times")
        position = frozen_array(self.enu_m, np.float64, (count, 3), f"{self.source}: enu_m")
        sigma_m = frozen_array(self.sigma_m, np.float64, (count,), f"{self.source}: sigma_m")
        fix = frozen_array(self.fix, np.int64, (count,), f"{self.source}: fix")
        elapsed_s = frozen_array(self.elapsed_s, np.float64, (count,), f"{self.source}: elapsed_s")
        known = fix > 0
        if not np.isfinite(position[known, :2]).all() or np.isinf(position).any():
            raise InputError(f"{self.source}: expected a finite position wherever there is a fix")
        if not (np.isfinite(sigma_m[known]).all() and (sigma_m[known] > 0).all()):
            raise InputError(f"{self.source}: expected a positive sigma_m wherever there is a fix")
        if not np.isin(fix, (0, 2, 3)).all():
            raise InputError(f"{self.source}: expected a fix of 0, 2 or 3 dimensions")
        if not np.isfinite(elapsed_s).all() or (np.diff(elapsed_s) < 0).any():
            raise InputError(f"{self.source}: expected finite elapsed_s that do not decrease")
        if not (np.isfinite(self.clock_sigma_s) and self.clock_sigma_s >= 0):
            raise InputError(f"{self.source}: expected clock_sigma_s >= 0, got {self.clock_sigma_s}")
        for name, value in (("time_s", time_s), ("enu_m", position), ("sigma_m", sigma_m), ("fix", fix)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "elapsed_s", elapsed_s)

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GravityTrack:
    """Where down is, in the camera's axes.

    time_s  (M,) float64, increasing: the clip's own clock.
    down    (M, 3) float64 of unit length, OpenCV camera axes (x right, y down, z forward) of the upright picture.
    source  which file and format it came from.
    """

    time_s: Array
    down: Array
    source: str

    def __post_init__(self) -> None:
        time_s = frozen_array(self.time_s, np.float64, (None,), f"{self.source}: time_s")
        if not 1 <= len(time_s) <= MAX_SAMPLES or not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
            raise InputError(f"{self.source}: expected 1 to {MAX_SAMPLES} finite, increasing times of gravity")
        down = frozen_array(self.down, np.float64, (len(time_s), 3), f"{self.source}: gravity")
        if not np.allclose(np.linalg.norm(down, axis=1), 1.0, atol=1e-6):
            raise InputError(f"{self.source}: expected gravity as unit vectors")
        object.__setattr__(self, "time_s", time_s)
        object.__setattr__(self, "down", down)


def enu_m(lat_deg: Array, lon_deg: Array, alt_m: Array) -> Array:
    """(M, 3) metres east, north, up of the first row with a finite position, from WGS 84 coordinates (M,).

    On the tangent plane's scale at that row: good to 1e-4 within 10 km. NaN altitude gives NaN up; the first finite
    altitude is zero.
    """
    known = np.flatnonzero(np.isfinite(lat_deg) & np.isfinite(lon_deg))
    if len(known) == 0:
        return np.full((len(lat_deg), 3), np.nan)
    lat0, lon0 = np.radians(lat_deg[known[0]]), np.radians(lon_deg[known[0]])
    altitudes = alt_m[np.isfinite(alt_m)]
    eccentricity2 = _FLATTENING * (2 - _FLATTENING)
    w2 = 1 - eccentricity2 * np.sin(lat0) ** 2
    north_radius_m = _SEMI_MAJOR_M * (1 - eccentricity2) / w2**1.5
    east_radius_m = _SEMI_MAJOR_M / np.sqrt(w2) * np.cos(lat0)
    turn = np.mod(np.radians(lon_deg) - lon0 + np.pi, 2 * np.pi) - np.pi  # across the date line
    north = (np.radians(lat_deg) - lat0) * north_radius_m
    up = alt_m - (altitudes[0] if len(altitudes) else 0.0)
    return np.column_stack([turn * east_radius_m, north, up])
