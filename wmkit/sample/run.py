"""`wmkit sample`: one picture, one camera path, one video.

    X.mp4              H.264, the asked cameras' frames; the first one is the picture
    X.trajectory.npz   world_from_cam (N, 4, 4) f8 (the world is the first camera), time_s (N,) f8, posed (N,) bool,
                       intrinsics (N, 4) f8 fx fy cx cy in px of X.mp4: keys as in a corpus
    X.json             everything to repeat it, and the unit of the translations

The same inputs give the same bytes on one machine.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wmkit import __version__
from wmkit.atomic import json_bytes, npz_bytes, write_atomic
from wmkit.camera import Array, ScaleKind
from wmkit.dataset.decode import fit_frames
from wmkit.errors import InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import SamplerConfig, sample_latents
from wmkit.sample.picture import Picture, read_picture
from wmkit.sample.request import AskedPath, SourceIntrinsics, asked_intrinsics, asked_path
from wmkit.train.checkpoint import MODEL_NAME, DataFacts, find_checkpoint, load_model, read_state
from wmkit.train.config import TrainConfig
from wmkit.train.progress import SilentProgress, TrainProgress
from wmkit.train.threads import cpu_threads
from wmkit.video.encode import write_mp4

__all__ = ["DEFAULT_TRAJECTORY", "SampleOptions", "SampleSummary", "run_sample"]

DEFAULT_TRAJECTORY = "w-10,dw-6"  # 17 poses: what tiny-cpu is trained on
BUNDLED = "bundled picture"
UNITS = {
    ScaleKind.METRIC: "metres",
    ScaleKind.UP_TO_SCALE: "unknown: the file does not say metres; the model takes one unit for one of its training's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """What to make.

    checkpoint  run folder (its latest checkpoint) or checkpoint folder.
    image       the first frame; None: the bundled picture, a rendered room of 60 degrees horizontal field of view.
    trajectory  file or action string.
    intrinsics  file, in px of the picture as given; or `fov_deg`, horizontal; or neither: EXIF, else 60 degrees.
    steps       Euler steps.
    """

    checkpoint: Path = Path("run")
    image: Path | None = None
    trajectory: str = DEFAULT_TRAJECTORY
    intrinsics: Path | None = None
    fov_deg: float | None = None
    out: Path = Path("sample.mp4")
    steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"--steps: expected at least 1, got {self.steps}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed: expected a number of at least 0, got {self.seed}")
        if self.out.suffix.lower() != ".mp4":
            raise InputError(f"--out: expected a name ending in .mp4, got {self.out}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleSummary:
    """What was made: `record` is X.json's content."""

    record: dict[str, object]
    video: Path
    trajectory: Path
    sidecar: Path
    seconds: float

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "video": str(self.video),
            "trajectory": str(self.trajectory),
            "sidecar": str(self.sidecar),
            "record": self.record,
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """For people; the last line names the video."""
        return [
            f"{self.seconds:.0f} s; cameras: {self.trajectory}, how it was made: {self.sidecar}",
            f"video: {self.video}",
        ]


def run_sample(
    options: SampleOptions, note: Callable[[str], None] | None = None, progress: TrainProgress | None = None
) -> SampleSummary:
    """Make the video and its two companions; `note` is told what was assumed or rounded, a line each.

    Raises InputError or ConfigError, before anything is computed, for a picture, path, intrinsics, checkpoint or
    output that cannot be used.
    """
    start_s = time.monotonic()
    _check_writable(options.out)
    picture = _picture(options.image)
    path = asked_path(options.trajectory, picture.size)
    intrinsics = asked_intrinsics(picture, options.intrinsics, options.fov_deg, path.poses)
    checkpoint = find_checkpoint(options.checkpoint)
    model, config = load_model(checkpoint)
    facts = read_state(checkpoint).data
    stride = config.codec.stride
    held = path.held_to(path.poses + -(path.poses - 1) % stride)
    if note is not None:
        for line in _remarks(held, intrinsics, config, facts):
            note(line)
    first, rows = _first_frame(picture, intrinsics.rows, config, len(held.world_from_cam))
    sampler = SamplerConfig(steps=options.steps, shift=config.objective.shift, seed=options.seed)
    cameras = _cameras(held.world_from_cam, rows, config)
    frames = _generate(model, config, first, cameras, sampler, progress or SilentProgress())
    height, width = frames.shape[1:3]
    write_mp4(options.out, frames, held.fps, (width, height))
    record = {
        "wmkit": __version__,
        "torch": torch.__version__,
        "checkpoint": {"path": str(checkpoint), "sha256": _sha256(checkpoint / MODEL_NAME)},
        "image": {"path": BUNDLED if options.image is None else str(options.image), "sha256": picture.sha256},
        "trajectory": _path_record(held, stride),
        "intrinsics": {"source": intrinsics.source},
        "model_units": {"metric_samples": facts.metric, "median_depth_samples": facts.up_to_scale},
        "sampler": {"steps": sampler.steps, "shift": sampler.shift, "seed": sampler.seed},
        "video": {"sha256": _sha256(options.out), "fps": held.fps, "width": width, "height": height},
    }
    trajectory, sidecar = _write_beside(options.out, held, rows, record)
    return SampleSummary(
        record=record,
        video=options.out,
        trajectory=trajectory,
        sidecar=sidecar,
        seconds=time.monotonic() - start_s,
    )


def _path_record(path: AskedPath, stride: int) -> dict[str, object]:
    frames = len(path.world_from_cam)
    return {
        "source": path.source,
        "sha256": path.sha256,
        "poses": path.poses,
        "frames": frames,
        "held": frames - path.poses,
        "stride": stride,
        "scale": str(path.scale),
        "unit": UNITS[path.scale],
    }


def _write_beside(video: Path, path: AskedPath, rows: Array, record: dict[str, object]) -> tuple[Path, Path]:
    """X.trajectory.npz and X.json."""
    trajectory, sidecar = (video.with_suffix(end) for end in (".trajectory.npz", ".json"))
    frames = len(path.world_from_cam)
    arrays = {
        "world_from_cam": path.world_from_cam,
        "time_s": np.arange(frames) / path.fps,
        "posed": np.ones(frames, np.bool_),
        "intrinsics": rows,
    }
    try:
        write_atomic(trajectory, npz_bytes(arrays))
        write_atomic(sidecar, json_bytes(record))
    except OSError as error:
        raise InputError(f"--out: expected to write beside {video}, got: {error.strerror}") from error
    return trajectory, sidecar


def _check_writable(out: Path) -> None:
    """Minutes of sampling are not for an output that cannot be written."""
    scratch = out.with_name(f".{out.name}.probe")
    try:
        scratch.write_bytes(b"")
        scratch.unlink()
    except OSError as error:
        raise InputError(
            f"--out: expected a folder that can be written at {out.parent}, got: {error.strerror}"
        ) from error
    if out.is_dir():
        raise InputError(f"--out: expected a file name, got the folder {out}")


def _picture(image: Path | None) -> Picture:
    if image is not None:
        return read_picture(image)
    with as_file(files("wmkit.sample").joinpath("room.jpg")) as bundled:
        return read_picture(bundled)


def _remarks(path: AskedPath, intrinsics: SourceIntrinsics, config: TrainConfig, facts: DataFacts) -> list[str]:
    """What the user did not say and should know."""
    frames = len(path.world_from_cam)
    lines = [f"intrinsics: {intrinsics.source}"]
    if frames > path.poses:
        lines.append(
            f"length: {path.poses} poses, rounded up to {frames} = 1 + {config.codec.stride} k frames by holding the "
            "last pose"
        )
    if frames > config.data.frames:
        lines.append(
            f"length: {frames} frames in one go, of a model trained on {config.data.frames}; memory grows with their "
            "number"
        )
    if path.scale is ScaleKind.METRIC and facts.up_to_scale:
        lines.append(
            f"unit: the path is in metres, but {facts.up_to_scale} of {facts.metric + facts.up_to_scale} training "
            "samples were in units of their median depth: distances will not be exact"
        )
    return lines


def _first_frame(picture: Picture, rows: Array, config: TrainConfig, frames: int) -> tuple[NDArray[np.uint8], Array]:
    """The picture at the model's size (h, w, 3), fitted as training fits its clips, and the cameras (N, 4) of it."""
    padded = np.concatenate([rows, np.repeat(rows[-1:], frames - len(rows), axis=0)])
    rgb, cameras = fit_frames(picture.rgb[None], padded, config.data.width, config.data.height)
    return rgb[0], cameras


def _cameras(world_from_cam: Array, rows: Array, config: TrainConfig) -> CameraBatch:
    return CameraBatch(
        world_from_cam=torch.from_numpy(world_from_cam).float()[None],
        intrinsics=torch.from_numpy(rows).float()[None],
        width=config.data.width,
        height=config.data.height,
    )


def _generate(
    model: CameraDiT,
    config: TrainConfig,
    first: NDArray[np.uint8],
    cameras: CameraBatch,
    sampler: SamplerConfig,
    progress: TrainProgress,
) -> NDArray[np.uint8]:
    """(N, h, w, 3) RGB frames."""
    video = torch.from_numpy(first).permute(2, 0, 1).float()[None, None] / 127.5 - 1
    progress.start(sampler.steps, 0)
    try:
        with cpu_threads(config.threads):
            clean = config.codec.encode(video)
            latent = sample_latents(
                model, clean, cameras, sampler, progress=lambda done, _: progress.advance(done, None)
            )
    finally:
        progress.stop()
    rgb = (config.codec.decode(latent)[0].permute(0, 2, 3, 1) + 1) * 127.5
    return rgb.round().clamp(0, 255).to(torch.uint8).numpy()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
