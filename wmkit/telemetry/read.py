"""Which telemetry belongs to a clip, and reading it: in the container, in its images' EXIF, or a file that was named.

Nothing here is read unless the user asked for it (`--sidecars`). `auto` takes, in this order, what the container or
the stills themselves hold, then a file beside the clip with the clip's name: `<name>.gpx` or `<name>.gps.csv`.
"""

import hashlib
import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from wmkit.camera import Array
from wmkit.clip import SidecarRecord, SourceView
from wmkit.errors import InputError
from wmkit.telemetry.exif import gps_of_stills
from wmkit.telemetry.gopro import Payload, gps_of_payloads, gravity_of_payloads, read_payloads
from wmkit.telemetry.gpx import read_gpx
from wmkit.telemetry.table import METRES_PER_DOP, UNKNOWN_SIGMA_M, read_table
from wmkit.telemetry.track import GpsTrack, GravityTrack, enu_m
from wmkit.video.frames import ClipFile
from wmkit.video.guard import OPEN_OPTIONS

__all__ = ["AUTO", "MAX_FILE_BYTES", "Sidecars", "Telemetry", "named_sidecars", "read_telemetry"]

AUTO = "auto"
MAX_FILE_BYTES = 64 << 20
GPX_CLOCK_SIGMA_S = 2.0  # a container's creation time counts whole seconds, and some cameras write when they stopped
TABLE_CLOCK_SIGMA_S = 0.5
_SUFFIXES = (".gpx", ".csv")
# upright picture from stored picture, by the clockwise turn between them
_TURNS = {
    0: np.eye(3),
    90: np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    180: np.diag([-1.0, -1, 1]),
    270: np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecars:
    """Telemetry that may be read.

    source     "auto", or the absolute path of one .gpx or .csv file.
    sha256     of that file's bytes when the run was planned; "" with auto.
    image_fps  frames a second of an image folder, as in `VideoConfig`.
    """

    source: str = AUTO
    sha256: str = ""
    image_fps: float = 16.0

    @property
    def reads_beside(self) -> bool:
        """Whether no file was named."""
        return self.source == AUTO

    def beside(self, file: ClipFile) -> tuple[Path, ...]:
        """The tracks beside a clip; the first one counts."""
        path = Path(file.path)
        stem = path.name if file.images else path.stem
        places = (path.parent / f"{stem}{suffix}" for suffix in (".gpx", ".gps.csv"))
        return tuple(place for place in places if place.is_file())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Telemetry:
    """What was found: tracks, or the stable word that says why there is none, and what was read for it."""

    gps: GpsTrack | None = None
    gravity: GravityTrack | None = None
    no_gps: str = "no_telemetry"
    records: tuple[SidecarRecord, ...] = field(default=())


def named_sidecars(text: str, image_fps: float) -> Sidecars | None:
    """What `--sidecars` means: None for "none"; a file is read and checked here, once, before any clip.

    Raises InputError when it is missing, too large, of another kind or malformed.
    """
    if text == "none":
        return None
    if text == AUTO:
        return Sidecars(image_fps=image_fps)
    path = Path(os.path.abspath(text))
    data = _file_bytes(path)
    _parsed(path, data)
    return Sidecars(source=str(path), sha256=hashlib.sha256(data).hexdigest(), image_fps=image_fps)


def read_telemetry(file: ClipFile, view: SourceView, first_pts_s: float, sidecars: Sidecars) -> Telemetry:
    """The clip's telemetry on its own clock. `first_pts_s`: of the source's first frame, in its own seconds.

    Never raises for what a file holds: malformed telemetry is a Telemetry without tracks that says so.
    """
    origin_s = float(view.pts_s[0])
    try:
        if sidecars.source != AUTO:
            return _from_file(Path(sidecars.source), file, sidecars, first_pts_s, origin_s)
        own = _from_stills(file, sidecars, origin_s) if file.images else _from_container(file, view)
        if own.gps is not None:
            return own
        for path in sidecars.beside(file):
            found = _from_file(path, file, sidecars, first_pts_s, origin_s)
            return Telemetry(
                gps=found.gps, gravity=own.gravity, no_gps=found.no_gps, records=found.records + own.records
            )
        return own
    except InputError as error:
        return Telemetry(no_gps=f"malformed_telemetry: {error}")


def _from_container(file: ClipFile, view: SourceView) -> Telemetry:
    origin_s = float(view.pts_s[0])
    payloads = read_payloads(file.path)
    if not payloads:
        return Telemetry()
    source = f"{file.name} (GPMF)"
    record = SidecarRecord(name=Path(file.path).name, kind="gpmf", sha256=_payload_hash(payloads))
    gps = gps_of_payloads(payloads, origin_s, source)
    gravity = gravity_of_payloads(payloads, origin_s, source)
    if gravity is not None:
        gravity = replace(gravity, down=gravity.down @ _TURNS[view.rotation_deg].T)
    return Telemetry(gps=gps, gravity=gravity, no_gps="no_gps_in_telemetry", records=(record,))


def _payload_hash(payloads: list[Payload]) -> str:
    digest = hashlib.sha256()
    for _, _, data in payloads:
        digest.update(data)
    return digest.hexdigest()


def _from_stills(file: ClipFile, sidecars: Sidecars, origin_s: float) -> Telemetry:
    gps = gps_of_stills(Path(file.path), file.images, sidecars.image_fps, origin_s)
    if gps is None:
        return Telemetry(no_gps="no_gps_in_exif")
    # the clip's own hash is over every image's bytes, EXIF included
    return Telemetry(gps=gps, records=(SidecarRecord(name=file.name, kind="exif", sha256=file.content_hash),))


def _from_file(path: Path, file: ClipFile, sidecars: Sidecars, first_pts_s: float, origin_s: float) -> Telemetry:
    data = _file_bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    if sidecars.sha256 and digest != sidecars.sha256:
        raise InputError(f"{path.name}: expected the file the run began with, got another; run again")
    record = SidecarRecord(name=path.name, kind=path.suffix.lower().lstrip("."), sha256=digest)
    track = _Track.of(path, data)
    gps = track.on_clock(file, sidecars, first_pts_s, origin_s)
    return Telemetry(
        gps=gps, no_gps="clip_has_no_absolute_time" if track.utc_s is not None else "names_no_frame", records=(record,)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Track:
    """A file's positions before they are on a clip's clock; as in `TableTrack`."""

    time_s: Array | None
    utc_s: Array | None
    names: tuple[str, ...] | None
    enu_m: Array
    sigma_m: Array
    fix: np.ndarray
    source: str

    @classmethod
    def of(cls, path: Path, data: bytes) -> "_Track":
        if path.suffix.lower() == ".gpx":
            fixes = read_gpx(data)
            sigma_m = np.where(np.isfinite(fixes.dop) & (fixes.dop > 0), METRES_PER_DOP * fixes.dop, UNKNOWN_SIGMA_M)
            position = enu_m(fixes.lat_deg, fixes.lon_deg, fixes.alt_m)
            return cls(
                time_s=None, utc_s=fixes.utc_s, names=None, enu_m=position, sigma_m=sigma_m, fix=fixes.fix,
                source=path.name,
            )  # fmt: skip
        rows = read_table(data)
        return cls(
            time_s=rows.time_s, utc_s=rows.utc_s, names=rows.names, enu_m=rows.enu_m, sigma_m=rows.sigma_m,
            fix=rows.fix, source=path.name,
        )  # fmt: skip

    def on_clock(self, file: ClipFile, sidecars: Sidecars, first_pts_s: float, origin_s: float) -> GpsTrack | None:
        index = np.arange(len(self.fix))
        if self.names is not None:
            place = {name: index for index, name in enumerate(file.images)}
            index = np.array([place.get(name, -1) for name in self.names])
            kept = np.flatnonzero(index >= 0)
            kept = kept[np.argsort(index[kept], kind="stable")]
            times, clock_s = index / sidecars.image_fps - origin_s, 0.0
        elif self.time_s is not None:
            times, clock_s = self.time_s + first_pts_s - origin_s, TABLE_CLOCK_SIGMA_S
            kept = np.arange(len(times))
        else:
            start_s = None if file.images else _creation_s(file.path)
            if start_s is None or self.utc_s is None:
                return None
            times, clock_s = self.utc_s - start_s, GPX_CLOCK_SIGMA_S
            kept = np.arange(len(times))
        if len(kept) == 0:
            return None
        times = times[kept]
        elapsed = 5.0 * index[kept] if self.names is not None else times
        return GpsTrack(
            time_s=times,
            enu_m=self.enu_m[kept],
            sigma_m=np.where(self.fix > 0, self.sigma_m, 1.0)[kept],
            fix=self.fix[kept],
            elapsed_s=elapsed - elapsed[0],
            clock_sigma_s=clock_s,
            source=self.source,
        )


def _parsed(path: Path, data: bytes) -> _Track:
    try:
        return _Track.of(path, data)
    except InputError as error:
        raise InputError(f"--sidecars {path}: {error}") from None


def _file_bytes(path: Path) -> bytes:
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--sidecars: expected auto, none, a .gpx or a .csv file, got {path}")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"--sidecars {path}: expected a readable file, got {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"--sidecars {path}: expected at most {MAX_FILE_BYTES >> 20} MiB, got more; cut it to the clip"
        )
    return data


def _creation_s(path: str) -> float | None:
    """Seconds since 1970 at which the container says it was begun; None when it does not say, or says 1904 or 1970."""
    try:
        with av.open(path, metadata_errors="replace", options=dict(OPEN_OPTIONS)) as container:
            text = container.metadata.get("creation_time", "")
    except (FFmpegError, OSError):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo and moment.year > 1990 else None
