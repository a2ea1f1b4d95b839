"""The demo's clips: rendered unless they are there, and once annotated held against their exact truth."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmkit import __version__
from wmkit.annotate.pipeline import config_dict
from wmkit.annotate.progress import Progress
from wmkit.annotate.scale import CameraHeightConfig, fuse
from wmkit.bench.reference import Reference, match
from wmkit.bench.score import Estimate, Score, score
from wmkit.bench.table import aligned
from wmkit.camera import Array, ScaleVote, Trajectory
from wmkit.clip import Annotation
from wmkit.corpus import Corpus, Status
from wmkit.errors import InputError
from wmkit.formats.poses_json import read_poses_json
from wmkit.metrics import Metric, align, depth_errors, scale_error
from wmkit.video import ClipFile
from wmkit.worlds import WorldClip, render, write_world

__all__ = ["DemoClip", "clip_id_of_world", "compare", "render_missing", "table"]

LEVEL_SPREAD = 0.1  # a camera whose height varies by less than this share of it can be described by one height
COLUMNS = ("clip", "posed", "ATE cm", "ATE %", "rot °", "focal %", "depth AbsRel %", "depth cover %", "scale %")
ABSENT = "-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoClip:
    """One clip against its truth.

    score    trajectory and focal figures; see `wmkit.bench.score`.
    depth    depth_abs_rel, depth_coverage, ... with the trajectory's own Sim(3) scale applied; empty without depth.
    scale    error in % when the true camera height is given as the only cue; None where the height varies.
    problem  why there is no trajectory; "" when there is one.
    """

    name: str
    frames: int
    posed: int
    score: Score
    depth: tuple[Metric, ...] = ()
    scale: Metric | None = None
    problem: str = ""

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        metrics = [*self.score.metrics.values(), *self.depth, *([self.scale] if self.scale else [])]
        return {
            "name": self.name,
            "frames": self.frames,
            "posed": self.posed,
            "metrics": {m.name: {"value": m.value, "unit": m.unit, "definition": m.definition} for m in metrics},
            "problem": self.problem or None,
        }


def table(clips: tuple[DemoClip, ...]) -> list[str]:
    """Errors against the truth, a row a clip, and why a clip has none."""
    lines = aligned([COLUMNS, *[_row(clip) for clip in clips]], left=1)
    lines += [f"{clip.name}: {clip.problem}" for clip in clips if clip.problem]
    return [*lines, "ATE after Sim(3) alignment, and of the path; scale: with the camera's true height given"]


def render_missing(clip: WorldClip, out: Path, progress: Progress) -> bool:
    """Render a clip unless its stamp says that these very files come from this very recipe; whether it did."""
    stamp_file = out / "truth" / f"{clip.name}.stamp.json"
    recipe = {"wmkit": __version__, "clip": config_dict(clip)}
    try:
        stamp = json.loads(stamp_file.read_text(encoding="utf-8"))
        if stamp["recipe"] == recipe and all(_sha256(out / name) == digest for name, digest in stamp["files"].items()):
            return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no stamp, or none that can be read: render
    progress.note(f"rendering {clip.name}")
    try:
        written = write_world(clip, out / "clips", out / "truth")
        files = {path.relative_to(out).as_posix(): _sha256(path) for path in (written.video, written.poses)}
        stamp_file.write_text(json.dumps({"recipe": recipe, "files": files}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: expected a writable folder at {out}, got: {error.strerror}") from error
    return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def clip_id_of_world(clip: WorldClip, out: Path, corpus: Corpus) -> str:
    """Id of a rendered clip in the corpus."""
    video = os.path.abspath(out / "clips" / f"{clip.name}.mp4")
    return next(row.clip_id for row in corpus.sources() if row.path == video)


def compare(clip: WorldClip, out: Path, corpus: Corpus) -> DemoClip:
    """The annotation of a clip against its truth; a clip without a trajectory says why."""
    clip_id = clip_id_of_world(clip, out, corpus)
    row = corpus.latest()[clip_id]
    if row.status is not Status.OK:
        problem = f"{row.status}: {row.stage}/{row.code} {row.message}"
        return DemoClip(
            name=clip.name, frames=clip.frames, posed=0, score=Score(metrics={}, unmeasured={}), problem=problem
        )
    annotation = corpus.read(clip_id)
    reference = Reference(files=("truth",), poses=read_poses_json(out / "truth" / f"{clip.name}.poses.json"))
    truth = match(reference, (), annotation)
    estimate = Estimate(
        frames=len(annotation.view),
        source_size=(annotation.clip.width, annotation.clip.height),
        trajectory=annotation.trajectory,
        intrinsics=annotation.intrinsics,
    )
    return DemoClip(
        name=clip.name,
        frames=estimate.frames,
        posed=estimate.posed,
        score=score(estimate, truth),
        depth=_depth_error(annotation, clip, truth.position),
        scale=_height_error(annotation, _video_of(clip, out, annotation), clip, truth.position),
    )


def _depth_error(annotation: Annotation, clip: WorldClip, truth: Trajectory | None) -> tuple[Metric, ...]:
    """Depth errors over all estimated maps against the exact depth, drawn at their size from the true cameras.

    The one scale applied is that of the trajectory's Sim(3) alignment, so depth and trajectory must share a unit.
    """
    depth, trajectory = annotation.depth, annotation.trajectory
    if depth is None or trajectory is None or truth is None:
        return ()
    posed = trajectory.posed
    try:
        metres = align(trajectory.position[posed], truth.position[posed], with_scale=True).scale
    except InputError:  # too few posed frames to align
        return ()
    height, width = depth.z.shape[1:]
    cameras = truth.world_from_cam[depth.frame]
    frames = list(render(clip.scene.build(), clip.intrinsics.resized(width, height), cameras))
    exact, known = np.stack([frame.z for frame in frames]), np.stack([frame.valid for frame in frames])
    try:
        return depth_errors(depth.z * metres, exact, depth.valid, known, median_scale=False)
    except InputError:  # not one valid pixel
        return ()


def _video_of(clip: WorldClip, out: Path, annotation: Annotation) -> ClipFile:
    path = os.path.abspath(out / "clips" / f"{clip.name}.mp4")
    name, content = annotation.clip.source, annotation.provenance.input_hash
    return ClipFile(path=path, name=name, content_hash=content, clip_id=annotation.clip.id)


def _height_error(annotation: Annotation, file: ClipFile, clip: WorldClip, truth: Trajectory | None) -> Metric | None:
    """Scale error in % of the camera-height cue told the true height; None where that varies or the cue is silent."""
    height_m: Array = clip.camera_height_m
    mean_m = float(height_m.mean())
    if truth is None or np.ptp(height_m) > LEVEL_SPREAD * mean_m:
        return None
    vote = CameraHeightConfig(height_m=mean_m).build("cpu").vote(annotation, file)
    estimate = fuse((vote,)) if isinstance(vote, ScaleVote) else None
    if estimate is None:
        return None
    metric = annotation.to_metric(estimate)
    assert metric.trajectory is not None
    try:
        error = scale_error(metric.trajectory, truth)
    except InputError:
        return None
    return dataclasses.replace(error, definition=f"{error.definition}; true camera height given")


def _row(clip: DemoClip) -> tuple[str, ...]:
    figures = {metric.name: metric.value for metric in (*clip.score.metrics.values(), *clip.depth)}
    if clip.scale is not None:
        figures["scale_error"] = clip.scale.value

    def shown(name: str, digits: int, factor: float = 1.0) -> str:
        return f"{factor * figures[name]:.{digits}f}" if name in figures else ABSENT

    return (
        clip.name,
        f"{clip.posed}/{clip.frames}",
        shown("ate_sim3", 2, 100.0),
        shown("ate_percent", 2),
        shown("rotation_error", 3),
        shown("focal_error", 2),
        shown("depth_abs_rel", 1, 100.0),
        shown("depth_coverage", 0, 100.0),
        shown("scale_error", 1),
    )
