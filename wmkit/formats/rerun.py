"""rerun recordings (.rrd), write only: cameras, path, sparse points; pictures, depth, masks, rows of numbers and text.

https://rerun.io. Needs the extra `wmkit[rerun]`. Two timelines: `frame` and `time` (seconds of the clip's clock). Where
frames have no pose the camera is cleared, so that the viewer shows none instead of the last one. A depth map has a
camera of its own beside the moving one: it stays where it was taken until the next, and its size need not be the
picture's.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics
from wmkit.errors import InputError
from wmkit.formats.track import CameraTrack

__all__ = ["RerunRecording", "write_rerun"]

CLEAR_AFTER_S = 1e-6  # the unposed frames' times are not in a track; the camera goes just after its last pose


def write_rerun(track: CameraTrack, path: Path, name: str) -> None:
    """Write `path` as the recording `name`.

    Raises InputError without frame indices, times or intrinsics, or when rerun-sdk is not installed.
    """
    recording = RerunRecording(name, path)
    recording.log_cameras(track)
    recording.close()


class RerunRecording:
    """One recording called `name`, into the file `path`, or into a viewer that is opened for it when that is None.

    Raises InputError when rerun-sdk is not installed, the file cannot be written or no viewer can be opened.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        try:
            self._rr: Any = importlib.import_module("rerun")
        except ImportError as error:
            raise InputError("rerun: expected the package rerun-sdk; run: pip install 'wmkit[rerun]'") from error
        self._stream = self._rr.RecordingStream("wmkit", recording_id=name)
        if path is None:
            try:
                self._stream.spawn()
            except (OSError, RuntimeError) as error:
                raise InputError(f"rerun: expected a viewer that opens, got: {error}; write a file: --rrd") from error
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()
        except OSError as error:
            raise InputError(f"{path}: expected a writable path, got: {error.strerror}") from error
        self._stream.save(path)

    def log_cameras(self, track: CameraTrack) -> None:
        """The moving pinhole, its path and the sparse points; InputError without frames, times or intrinsics."""
        rr = self._rr
        if track.frame is None or track.time_s is None:
            raise InputError("rerun: expected a track with frame indices and times")
        intrinsics = track.intrinsics()
        self._stream.log("world", rr.ViewCoordinates.RDF, static=True)
        self._stream.log("world/path", rr.LineStrips3D([track.world_from_cam[:, :3, 3]]), static=True)
        if track.points is not None and len(track.points):
            points = rr.Points3D(track.points.xyz, colors=track.points.rgb)
            self._stream.log("world/points", points, static=True)
        for index, row in enumerate(intrinsics):
            frame, time_s = int(track.frame[index]), float(track.time_s[index])
            self._at(frame, time_s)
            self._log_camera("world/camera", track.world_from_cam[index], row)
            if index + 1 < len(track) and track.frame[index + 1] > frame + 1:
                self._at(frame + 1, time_s + CLEAR_AFTER_S)
                self._stream.log("world/camera", rr.Clear(recursive=False))

    def log_picture(self, frame: int, time_s: float, jpeg: bytes) -> None:
        """One frame of the video as JPEG, in the moving camera."""
        self._at(frame, time_s)
        self._stream.log("world/camera/picture", self._rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))

    def log_depth(
        self, frame: int, time_s: float, z: NDArray[np.float32], world_from_cam: Array, camera: Intrinsics
    ) -> None:
        """z-depth (h, w) in the world's unit, 0 where there is none, of a `camera` of w x h px at its pose (4, 4)."""
        self._at(frame, time_s)
        self._log_camera("world/depth", world_from_cam, camera)
        self._stream.log("world/depth/z", self._rr.DepthImage(z, meter=1.0))

    def log_mask(self, frame: int, time_s: float, moving: NDArray[np.bool_]) -> None:
        """Where the picture (h, w) shows something that moves by itself, in the moving camera."""
        self._at(frame, time_s)
        self._stream.log("world/camera/moving", self._rr.SegmentationImage(moving.astype(np.uint8), opacity=0.3))

    def log_rows(self, time_s: Array, rows: Mapping[str, Array]) -> None:
        """One number a frame and name, each (N,) at `time_s` (N,), the frames counted from 0; NaN is left out."""
        for index, now_s in enumerate(time_s.tolist()):
            self._at(index, now_s)
            for name, values in rows.items():
                if np.isfinite(values[index]):
                    self._stream.log(f"evidence/{name}", self._rr.Scalars(float(values[index])))

    def log_text(self, name: str, markdown: str) -> None:
        """A page of text that holds at all times."""
        self._stream.log(name, self._rr.TextDocument(markdown, media_type="text/markdown"), static=True)

    def close(self) -> None:
        """Write what is left; the recording takes no more."""
        self._stream.flush()
        self._stream.disconnect()

    def _at(self, frame: int, time_s: float) -> None:
        self._stream.set_time("frame", sequence=frame)
        self._stream.set_time("time", duration=time_s)

    def _log_camera(self, entity: str, world_from_cam: Array, camera: Intrinsics) -> None:
        rr = self._rr
        self._stream.log(entity, rr.Transform3D(translation=world_from_cam[:3, 3], mat3x3=world_from_cam[:3, :3]))
        pinhole = rr.Pinhole(image_from_camera=camera.matrix, width=camera.width, height=camera.height)
        self._stream.log(entity, pinhole)
