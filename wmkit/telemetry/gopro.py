"""GoPro cameras: positions and gravity from the metadata stream inside the video file (`gpmd`, format GPMF).

Samples of one payload are spread evenly over its span: GPS5 and GPS9 at about 10 to 18 Hz, GRAV once a frame. The
receiver's clock is not the frames': positions lag by a few tenths of a second, differently from model to model.
"""

from collections.abc import Sequence

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Discard

from wmkit.camera import Array
from wmkit.errors import InputError
from wmkit.telemetry.gpmf import GpmfStream, read_gpmf
from wmkit.telemetry.track import GpsTrack, GravityTrack, enu_m
from wmkit.video.guard import OPEN_OPTIONS

__all__ = ["gps_of_payloads", "gravity_of_payloads", "read_payloads"]

Payload = tuple[float, float, bytes]  # start and length in the source's own seconds, GPMF bytes

MAX_BYTES = 256 << 20  # of all payloads: 12 hours of a camera that writes 6 kB a second
CLOCK_SIGMA_S = 0.5  # pygpmf's users and ours see lags of 0 to 1 s
METRES_PER_DOP = 2.0  # range error of a phone-grade receiver, one horizontal axis at a dilution of 1
UNKNOWN_DOP = 5.0  # a receiver that does not say is taken for a poor one
MAX_DOP = 20.0  # beyond, a receiver's own maker calls the fix unusable
_WGS84 = ((90.0, 180.0), (-90.0, -180.0))


def read_payloads(path: str) -> list[Payload]:
    """Every GPMF payload of a video file, in order; [] when it has no such stream or is no container.

    Raises InputError when the stream is larger than `MAX_BYTES`.
    """
    payloads: list[Payload] = []
    total = 0
    try:
        with av.open(path, metadata_errors="replace", options=dict(OPEN_OPTIONS)) as container:
            streams = [stream for stream in container.streams if stream.type == "data"]
            for stream in container.streams:
                if stream.type != "data":
                    stream.discard = Discard.all  # else every picture is read to find the few bytes between them
            for packet in container.demux(streams) if streams else ():
                if packet.pts is None or packet.time_base is None or packet.size < 8:
                    continue
                data = bytes(packet)
                if data[:4] != b"DEVC":
                    continue
                total += len(data)
                if total > MAX_BYTES:
                    raise InputError(f"{path}: expected at most {MAX_BYTES >> 20} MiB of GPMF, got more")
                base = float(packet.time_base)
                payloads.append((packet.pts * base, (packet.duration or 0) * base, data))
    except (FFmpegError, OSError):
        return payloads  # a file cut short still says what came before the cut
    return payloads


def gps_of_payloads(payloads: Sequence[Payload], origin_s: float, source: str) -> GpsTrack | None:
    """The receiver's track; None when no payload holds positions. `origin_s`: the first output frame's own seconds.

    Raises InputError when the payloads are malformed.
    """
    rows = [row for start, length, data in payloads for row in _positions(read_gpmf(data), start, length)]
    if not rows:
        return None
    table = np.array(rows)  # time, lat, lon, alt, DOP, fix
    table = table[np.r_[True, np.diff(np.maximum.accumulate(table[:, 0])) > 0]]
    time_s, lat, lon, alt, dop, fix = table.T
    # before the first fix GoPro repeats 0, 0 or the last place it was at, both with a fix of 0
    known = np.isin(fix, (2, 3)) & (dop <= MAX_DOP) & (np.abs(lat) <= 90) & (np.abs(lon) <= 180)
    known &= (lat != 0) | (lon != 0)
    lat, lon = np.where(known, lat, np.nan), np.where(known, lon, np.nan)
    sigma_m = METRES_PER_DOP * np.where(dop > 0, dop, UNKNOWN_DOP)
    return GpsTrack(
        time_s=time_s - origin_s,
        enu_m=enu_m(lat, lon, np.where(known & (fix == 3), alt, np.nan)),
        sigma_m=sigma_m,
        fix=np.where(known, fix, 0).astype(np.int64),
        elapsed_s=time_s - time_s[0],
        clock_sigma_s=CLOCK_SIGMA_S,
        source=source,
    )


def gravity_of_payloads(payloads: Sequence[Payload], origin_s: float, source: str) -> GravityTrack | None:
    """Gravity of every frame (GRAV) in the stored picture's axes; None when the camera wrote none.

    GRAV is in the camera body's axes, x right, y down, z forward on the MAX; IORI turns the body into the stabilised
    picture. Both were checked against rotations (LOG.md). Other models are read alike: who uses it holds it against
    the trajectory, where a wrong axis order does not stay put.
    """
    times, downs = [], []
    for start, length, data in payloads:
        values, picture = _per_frame(read_gpmf(data))
        if values is None or length <= 0:
            continue
        if picture is not None:
            values = np.einsum("nij,nj->ni", picture, values)
        times.append(start + length * np.arange(len(values)) / max(len(values), 1))
        downs.append(values)
    if not times:
        return None
    time_s, down = np.concatenate(times), np.concatenate(downs)
    norm = np.linalg.norm(down, axis=1)
    kept = (norm > 0.5) & (norm < 2) & np.r_[True, np.diff(np.maximum.accumulate(time_s)) > 0]  # g, not noise
    if not kept.any():
        return None
    return GravityTrack(time_s=time_s[kept] - origin_s, down=down[kept] / norm[kept, None], source=source)


def _per_frame(streams: Sequence[GpmfStream]) -> tuple[Array | None, Array | None]:
    """Gravity (n, 3) and the rotations (n, 3, 3) picture from body of one payload; None for what is not there."""
    gravity = picture = None
    for stream in streams:
        values = stream.scaled("GRAV")
        if values is not None and values.shape[1] == 3:
            gravity = values
        values = stream.scaled("IORI")
        if values is not None and values.shape[1] == 4:
            norm = np.linalg.norm(values, axis=1, keepdims=True)
            if (norm > 0.5).all():
                picture = _rotation(values / norm)
    fits = gravity is not None and picture is not None and len(gravity) == len(picture)
    return gravity, picture if fits else None


def _rotation(wxyz: Array) -> Array:
    """(n, 3, 3) of unit quaternions (n, 4)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(wxyz[:, [1, 2, 3, 0]]).as_matrix()


def _positions(streams: Sequence[GpmfStream], start_s: float, length_s: float) -> list[tuple[float, ...]]:
    """(time, lat, lon, alt, DOP, fix) of one payload's samples: GPS9 where the camera has it, else GPS5."""
    nine = [stream for stream in streams if "GPS9" in stream.records]
    rows: list[tuple[float, ...]] = []
    for stream in nine or [stream for stream in streams if "GPS5" in stream.records]:
        values = stream.scaled("GPS9" if nine else "GPS5")
        if values is None or len(values) == 0 or values.shape[1] < (9 if nine else 5) or length_s <= 0:
            continue
        times = start_s + length_s * np.arange(len(values)) / len(values)
        if nine:
            dop, fix = values[:, 7], values[:, 8]
        else:
            dop = np.full(len(values), _single(stream, "GPSP", 100.0))
            fix = np.full(len(values), _single(stream, "GPSF", 1.0))
        rows += [tuple(row) for row in np.column_stack([times, values[:, :3], dop, fix])]
        break
    return rows


def _single(stream: GpmfStream, key: str, divisor: float) -> float:
    """One number that holds for the whole payload; 0 where the camera does not say."""
    record = stream.records.get(key)
    if record is None:
        return 0.0
    values: Array = record.numbers()
    return float(values.ravel()[0]) / divisor if values.size else 0.0
