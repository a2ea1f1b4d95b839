"""The peer: pycolmap's default pipeline (SIFT, sequential matching, incremental mapping) on the frames the engine saw.

Everything is pycolmap's default but one camera for the whole clip, the CPU, and a fixed seed of its global generator;
it runs in a process of its own with as many threads as it likes. It is handed PNGs of the very frames, already
resized; writing them is not charged to it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wmkit.bench.score import Estimate
from wmkit.camera import Intrinsics, ScaleKind, Trajectory
from wmkit.errors import InputError
from wmkit.executor.task import THREAD_ENV
from wmkit.video import FrameSource

__all__ = ["PEERS", "PeerRun", "run_peer"]

PEERS = ("pycolmap",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeerRun:
    """What the peer found, and its CPU seconds (all threads) by stage: features, matching, mapping."""

    name: str
    version: str
    estimate: Estimate
    timings: dict[str, float]


def run_peer(name: str, frames: FrameSource) -> PeerRun:
    """Run the peer called `name` on every frame; the model that registers most images counts.

    Raises InputError for a name not in PEERS. A run that builds no model is an outcome, not an error.
    """
    if name not in PEERS:
        raise InputError(f"--peer: expected one of {', '.join(PEERS)}, got {name!r}")
    from wmkit.annotate.pose.colmap_import import pycolmap

    with TemporaryDirectory(prefix="wmkit-peer-") as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        _write_frames(frames, folder / "images")
        timings = _run(folder)
        found = [pycolmap.Reconstruction(model) for model in sorted((folder / "models").iterdir())]
        best = max(found, key=lambda model: (model.num_reg_images(), model.num_points3D()), default=None)
        estimate = _estimate(best, frames)
    return PeerRun(name=name, version=pycolmap.__version__, estimate=estimate, timings=timings)


def _run(folder: Path) -> dict[str, float]:
    """The peer on the pictures of `folder`, with the threads it would have without us: CPU seconds by stage.

    Raises InputError when it ends badly.
    """
    own = {name: value for name, value in os.environ.items() if name not in THREAD_ENV}
    program = [sys.executable, "-m", "wmkit.bench.peer_process", str(folder)]
    done = subprocess.run(program, env=own, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise InputError(f"--peer pycolmap: expected it to end well, got exit code {done.returncode}: {last}")
    return json.loads((folder / "costs.json").read_text(encoding="utf-8"))


def _write_frames(frames: FrameSource, folder: Path) -> None:
    import cv2

    index = 0
    for window in frames.windows():
        for rgb in window.rgb:
            path = folder / f"{index:06d}.png"
            if not cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
                raise InputError(f"{path}: expected a writable temporary folder; set TMPDIR to one")
            index += 1


def _estimate(model: object, frames: FrameSource) -> Estimate:
    """The model's registered images as an Estimate; names are frame indices."""
    view = frames.view
    size = (frames.clip.width, frames.clip.height)
    if model is None:
        return Estimate(frames=len(view), source_size=size, reason="no_model")
    poses = np.full((len(view), 4, 4), np.nan)
    cameras: dict[int, Intrinsics] = {}
    for image in model.images.values():  # type: ignore[attr-defined]  # pycolmap.Reconstruction, which ships no types
        if not image.has_pose:
            continue
        frame = int(Path(image.name).stem)
        cam_from_world = image.cam_from_world()
        rotation = np.asarray(cam_from_world.rotation.matrix())
        u, _, vt = np.linalg.svd(rotation.T)
        poses[frame] = np.eye(4)
        poses[frame, :3, :3] = u @ vt
        poses[frame, :3, 3] = -rotation.T @ cam_from_world.translation
        camera = image.camera
        cameras[frame] = Intrinsics(
            fx=camera.focal_length_x,
            fy=camera.focal_length_y,
            cx=camera.principal_point_x,
            cy=camera.principal_point_y,
            width=camera.width,
            height=camera.height,
        )
    posed = np.isfinite(poses[:, 0, 0])
    if not posed.any():
        return Estimate(frames=len(view), source_size=size, reason="no_model")
    trajectory = Trajectory(world_from_cam=poses, time_s=view.time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE)
    one = next(iter(cameras.values()))  # one camera for the clip, so an unregistered frame has it too
    intrinsics = tuple(cameras.get(frame, one) for frame in range(len(view)))
    return Estimate(frames=len(view), source_size=size, trajectory=trajectory, intrinsics=intrinsics)
