"""Given poses on disk: which file, which pose belongs to which frame, which intrinsics.

A pose is a frame's by image name where both have names; else by number, where the file has one a source frame (or one
an output frame); else by time, within half a frame. Nothing is interpolated: a frame without a pose stays without.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.priors import KnownCamera
from wmkit.camera import Array, Lens
from wmkit.errors import ClipError, InputError
from wmkit.formats.any import quaternion_order, read_trajectory
from wmkit.formats.track import CameraTrack
from wmkit.video.frames import ClipFile, FrameSource

__all__ = ["BESIDE", "GivenCameras", "beside", "given_cameras"]

STAGE = "pose"
OWN = (".poses.json", ".transforms.json", ".arkit.json", ".trajectory.npz", ".poses.txt")
BESIDE = ("poses.json", "transforms.json", "arkit.json", "trajectory.npz", "poses.txt", "sparse")
ENOUGH = 0.8  # of the shorter of poses and frames: fewer matches than that are a coincidence of clocks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenCameras:
    """A file's cameras at a clip's N output frames.

    world_from_cam  (N, 4, 4) in the file's world and unit; NaN where the file has no pose for the frame.
    rows            (N, 4) fx fy cx cy px of the output frames, or None: the file holds no intrinsics.
    metric          the file says that its unit is the metre.
    quaternions     order in the file, None where rotations are matrices.
    file            its name, for messages.
    lens            of the output frames when the file says that they bend straight lines; then every row is that of its
                    `default_pinhole()`.
    """

    world_from_cam: Array
    rows: Array | None
    metric: bool
    quaternions: str | None
    file: str
    lens: Lens | None = None

    @property
    def posed(self) -> NDArray[np.bool_]:
        """(N,) frames that the file has a pose for."""
        return np.isfinite(self.world_from_cam[:, 0, 0])

    def straightened(self, tracks: Tracks) -> Tracks:
        """Tracks followed in the output frames, in px of the pinhole that `rows` speak of."""
        return tracks if self.lens is None else tracks.undistorted(self.lens, self.lens.default_pinhole())


def beside(file: ClipFile) -> Path:
    """The poses lying beside a clip; the first of these names that is there counts.

    Of `walk.mp4`: walk.poses.json, walk.transforms.json, walk.arkit.json, walk.trajectory.npz, walk.poses.txt; then,
    in the folder of the video, or in that of the images and the one above it: poses.json, transforms.json, arkit.json,
    trajectory.npz, poses.txt (TUM, KITTI or RE10K) and sparse (COLMAP).
    Raises ClipError("pose", "no_given_poses") when there is none.
    """
    path = Path(file.path)
    own = [path.with_name((path.name if file.images else path.stem) + suffix) for suffix in OWN]
    folders = [path, path.parent] if file.images else [path.parent]
    for candidate in [*own, *(folder / name for folder in folders for name in BESIDE)]:
        if candidate.exists():
            return candidate
    message = f"{file.name}: expected poses beside it ({own[0].name}, {', '.join(BESIDE)}), found none"
    raise ClipError(STAGE, "no_given_poses", message)


def given_cameras(path: Path, frames: FrameSource) -> GivenCameras:
    """Read `path` and match it to the clip.

    Raises ClipError("pose", code): bad_pose_file, wrong_length, wrong_names; wrong_shape, wrong_size, off_centre for
    intrinsics of another picture.
    """
    clip = frames.clip
    try:
        track = read_trajectory(path, (clip.width, clip.height))
        quaternions = quaternion_order(path)
    except InputError as error:
        raise ClipError(STAGE, "bad_pose_file", str(error)) from error
    row = _matched(track, path.name, frames)
    known = row >= 0
    rows = _rows(track, path.name, frames)
    lens = None if track.lens is None else track.lens.resized(frames.view.width, frames.view.height)
    if lens is not None:
        rows = np.tile(lens.default_pinhole().row, (len(row), 1))
    elif rows is not None:
        filled = np.maximum.accumulate(np.where(known, np.arange(len(row)), -1))
        first = int(np.flatnonzero(known)[0])
        rows = rows[row[np.where(filled < 0, first, filled)]]  # a frame without a pose has the camera of the last one
    return GivenCameras(
        world_from_cam=np.where(known[:, None, None], track.world_from_cam[row], np.nan),
        rows=rows,
        lens=lens,
        metric=bool(track.metric),
        quaternions=quaternions,
        file=path.name,
    )


def _rows(track: CameraTrack, name: str, frames: FrameSource) -> Array | None:
    """(M, 4) intrinsics of the file's cameras in px of the output frames; ClipError when of another picture."""
    if track.intrinsics_px is None:
        return None
    sizes = track.size_px if track.size_px is not None else np.zeros((len(track), 2), np.int64)
    table = np.column_stack([track.intrinsics_px, sizes])
    kinds, of = np.unique(table, axis=0, return_inverse=True)
    clip, view = frames.clip, frames.view
    rows = np.empty((len(kinds), 4))
    for index, (fx, fy, cx, cy, width, height) in enumerate(kinds.tolist()):
        size = (int(width), int(height)) if width else None
        known = KnownCamera(clip="*", source=name, sigma_log=1.0, row=(fx, fy, cx, cy), size=size)
        try:
            rows[index] = known.intrinsics(clip.width, clip.height).resized(view.width, view.height).row
        except ClipError as error:
            raise ClipError(STAGE, error.code, error.message) from error
    return rows[of.ravel()]


def _matched(track: CameraTrack, name: str, frames: FrameSource) -> NDArray[np.int64]:
    """(N,) row of the track for each output frame, -1 where it has none."""
    facts, view, file = frames.facts, frames.view, frames.file
    source = np.searchsorted(facts.pts_s, view.pts_s)  # every output frame is one of the source's
    images = _positions(frames)
    if file.images and track.names is not None:
        return _by_name(track.names, [file.images[k] for k in images], name)
    for count, index in ((len(facts.pts_s), source), (len(file.images), images), (len(view), np.arange(len(view)))):
        if len(track) == count:
            return index.astype(np.int64)
    row = _by_time(track, frames)
    if row is None:
        message = f"expected {len(facts.pts_s)} poses, one a frame of the source, got {len(track)}"
        if track.time_s is not None:
            message += f", and its times {_span(track.time_s)} match few frames at {_span(view.pts_s)}"
        raise ClipError(STAGE, "wrong_length", f"{name}: {message}; is it this clip's?")
    return row


def _positions(frames: FrameSource) -> NDArray[np.int64]:
    """(N,) place of each output frame in an image folder's list; zeros for a video."""
    facts, view, file = frames.facts, frames.view, frames.file
    if not file.images:
        return np.zeros(len(view), np.int64)
    if len(facts.pts_s) == len(file.images):
        return np.searchsorted(facts.pts_s, view.pts_s).astype(np.int64)
    # some images do not decode and left their slot empty: the smallest gap is one slot
    slot_s = float(np.diff(facts.pts_s).min())
    return np.minimum(np.rint(view.pts_s / slot_s), len(file.images) - 1).astype(np.int64)


def _by_name(names: tuple[str, ...], images: list[str], file: str) -> NDArray[np.int64]:
    """By file name, else by its stem: exports rename .png to .jpg."""
    for part in (lambda name: PurePosixPath(name).name, lambda name: PurePosixPath(name).stem):
        at = {part(name): index for index, name in enumerate(names)}
        row = np.array([at.get(part(image), -1) for image in images])
        if len(at) < len(names):
            raise ClipError(STAGE, "wrong_names", f"{file}: expected every image named once, some are named twice")
        if (row >= 0).sum() >= 2:
            return row
    message = f"{file}: expected poses of images such as {images[0]}, got those of {names[0]}; is it this clip's?"
    raise ClipError(STAGE, "wrong_names", message)


def _by_time(track: CameraTrack, frames: FrameSource) -> NDArray[np.int64] | None:
    """Nearest pose within half a frame on the clock that matches most frames: the source's, or counted from 0."""
    if track.time_s is None:
        return None
    view, facts = frames.view, frames.facts
    half_s = float(np.median(np.diff(facts.pts_s))) / 2
    best = np.full(len(view), -1)
    clocks = ((track.time_s, view.pts_s), (track.time_s, view.pts_s - facts.pts_s[0]))
    clocks += ((track.time_s - track.time_s[0], view.pts_s - facts.pts_s[0]),)
    for given_s, frame_s in clocks:
        right = np.clip(np.searchsorted(given_s, frame_s), 1, len(given_s) - 1)
        nearest = np.where(frame_s - given_s[right - 1] <= given_s[right] - frame_s, right - 1, right)
        row = np.where(np.abs(given_s[nearest] - frame_s) <= half_s, nearest, -1)
        row[1:][row[1:] == row[:-1]] = -1  # a pose is one frame's
        best = row if (row >= 0).sum() > (best >= 0).sum() else best
    return best if (best >= 0).sum() >= max(2, ENOUGH * min(len(track), len(view))) else None


def _span(time_s: Array) -> str:
    return f"{time_s[0]:.6g}..{time_s[-1]:.6g} s"
