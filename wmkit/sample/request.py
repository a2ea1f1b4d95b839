"""What is asked of the model: a camera path and the picture's intrinsics, each with its source."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wmkit.camera import Array, Intrinsics, ScaleKind, invert_rigid
from wmkit.camera_actions import action_keys, action_map, action_path, implied_keys
from wmkit.camera_templates import TEMPLATES, template_path
from wmkit.errors import InputError
from wmkit.formats.any import read_trajectory
from wmkit.formats.convention import in_convention, is_bare
from wmkit.formats.intrinsics import FOV_DEG, checked_intrinsics, read_intrinsics
from wmkit.formats.track import CameraTrack
from wmkit.hashes import hash_of_file
from wmkit.sample.identity import trajectory_sha256
from wmkit.sample.picture import Picture

__all__ = ["AskedPath", "SourceIntrinsics", "asked_intrinsics", "asked_path"]

FPS = 16.0  # of a path that says no times: what annotate samples clips at
ASSUMED_FOV_DEG = 60.0
GAP = 1.5  # a step this many times the usual one is a hole in the path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedPath:
    """Cameras of every frame to make.

    world_from_cam  (N, 4, 4) float64; the world is the first camera.
    poses           how many of them the source has; the others hold the last one.
    cut             how many of the source's are left out at the end.
    fps             1/s.
    scale           METRIC when the source says that its unit is the metre.
    source          file name, template or action string, as given.
    meaning         how it was read: what the keys do, or which convention; in words.
    sha256          see `trajectory_sha256`.
    keys            held from each frame to the next: those of an action string, else those that the path implies.
    """

    world_from_cam: Array
    poses: int
    cut: int = 0
    fps: float
    scale: ScaleKind
    source: str
    meaning: str
    sha256: str
    keys: tuple[frozenset[str], ...]

    @property
    def held(self) -> int:
        """Frames at the end that repeat the source's last pose."""
        return len(self.world_from_cam) - self.poses

    def lasting(self, frames: int) -> "AskedPath":
        """The same path with `frames` cameras: its end cut, or its last pose held."""
        count = len(self.world_from_cam)
        if frames < count:
            kept = min(frames, self.poses)
            cut = self.cut + self.poses - kept
            keys = self.keys[: frames - 1]
            return replace(self, world_from_cam=self.world_from_cam[:frames], poses=kept, cut=cut, keys=keys)
        held = np.repeat(self.world_from_cam[-1:], frames - count, axis=0)
        return replace(self, world_from_cam=np.concatenate([self.world_from_cam, held]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceIntrinsics:
    """fx fy cx cy (1, 4) or (N, 4) in px of the picture as given, where they come from, in words; sha256 of a file."""

    rows: Array
    source: str
    sha256: str | None = None


def asked_path(
    text: str, size_px: tuple[int, int], *, convention: str = "as-format", keys: str = "sana-v2"
) -> AskedPath:
    """The path that `--trajectory` means: a file or folder if there is one, a template's name, else an action string.

    InputError for a missing or unreadable file, a pose that is not finite, fewer than two poses, a hole in time, a bad
    action, an unknown template, mapping or convention. `size_px` is the picture's, for files whose intrinsics are
    fractions of it; `convention` is that of a file of bare poses, `keys` names the mapping of an action string.
    """
    path, config = Path(text), action_map(keys)
    if text and path.exists():  # "" would be the folder we are in
        track = in_convention(read_trajectory(path, size_px), path, convention)
        return _relative(
            AskedPath(
                world_from_cam=track.world_from_cam,
                poses=len(track),
                fps=_rate(track, text),
                scale=ScaleKind.METRIC if track.metric else ScaleKind.UP_TO_SCALE,
                source=text,
                meaning=f"poses as {_told_convention(path, convention)}",
                sha256=trajectory_sha256(text),
                keys=implied_keys(track.world_from_cam, config),
            )
        )
    if convention != "as-format":
        raise InputError(f"--convention {convention}: expected a trajectory file, got {text!r}")
    template = text.startswith(("simple/", "hard/"))
    if not template and (path.suffix in (".npy", ".npz", ".json", ".txt") or "/" in text):
        raise InputError(
            f"--trajectory: expected a file, a template such as {next(iter(TEMPLATES))} or actions such as w-40,dw-20, "
            f"found no file {text}"
        )
    rolled = template_path(text) if template else action_path(text, config)
    return _relative(
        AskedPath(
            world_from_cam=rolled.world_from_cam,
            poses=len(rolled),
            fps=FPS,
            scale=ScaleKind.METRIC,
            source=text,
            meaning="template" if template else f"actions {keys}: {config.describe()}",
            sha256=trajectory_sha256(text),
            keys=implied_keys(rolled.world_from_cam, config) if template else action_keys(text),
        )
    )


def _relative(path: AskedPath) -> AskedPath:
    relative = invert_rigid(path.world_from_cam[:1]) @ path.world_from_cam
    relative[0] = np.eye(4)
    return replace(path, world_from_cam=relative)


def _told_convention(path: Path, convention: str) -> str:
    if convention != "as-format":
        return f"{convention}, as told"
    return "camera to world, OpenCV axes, unless --convention says otherwise" if is_bare(path) else "its format says"


def asked_intrinsics(picture: Picture, file: Path | None, fov_deg: float | None, poses: int) -> SourceIntrinsics:
    """Intrinsics by file, by `--fov-deg`, by EXIF, else 60 degrees; the result says which.

    InputError when both are given, and when they do not fit the picture: a field of view outside 25 to 120 degrees,
    a principal point that is not near the middle, another picture size, rows that are neither one nor one a pose.
    """
    width, height = picture.size
    if file is not None and fov_deg is not None:
        raise InputError("--intrinsics and --fov-deg: expected one of the two, got both")
    if file is not None:
        rows = checked_intrinsics(read_intrinsics(file, picture.size), picture.size, f"--intrinsics {file}")
        if len(rows) not in (1, poses):
            raise InputError(f"--intrinsics {file}: expected 1 row or one a pose ({poses}), got {len(rows)}")
        return SourceIntrinsics(rows=rows, source=f"file {file}", sha256=hash_of_file(file))
    if fov_deg is not None:
        if not FOV_DEG[0] <= fov_deg <= FOV_DEG[1]:
            raise InputError(f"--fov-deg: expected {FOV_DEG[0]:g} to {FOV_DEG[1]:g} degrees, got {fov_deg:g}")
        rows = Intrinsics.from_fov(fov_deg, width, height).row[None]
        return SourceIntrinsics(rows=rows, source=f"fov {fov_deg:g} deg given")
    focal_px = picture.focal_px
    if focal_px is not None:
        rows = checked_intrinsics(
            np.array([[focal_px, focal_px, width / 2, height / 2]]), picture.size, "--image: EXIF"
        )
        return SourceIntrinsics(rows=rows, source=f"exif {picture.focal_35mm_mm:g} mm (35 mm equivalent)")
    rows = Intrinsics.from_fov(ASSUMED_FOV_DEG, width, height).row[None]
    return SourceIntrinsics(rows=rows, source=f"fov {ASSUMED_FOV_DEG:g} deg assumed")


def _rate(track: CameraTrack, name: str) -> float:
    if track.time_s is None:
        holes = np.flatnonzero(np.diff(track.frame) != 1) if track.frame is not None else []
        if len(holes):
            raise InputError(
                f"--trajectory {name}: expected a pose in every frame, got none between poses {holes[0]} and "
                f"{holes[0] + 1}; cut the path at the hole"
            )
        return FPS
    gaps_s = np.diff(track.time_s)
    usual_s = float(np.median(gaps_s))
    worst = int(gaps_s.argmax())
    if gaps_s[worst] > GAP * usual_s:
        raise InputError(
            f"--trajectory {name}: expected evenly spaced times, got {gaps_s[worst]:.3g} s between poses {worst} and "
            f"{worst + 1} where {usual_s:.3g} s is usual; cut the path at the hole"
        )
    return 1 / usual_s
