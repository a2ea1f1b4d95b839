"""rerun recordings (.rrd), write only: the camera as a moving pinhole, its path and the sparse points.

https://rerun.io. Needs the extra `wmkit[rerun]`. Two timelines: `frame` and `time` (seconds of the clip's clock). Where
frames have no pose the camera is cleared, so that the viewer shows none instead of the last one.
"""

import importlib
from pathlib import Path

from wmkit.errors import InputError
from wmkit.formats.track import CameraTrack

__all__ = ["write_rerun"]

CLEAR_AFTER_S = 1e-6  # the unposed frames' times are not in a track; the camera goes just after its last pose


def write_rerun(track: CameraTrack, path: Path, name: str) -> None:
    """Write `path` as the recording `name`.

    Raises InputError without frame indices, times or intrinsics, or when rerun-sdk is not installed.
    """
    try:
        rr = importlib.import_module("rerun")
    except ImportError as error:
        raise InputError("rerun: expected the package rerun-sdk; run: pip install 'wmkit[rerun]'") from error
    if track.frame is None or track.time_s is None:
        raise InputError(f"{path}: expected a track with frame indices and times")
    intrinsics = track.intrinsics()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: expected a writable path, got: {error.strerror}") from error
    recording = rr.RecordingStream("wmkit", recording_id=name)
    recording.save(path)
    recording.log("world", rr.ViewCoordinates.RDF, static=True)
    recording.log("world/path", rr.LineStrips3D([track.world_from_cam[:, :3, 3]]), static=True)
    if track.points is not None and len(track.points):
        recording.log("world/points", rr.Points3D(track.points.xyz, colors=track.points.rgb), static=True)
    for index, row in enumerate(intrinsics):
        frame, time_s = int(track.frame[index]), float(track.time_s[index])
        recording.set_time("frame", sequence=frame)
        recording.set_time("time", duration=time_s)
        pose = track.world_from_cam[index]
        recording.log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        pinhole = rr.Pinhole(image_from_camera=row.matrix, width=row.width, height=row.height)
        recording.log("world/camera", pinhole)
        if index + 1 < len(track) and track.frame[index + 1] > frame + 1:
            recording.set_time("frame", sequence=frame + 1)
            recording.set_time("time", duration=time_s + CLEAR_AFTER_S)
            recording.log("world/camera", rr.Clear(recursive=False))
    recording.disconnect()
