"""`wmkit trajectory preview`: a camera path as a picture and a recording, before a model is asked to follow it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from wmkit.camera import Array, Intrinsics, ScaleKind
from wmkit.errors import InputError
from wmkit.formats.rerun import write_rerun
from wmkit.formats.track import CameraTrack
from wmkit.sample.remarks import speed_remarks
from wmkit.sample.request import AskedPath
from wmkit.train.checkpoint import MotionFacts
from wmkit.train.motion import frame_motion

__all__ = ["PathFacts", "path_facts", "write_preview", "write_recording"]

ARROWS = 40
SHOWN = Intrinsics.from_fov(60.0, 640, 360)  # of the cameras in a recording: a path has no picture yet


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """Figures of a path.

    length, fastest_step   in `unit`, the second a frame; fastest_turn_deg a frame.
    beyond                 what goes faster than 99 % of a training's frames, in words.
    """

    source: str
    meaning: str
    poses: int
    seconds: float
    unit: str
    length: float
    fastest_step: float
    fastest_turn_deg: float
    beyond: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {**asdict(self), "beyond": list(self.beyond)}

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.source}: {self.poses} poses, {self.seconds:g} s, {self.length:.3g} {self.unit}",
            self.meaning,
            f"at most {self.fastest_step:.3g} {self.unit} and {self.fastest_turn_deg:.3g} deg a frame",
            *self.beyond,
        ]


def path_facts(path: AskedPath, motion: MotionFacts | None = None) -> PathFacts:
    """Length and speeds, held against those of a training where they are known."""
    step, turn_deg = frame_motion(path.world_from_cam)
    return PathFacts(
        source=path.source,
        meaning=path.meaning,
        poses=len(path.world_from_cam),
        seconds=(len(path.world_from_cam) - 1) / path.fps,
        unit="m" if path.scale is ScaleKind.METRIC else "units",
        length=float(step.sum()),
        fastest_step=float(step.max()),
        fastest_turn_deg=float(turn_deg.max()),
        beyond=tuple(speed_remarks(path, motion)),
    )


def write_preview(path: AskedPath, out: Path, motion: MotionFacts | None = None) -> None:
    """A PNG: the path from above with view directions, its height and pitch, its speeds with the training's 99 %.

    Raises InputError where matplotlib is not installed, `out` is no .png or cannot be written.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--out: expected a name ending in .png, got {out}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("preview: expected the package matplotlib; run: pip install 'wmkit[bench]'") from error
    figure = Figure(figsize=(12, 5), layout="constrained")
    above, height, speed = figure.subplot_mosaic([["above", "height"], ["above", "speed"]]).values()
    facts = path_facts(path, motion)
    position, ahead = path.world_from_cam[:, :3, 3], path.world_from_cam[:, :3, 2]
    some = np.linspace(0, len(position) - 1, min(ARROWS, len(position))).astype(int)
    above.plot(position[:, 0], position[:, 2], color="tab:blue")
    above.quiver(position[some, 0], position[some, 2], ahead[some, 0], ahead[some, 2], angles="xy", width=0.003)
    above.plot(*position[0, [0, 2]], "go", label="first")
    above.plot(*position[-1, [0, 2]], "rs", label="last")
    above.set(xlabel=f"right ({facts.unit})", ylabel=f"forward ({facts.unit})", aspect="equal")
    above.set(title=f"{facts.poses} poses, {facts.seconds:g} s, {facts.length:.3g} {facts.unit}", adjustable="datalim")
    above.legend()
    time_s = np.arange(len(position)) / path.fps
    _two_scales(height, time_s, -position[:, 1], np.degrees(np.arcsin(-ahead[:, 1].clip(-1, 1))))
    height.set(ylabel=f"up ({facts.unit}), blue")
    step, turn_deg = frame_motion(path.world_from_cam)
    _two_scales(speed, time_s[1:], step, turn_deg, (motion.step[3], motion.turn_deg[3]) if motion else None)
    speed.set(xlabel="s", ylabel=f"{facts.unit} a frame, blue")
    try:
        figure.savefig(out, dpi=100, metadata={"Software": None})
    except OSError as error:
        raise InputError(f"--out: expected a file that can be written at {out}, got: {error.strerror}") from error


def _two_scales(axes, time_s: Array, blue: Array, orange_deg: Array, limits: tuple[float, float] | None = None) -> None:
    """Two curves over time, degrees on the right; dashed lines at `limits`."""
    other = axes.twinx()
    axes.plot(time_s, blue, color="tab:blue")
    other.plot(time_s, orange_deg, color="tab:orange")
    other.set_ylabel("deg, orange")
    if limits is not None:
        axes.axhline(limits[0], color="tab:blue", linestyle="--")
        other.axhline(limits[1], color="tab:orange", linestyle="--")


def write_recording(path: AskedPath, out: Path) -> None:
    """A rerun recording of the cameras, of 60 degrees horizontal field of view; InputError without rerun-sdk."""
    count = len(path.world_from_cam)
    track = CameraTrack(
        world_from_cam=path.world_from_cam,
        frame=np.arange(count),
        time_s=np.arange(count) / path.fps,
        intrinsics_px=np.tile(SHOWN.row, (count, 1)),
        size_px=np.tile([SHOWN.width, SHOWN.height], (count, 1)),
        metric=path.scale is ScaleKind.METRIC,
    )
    write_rerun(track, out, path.source)
