"""EXPERIMENTAL: a pose backend that runs in the user's own environment, by a documented contract.

wmkit writes a folder and runs `COMMAND FOLDER OUT.npz`::

    FOLDER/frames/000000.png ...   the clip's output frames, 8-bit RGB, upright
    FOLDER/request.json            {"version": 1, "frames": N, "width", "height", "time_s": [N], "seed",
                                    "prior": null | {"fx", "fy", "cx", "cy", "sigma_log", "source"},
                                    "weights": null | path of the file that --pose-weights names}

The command ends with 0 and leaves OUT.npz, plain arrays (`numpy.savez`, no pickle)::

    world_from_cam   (N, 4, 4) float; OpenCV axes, camera to world; NaN rows: no pose for this frame
    intrinsics       (N, 4) or (4,) float: fx fy cx cy px, the first pixel's centre at (0.5, 0.5)
    metric           () bool, optional: translations claim to be metres
    confidence       (N,) float 0 to 1, optional: a frame of 0 counts as unposed
    depth            (K, h, w) float, optional: z-depth in the unit of the translations; 0 or NaN where there is none
    depth_frame      (K,) int, with depth: the frames it is of, increasing; K at most 64

What comes back is not believed: shapes, finiteness, rotations, then epipolar and cheirality tests against the images
(as for given poses). Points are triangulated from our own tracks.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.check_given import diagnose
from wmkit.annotate.pose.follow import follow_points
from wmkit.annotate.pose.given import CODES, METRIC_SIGMA_LOG
from wmkit.annotate.pose.given_file import GivenCameras
from wmkit.annotate.pose.given_points import given_points, given_scene, with_points
from wmkit.annotate.pose.subprocess_run import run_limited
from wmkit.annotate.pose.tracks import TrackConfig
from wmkit.annotate.protocols import UNHASHED, PoseEstimate
from wmkit.camera import Array, CameraPrior, Intrinsics, ScaleKind, Trajectory, invert_rigid
from wmkit.clip import DepthMap, NoTrajectory, Points
from wmkit.errors import ClipError, InputError
from wmkit.formats.track import nearest_rotation
from wmkit.hashes import hash_of_files
from wmkit.video.frames import FrameSource

__all__ = ["Command", "CommandConfig", "program_hash"]

MAX_DEPTHS = 64
MAX_BYTES = 4 << 30
Reply = Mapping[str, NDArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandConfig:
    """`argv` is run with the folder and the .npz to write behind it.

    program_hash  sha256 over the files that `argv` names, so that another version of a program is another config; None
               where it names none (`python -m package`): then wmkit cannot tell.
    weights    file that the command is told of, "" for none; weights_hash its sha256, weights_licence what the poses
               inherit. Without weights the licence is "unknown": wmkit cannot see what the command runs.
    timeout_s  and memory_gib (resident, with all children): what the command may use.
    """

    name: ClassVar[str] = "command"
    on_gpu: ClassVar[bool] = True
    licence: ClassVar[str] = "unknown"

    argv: tuple[str, ...]
    program_hash: str | None = None
    weights: str = field(default="", metadata={UNHASHED: True})
    weights_hash: str | None = None
    weights_licence: str | None = None
    timeout_s: float = field(default=800.0, metadata={UNHASHED: True})
    memory_gib: float = field(default=64.0, metadata={UNHASHED: True})
    tracks: TrackConfig = TrackConfig()
    max_error_px: float = 4.0
    min_angle_deg: float = 0.5

    def __post_init__(self) -> None:
        if not self.argv:
            raise InputError("--pose-command: expected a command, got an empty one")

    def build(self, device: str) -> "Command":
        """The backend; the command chooses its device itself."""
        return Command(self)


def program_hash(argv: Sequence[str]) -> str | None:
    """sha256 over the files among the words of a command, in order; None where there are none.

    The interpreter that a bare `python` finds is none of them. InputError when one cannot be read.
    """
    files = [Path(word) for word in argv if Path(word).is_file()]
    try:
        return hash_of_files(files) if files else None
    except OSError as error:
        raise InputError(f"--pose-command: expected readable files, got {error}") from error


class Command:
    """PoseEstimator of `CommandConfig`."""

    def __init__(self, config: CommandConfig) -> None:
        self.config = config

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        """The command's poses, first posed camera at the origin, in median point depths unless it claims metres.

        Raises ClipError("pose", code): what `run_limited` raises, `bad_reply` for an .npz that breaks the contract,
        wrong_direction, wrong_axes, ... when the images say that it answers in another convention.
        """
        with TemporaryDirectory(prefix="wmkit-pose-") as folder:
            request, out = Path(folder) / "request", Path(folder) / "out.npz"
            _write_request(request, frames, self._words(frames, seed, prior))
            command = (*self.config.argv, str(request), str(out))
            run_limited(command, Path(folder) / "log", self.config.timeout_s, self.config.memory_gib)
            reply = _read_reply(out)
        poses, rows = _poses(reply, len(frames.view)), _rows(reply, len(frames.view))
        if np.isfinite(poses[:, 0, 0]).sum() < 2:
            return NoTrajectory(reason="no_model", detail="the command posed fewer than two frames")
        return self._checked(frames, poses, rows, reply)

    def _words(self, frames: FrameSource, seed: int, prior: CameraPrior | None) -> dict[str, object]:
        view = frames.view
        return {
            "version": 1,
            "frames": len(view),
            "width": view.width,
            "height": view.height,
            "time_s": view.time_s.tolist(),
            "seed": seed,
            "prior": None if prior is None else dataclasses.asdict(prior),
            "weights": self.config.weights or None,
        }

    def _checked(self, frames: FrameSource, poses: Array, rows: Array, reply: Reply) -> PoseEstimate | NoTrajectory:
        tracks = follow_points(frames, self.config.tracks)
        cameras = GivenCameras(
            world_from_cam=poses, rows=rows, metric=False, quaternions=None, file=Path(self.config.argv[-1]).name
        )
        diagnosis = diagnose(cameras, tracks, rows)
        if diagnosis.verdict == "wrong":
            raise ClipError("pose", CODES[diagnosis.rows[0].kind], f"{cameras.file}: {diagnosis.line()}")
        if diagnosis.verdict == "no_fit":
            return NoTrajectory(reason="poses_do_not_fit", detail=f"{cameras.file}: {diagnosis.line()}")
        scene = with_points(given_scene(poses, rows, tracks), self.config.max_error_px, self.config.min_angle_deg)
        points = given_points(scene, tracks)
        if not len(points):
            return NoTrajectory(reason="no_parallax", detail="no point shows parallax under the command's poses")
        metric = "metric" in reply and bool(_array(reply, "metric", "b", ()))
        return _normalised(frames, (poses, rows, points), _depth(reply, len(poses)), metric)


def _write_request(folder: Path, frames: FrameSource, words: dict[str, object]) -> None:
    (folder / "frames").mkdir(parents=True)
    for window in frames.windows():
        for index, rgb in enumerate(window.rgb, start=window.start):
            path = folder / "frames" / f"{index:06d}.png"
            if not cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                raise ClipError(
                    "pose", "command_not_started", f"expected to write {path}; make room in the temp folder"
                )
    (folder / "request.json").write_text(json.dumps(words, allow_nan=False), encoding="utf-8")


def _read_reply(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise _bad("expected the command to write the .npz it was told to, found none")
    if path.stat().st_size > MAX_BYTES:
        raise _bad(f"expected an .npz of at most {MAX_BYTES >> 30} GiB, got {path.stat().st_size >> 30}")
    try:
        archive = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise _bad("expected named arrays (numpy.savez), got one without a name")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise _bad(f"expected a readable .npz without pickled objects, got: {error}") from error


def _bad(message: str) -> ClipError:
    return ClipError("pose", "bad_reply", f"--pose-command: {message}")


def _array(reply: Reply, name: str, kinds: str, shape: tuple[int | None, ...]) -> NDArray:
    if name not in reply:
        raise _bad(f"expected an array {name}, got {', '.join(sorted(reply)) or 'none'}")
    array = reply[name]
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in kinds or not fits:
        want = ", ".join("any" if size is None else str(size) for size in shape)
        raise _bad(f"expected {name} of shape ({want}), got {array.dtype} of shape {array.shape}")
    return array


def _poses(reply: Reply, count: int) -> Array:
    poses = np.array(_array(reply, "world_from_cam", "fiu", (count, 4, 4)), dtype=np.float64)
    if "confidence" in reply:
        confidence = _array(reply, "confidence", "f", (count,))
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise _bad("expected confidence between 0 and 1")
        poses[confidence == 0] = np.nan
    nothing = np.isnan(poses).all(axis=(1, 2))
    kept = poses[~nothing]
    if not np.isfinite(kept).all():
        raise _bad("expected poses that are finite, or NaN as a whole")
    if (np.abs(kept[:, 3] - [0, 0, 0, 1]) > 1e-6).any():
        raise _bad("expected world_from_cam rows to end with 0 0 0 1; are they transposed?")
    try:
        kept[:, :3, :3] = nearest_rotation(kept[:, :3, :3])
    except InputError as error:
        raise _bad(str(error)) from error
    kept[:, 3] = [0, 0, 0, 1]
    poses[~nothing] = kept
    return poses


def _rows(reply: Reply, count: int) -> Array:
    one = "intrinsics" in reply and reply["intrinsics"].ndim == 1
    rows = np.array(_array(reply, "intrinsics", "fiu", (4,) if one else (count, 4)), dtype=np.float64)
    rows = np.tile(rows, (count, 1)) if one else rows
    if not np.isfinite(rows).all() or (rows[:, :2] <= 0).any():
        raise _bad("expected finite intrinsics fx fy cx cy with positive focal lengths for every frame")
    return rows


def _depth(reply: Reply, count: int) -> tuple[NDArray[np.int64], Array] | None:
    if "depth" not in reply:
        return None
    z = _array(reply, "depth", "f", (None, None, None))
    frame = _array(reply, "depth_frame", "iu", (len(z),)).astype(np.int64)
    inside = len(frame) and (np.diff(frame) > 0).all() and frame[0] >= 0 and frame[-1] < count
    if not 1 <= len(z) <= MAX_DEPTHS or not inside:
        raise _bad(f"expected depth of 1 to {MAX_DEPTHS} frames, depth_frame increasing and below {count}")
    return frame, z.astype(np.float64)


def _normalised(
    frames: FrameSource,
    found: tuple[Array, Array, Points],
    depth: tuple[NDArray[np.int64], Array] | None,
    metric: bool,
) -> PoseEstimate:
    """First posed camera at the origin; the unit is the median depth of the points, or stays the metre."""
    poses, rows, points = found
    view, posed = frames.view, np.isfinite(poses[:, 0, 0])
    first_from_world = invert_rigid(poses[posed][:1])[0]
    xyz = points.xyz @ first_from_world[:3, :3].T + first_from_world[:3, 3]
    moved = first_from_world @ poses
    seen = invert_rigid(moved[posed])
    z = np.einsum("nj,mj->nm", seen[:, 2, :3], xyz) + seen[:, 2, 3:]
    unit = 1.0 if metric else float(np.median(z[z > 0]))
    moved[:, :3, 3] /= unit
    u, _, vt = np.linalg.svd(moved[posed][:, :3, :3])
    moved[posed, :3, :3] = u @ vt
    maps = None
    if depth is not None:
        valid = np.isfinite(depth[1]) & (depth[1] > 0)
        maps = DepthMap(
            frame=depth[0],
            z=np.where(valid, depth[1] / unit, 0).astype(np.float32),
            valid=valid,
            scale=ScaleKind.UP_TO_SCALE,
        )
    return PoseEstimate(
        trajectory=Trajectory(world_from_cam=moved, time_s=view.time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE),
        intrinsics=tuple(
            Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=view.width, height=view.height)
            for fx, fy, cx, cy in rows.tolist()
        ),
        points=dataclasses.replace(points, xyz=xyz / unit),
        metric_hint_sigma_log=METRIC_SIGMA_LOG if metric else None,
        depth=maps,
    )
