"""`CameraTrack`: what every camera file holds once it is read, and the rotation arithmetic the formats share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics, Lens, ScaleKind, Trajectory, frozen_array
from wmkit.clip import Annotation, Points
from wmkit.errors import InputError

__all__ = [
    "CameraTrack",
    "matrix_from_quaternion",
    "naming_file",
    "nearest_rotation",
    "quaternion_from_matrix",
    "rigid_matrices",
    "track_of_annotation",
]

EXACT = 1e-14  # closer to orthonormal than this, a matrix is left bit for bit as it was
FARTHEST = 1e9  # in any unit that is used: the moon is 4e8 m away
ROUNDED = 1e-3  # published files are rounded (7-Scenes is off by 1.4e-4); beyond this it is no rotation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraTrack:
    """Cameras of one clip or scene, posed frames only; what a format does not hold is None.

    world_from_cam  (N, 4, 4) float64, OpenCV axes, rigid.
    frame           (N,) int64, increasing: index of each camera's frame in its clip.
    time_s          (N,) float64, strictly increasing.
    intrinsics_px   (N, 4) float64 fx fy cx cy, pixel centres at half-integers.
    size_px         (N, 2) int64 width, height of the images.
    lens            of the images as they are on disk, when it bends straight lines: one for all, of their size. Then
                    `intrinsics_px` is its `default_pinhole()`, the camera of the images once they are undistorted.
    names           (N,) names of the images.
    points          sparse points in the same world and unit.
    metric          whether translations are metres; None: the file does not say.
    """

    world_from_cam: Array
    frame: NDArray[np.int64] | None = None
    time_s: Array | None = None
    intrinsics_px: Array | None = None
    size_px: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None
    points: Points | None = None
    metric: bool | None = None
    lens: Lens | None = None

    def __post_init__(self) -> None:
        poses = frozen_array(self.world_from_cam, np.float64, (None, 4, 4), "world_from_cam")
        count = len(poses)
        clock = np.arange(count, dtype=np.float64)  # Trajectory checks rigidity; its times are checked below
        Trajectory(world_from_cam=poses, time_s=clock, posed=np.ones(count, np.bool_), scale=ScaleKind.UP_TO_SCALE)
        far = float(np.abs(poses[:, :3, 3]).max(initial=0.0))
        if far > FARTHEST:  # squares of what is farther leave no digit for the motion
            message = f"expected positions within {FARTHEST:g} of the origin, got one at {far:.3g}"
            raise InputError(f"world_from_cam: {message}; which unit are they in?")
        object.__setattr__(self, "world_from_cam", poses)
        if self.time_s is not None:
            time_s = frozen_array(self.time_s, np.float64, (count,), "time_s")
            if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
                raise InputError("time_s: expected finite, strictly increasing seconds")
            object.__setattr__(self, "time_s", time_s)
        if self.frame is not None:
            frame = frozen_array(self.frame, np.int64, (count,), "frame")
            if (frame < 0).any() or (np.diff(frame) <= 0).any():
                raise InputError("frame: expected increasing indices, none negative")
            object.__setattr__(self, "frame", frame)
        if self.names is not None and len(self.names) != count:
            raise InputError(f"names: expected one a camera ({count}), got {len(self.names)}")
        self._check_intrinsics(count)

    def _check_intrinsics(self, count: int) -> None:
        if self.intrinsics_px is not None:
            rows = frozen_array(self.intrinsics_px, np.float64, (count, 4), "intrinsics_px")
            if not np.isfinite(rows).all() or (rows[:, :2] <= 0).any():
                raise InputError("intrinsics_px: expected finite fx fy cx cy with positive focal lengths")
            object.__setattr__(self, "intrinsics_px", rows)
        if self.size_px is not None:
            size = frozen_array(self.size_px, np.int64, (count, 2), "size_px")
            if (size <= 0).any():
                raise InputError("size_px: expected positive widths and heights")
            object.__setattr__(self, "size_px", size)
        if self.lens is not None and set(self.intrinsics()) != {self.lens.default_pinhole()}:
            raise InputError("camera track: expected the lens's default pinhole in every row of intrinsics")

    def __len__(self) -> int:
        return len(self.world_from_cam)

    def intrinsics(self) -> tuple[Intrinsics, ...]:
        """One `Intrinsics` a camera; InputError when focal lengths or image sizes are not known."""
        if self.intrinsics_px is None or self.size_px is None:
            raise InputError("camera track: expected intrinsics and image sizes, but the file holds only poses")
        return tuple(
            Intrinsics(
                fx=float(row[0]), fy=float(row[1]), cx=float(row[2]), cy=float(row[3]), width=int(w), height=int(h)
            )
            for row, (w, h) in zip(self.intrinsics_px, self.size_px, strict=True)
        )

    def trajectory(self) -> Trajectory:
        """All cameras as a `Trajectory`, UP_TO_SCALE unless the file says metres; InputError without times."""
        if self.time_s is None:
            raise InputError("camera track: expected times, but the file holds none")
        return Trajectory(
            world_from_cam=self.world_from_cam,
            time_s=self.time_s,
            posed=np.ones(len(self), np.bool_),
            scale=ScaleKind.METRIC if self.metric else ScaleKind.UP_TO_SCALE,
        )


def track_of_annotation(annotation: Annotation, suffix: str = ".jpg") -> CameraTrack:
    """The posed frames of an annotation, named frame_%06d by their index; InputError without a trajectory."""
    trajectory = annotation.trajectory
    if trajectory is None or not trajectory.posed.any():
        raise InputError(f"{annotation.clip.source}: expected an annotation with posed frames, got none")
    frame = np.flatnonzero(trajectory.posed)
    return CameraTrack(
        world_from_cam=trajectory.world_from_cam[frame],
        frame=frame,
        time_s=trajectory.time_s[frame],
        intrinsics_px=annotation.intrinsics_rows[frame],
        size_px=np.tile([annotation.view.width, annotation.view.height], (len(frame), 1)),
        names=tuple(f"frame_{index:06d}{suffix}" for index in frame),
        points=annotation.points,
        metric=trajectory.scale is ScaleKind.METRIC,
    )


@contextmanager
def naming_file(path: Path | str) -> Iterator[None]:
    """Put `path` before the message of any InputError raised inside, so that it names the file it came from."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def rigid_matrices(rotation: Array, translation: Array) -> Array:
    """(N, 4, 4) transforms of rotations (N, 3, 3) and translations (N, 3)."""
    matrices = np.zeros((len(rotation), 4, 4))
    matrices[:, :3, :3] = rotation
    matrices[:, :3, 3] = translation
    matrices[:, 3, 3] = 1
    return matrices


def nearest_rotation(matrices: Array) -> Array:
    """Rotations (N, 3, 3) nearest to matrices a file rounded; those exact to 1e-14 stay bit for bit.

    Raises InputError when one is more than 1e-3 from orthonormal or mirrors.
    """
    error = np.abs(matrices @ np.swapaxes(matrices, 1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    bad = ~(error <= ROUNDED) | (np.linalg.det(matrices) < 0)
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        if error[index] <= ROUNDED:
            raise InputError(f"expected rotations, but camera {index} mirrors (determinant -1); flip one of its axes")
        raise InputError(f"expected rotations, but camera {index} is off orthonormal by {error[index]:.1e}")
    u, _, vt = np.linalg.svd(matrices)
    return np.where((error <= EXACT)[:, None, None], matrices, u @ vt)


def matrix_from_quaternion(wxyz: Array) -> Array:
    """Rotations (N, 3, 3) of quaternions (N, 4) in w x y z order, normalised; InputError when one is near zero."""
    norm = np.linalg.norm(wxyz, axis=1)
    if (norm < 1e-6).any():
        raise InputError(f"expected unit quaternions, got one of length {norm.min():.1e}")
    w, x, y, z = (wxyz / norm[:, None]).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_matrix(rotation: Array) -> Array:
    """Unit quaternions (N, 4) in w x y z order, w >= 0, of rotations (N, 3, 3).

    Starts from the largest component, so no digit is lost at half turns (Shepperd 1978).
    """
    m = rotation
    trace = np.trace(m, axis1=1, axis2=2)
    diagonal = np.diagonal(m, axis1=1, axis2=2)
    x, y, z = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    square = np.concatenate([1 + trace[:, None], 1 + 2 * diagonal - trace[:, None]], axis=1)  # 4 w², 4 x², 4 y², 4 z²
    columns = (
        np.stack([square[:, 0], x, y, z], axis=1),
        np.stack([x, square[:, 1], xy, xz], axis=1),
        np.stack([y, xy, square[:, 2], yz], axis=1),
        np.stack([z, xz, yz, square[:, 3]], axis=1),
    )
    largest = square.argmax(axis=1)
    wxyz = np.stack(columns, axis=1)[np.arange(len(m)), largest]
    wxyz = wxyz / np.linalg.norm(wxyz, axis=1, keepdims=True)
    return wxyz * np.where(wxyz[:, :1] < 0, -1.0, 1.0)
