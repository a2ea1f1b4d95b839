"""`wmkit doctor`: hold a file of poses against a clip's images, in every convention it could have been written in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmkit.annotate.pose.check_given import Diagnosis, Row, diagnose
from wmkit.annotate.pose.follow import follow_points
from wmkit.annotate.pose.given import cameras_and_rows, given_config
from wmkit.annotate.pose.given_file import beside
from wmkit.annotate.priors import PriorConfig, clip_prior
from wmkit.errors import ClipError, InputError
from wmkit.video import VideoConfig, discover, identify, open_source

__all__ = ["DoctorReport", "examine"]

SHOWN = 8  # readings for people; the JSON has them all
FINE = ("consistent", "undecidable")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """What `examine` found.

    intrinsics  where they came from: the pose file, a prior's source, or "searched": each reading its own focal length.
    """

    clip: str
    poses: str
    frames: int
    posed: int
    intrinsics: str
    diagnosis: Diagnosis

    @property
    def exit_code(self) -> int:
        """0 when the images bear the file out, alone or among others; 1 when they refute it or cannot say anything."""
        return 0 if self.diagnosis.verdict in FINE else 1

    def to_json(self) -> dict[str, Any]:
        """Plain values; `readings` best first."""
        diagnosis = self.diagnosis
        return {
            "clip": self.clip,
            "poses": self.poses,
            "frames": self.frames,
            "posed": self.posed,
            "intrinsics": self.intrinsics,
            "verdict": diagnosis.verdict,
            "message": diagnosis.line(),
            "pairs": diagnosis.pairs,
            "points": diagnosis.points,
            "readings": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "error_px": round(row.error_px, 4),
                    "in_front": None if row.in_front is None else round(row.in_front, 4),
                    "focal_px": round(row.focal_px, 2),
                    "possible": row.possible,
                }
                for row in diagnosis.rows
            ],
        }

    def lines(self) -> list[str]:
        """A table of the best readings and the verdict."""
        diagnosis = self.diagnosis
        head = f"{self.clip}: {self.posed} of {self.frames} frames have a pose in {self.poses}"
        lines = [f"{head}; {diagnosis.points} points in {diagnosis.pairs} pairs; intrinsics: {self.intrinsics}"]
        shown = list(diagnosis.rows[:SHOWN])
        if diagnosis.declared is not None and diagnosis.declared not in shown:
            shown.append(diagnosis.declared)
        if shown:
            lines.append(f"  {'error px':>8}  {'in front':>8}  {'focal px':>8}  reading")
        lines += [_line(row) for row in shown]
        return [*lines, f"{diagnosis.verdict}: {diagnosis.line()}"]


def _line(row: Row) -> str:
    front = "-" if row.in_front is None else f"{100 * row.in_front:.0f} %"
    mark = "*" if row.possible else " "
    return f"{mark} {row.error_px:8.2f}  {front:>8}  {row.focal_px:8.1f}  {row.name}"


def examine(clip: Path, poses: str, prior: PriorConfig, video: VideoConfig) -> DoctorReport:
    """Test a pose file (`poses`: a path, or "auto" for the one beside the clip) against one clip.

    Raises InputError when there is no clip or more than one, or the file cannot be read; ClipError when the clip
    cannot be decoded or its frames cannot be matched to the file's poses.
    """
    found = discover([clip]).clips
    if len(found) != 1:
        raise InputError(f"{clip}: expected one clip, found {len(found)}; name the video or the folder of images")
    frames = open_source(identify(found[0]), video)
    config = given_config(poses)
    path = Path(config.path) if config.path else beside(frames.file)
    known = clip_prior(frames, prior)
    try:
        cameras, rows = cameras_and_rows(path, frames, known)
    except ClipError as error:
        if error.code == "bad_pose_file":
            raise InputError(f"--poses: {error.message}") from error
        raise
    searched = "searched" if known is None else known.source
    return DoctorReport(
        clip=frames.clip.source,
        poses=cameras.file,
        frames=len(frames.view),
        posed=int(cameras.posed.sum()),
        intrinsics=cameras.file if cameras.rows is not None else searched,
        diagnosis=diagnose(cameras, cameras.straightened(follow_points(frames, config.tracks)), rows),
    )
