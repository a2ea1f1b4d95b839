"""`eval_video`: does a video's camera go where it was told? The annotator finds its cameras from the pixels alone.

RotErr, TransErr and CamMC are printed by every convention in print (`wmkit.metrics.camera_control_errors`), since
figures of two conventions never compare. One of them is fragile and printed for comparison with the paper only: the
definition in arXiv 2605.15178, D.3 takes the rotation between the two paths from a fit to positions, which a short or
nearly straight path hardly determines (5.3 degrees on a straight drive of KITTI where the cameras agree to 0.16, 0.47
on the demo's orbit where they agree to 0.04). The rotation of `sana_wm_code` and of `rotation_error` is the chordal
mean of the cameras' own rotations and has no such weakness.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.isolated import camera_config, copy_pixels
from wmkit.annotate.pipeline import AnnotateConfig, annotate_clip
from wmkit.camera import Array, ScaleKind, Trajectory
from wmkit.clip import Annotation
from wmkit.errors import ClipError, InputError
from wmkit.evaluate.controls import control_figures
from wmkit.evaluate.pictures import picture_figures
from wmkit.evaluate.report import CONTROL, FIGURES, EvalReport
from wmkit.formats.any import read_trajectory
from wmkit.formats.track import CameraTrack
from wmkit.metrics import (
    CAMERA_CONTROL_CONVENTIONS,
    Metric,
    absolute_trajectory_error,
    camera_control_errors,
    relative_pose_errors,
    rotation_error,
)
from wmkit.video import FoundClip, discover, open_source

__all__ = ["MIN_POSED", "eval_video", "match_frames"]

MIN_POSED = 0.8  # share of judged frames that need a camera: errors of the easy part alone would flatter
STILL = 1e-9  # a path whose reach is below this share of its distance from the origin does not move (float64 noise)


def eval_video(
    video: Path, trajectory: Path, config: AnnotateConfig | None = None, *, of_benchmark: bool = False
) -> EvalReport:
    """Annotate every frame of `video` and hold its cameras against those of the file `trajectory`.

    `config` None is `wmkit.annotate.isolated.camera_config()`. As many poses as frames belong together in order;
    otherwise see `match_frames`. Paths `of_benchmark` are in metres, as SANA-WM-Bench's are, where revisits are looked
    for, and lose their first camera where they are one longer than the video, as the released refiner's videos are.
    What cannot be measured is a report with a `problem`. Raises InputError when the video is none, the trajectory
    cannot be read or the two do not fit each other.
    """
    config = config or camera_config()
    track = read_trajectory(trajectory)
    clip = _one_clip(video)
    with TemporaryDirectory(prefix="wmkit-eval-") as folder:
        try:
            file = copy_pixels(clip, Path(folder))
            time_s = open_source(file, config.video).view.time_s
        except ClipError as error:
            raise InputError(f"{video}: expected a playable video, got {error}") from error
        dropped = of_benchmark and len(track) == len(time_s) + 1
        try:
            reference = _reference(_without_first(track) if dropped else track, time_s)
        except InputError as error:
            raise InputError(f"{trajectory}: {error}") from error
        annotation, problem = None, "" if _moves(reference) else "the requested camera does not move"
        if not problem:
            try:
                annotation = annotate_clip(file, config).annotation
            except ClipError as error:
                problem = str(error)
        path = replace(reference, scale=ScaleKind.METRIC) if of_benchmark else reference
        seen = ({}, {}) if problem else picture_figures(open_source(file, config.video), path)
    found = annotation.trajectory if annotation else None
    posed = 0 if found is None else int((found.posed & reference.posed).sum())
    judged = int(reference.posed.sum())
    metrics, unmeasured = {}, {}
    problem = problem or _problem(annotation, posed, judged)
    if found is not None and not problem:
        metrics, unmeasured = _figures(found, reference)
        metrics, unmeasured = metrics | seen[0], unmeasured | seen[1]
        if not any(name.startswith(CONTROL) for name in metrics):
            problem = next(iter(unmeasured.values()))
    return EvalReport(
        video=str(video),
        trajectory=str(trajectory),
        annotator=f"wmkit {config.pose.name}",
        frames=len(time_s),
        judged=judged,
        posed=posed,
        scale=None if found is None else found.scale.value,
        metrics={} if problem else metrics,
        unmeasured=dict.fromkeys(FIGURES, problem) if problem else unmeasured,
        problem=problem,
        controls={} if problem or found is None else control_figures(found, reference),
        note="the path's first camera left out: the video begins with its second" if dropped else "",
        estimate=found,
        reference=reference,
    )


def match_frames(rows_s: Array, frames_s: Array) -> NDArray[np.int64]:
    """(N,) row of the trajectory for each frame by time, -1 where it has none; clocks start at each one's first.

    A frame and a row belong together when each is the other's nearest and they are less than half a frame interval
    apart. Raises InputError when the two last longer than one another by more than a step of either, or fewer than
    80 % of the shorter list find a partner.
    """
    rows_s, frames_s = rows_s - rows_s[0], frames_s - frames_s[0]
    step_s = float(np.median(np.diff(frames_s))) if len(frames_s) > 1 else 0.0
    slack_s = max(step_s, float(np.median(np.diff(rows_s))))
    if abs(rows_s[-1] - frames_s[-1]) > slack_s:
        raise InputError(
            f"expected one pose a frame or a path as long as the video, got {len(rows_s)} poses over "
            f"{rows_s[-1]:.3f} s for {len(frames_s)} frames over {frames_s[-1]:.3f} s"
        )
    distance_s = np.abs(rows_s[None, :] - frames_s[:, None])
    row = distance_s.argmin(axis=1)
    frame = np.arange(len(frames_s))
    mutual = (distance_s.argmin(axis=0)[row] == frame) & (distance_s[frame, row] < step_s / 2)
    if mutual.sum() < MIN_POSED * min(distance_s.shape):
        raise InputError(
            f"expected poses at the times of the {len(frames_s)} frames, but only {int(mutual.sum())} of {len(rows_s)} "
            "lie within half a frame of one"
        )
    return np.where(mutual, row, -1)


def _one_clip(video: Path) -> FoundClip:
    clips = discover([video]).clips
    if len(clips) != 1:
        raise InputError(f"{video}: expected one video, found {len(clips)}; name one of them")
    return clips[0]


def _reference(track: CameraTrack, time_s: Array) -> Trajectory:
    """The requested cameras at the video's frames."""
    if len(track) == len(time_s):
        row = np.arange(len(track))
    elif track.time_s is None:
        raise InputError(
            f"expected one pose a frame ({len(time_s)}), got {len(track)} and no times "
            "to match them by; cut the longer of the two, or add time_s to an .npz"
        )
    else:
        row = match_frames(track.time_s, time_s)
    known = row >= 0
    return Trajectory(
        world_from_cam=np.where(known[:, None, None], track.world_from_cam[row], np.nan),
        time_s=time_s,
        posed=known,
        scale=ScaleKind.METRIC if track.metric else ScaleKind.UP_TO_SCALE,
    )


def _without_first(track: CameraTrack) -> CameraTrack:
    return CameraTrack(
        world_from_cam=track.world_from_cam[1:],
        time_s=None if track.time_s is None else track.time_s[1:],
        metric=track.metric,
    )


def _moves(reference: Trajectory) -> bool:
    positions = reference.position[reference.posed]
    return bool(np.abs(positions - positions[0]).max() > STILL * max(1.0, np.abs(positions).max()))


def _problem(annotation: Annotation | None, posed: int, judged: int) -> str:
    """Why nothing can be measured; "" when it can."""
    none = annotation.no_trajectory if annotation else None
    if none is not None:
        return f"no camera trajectory in the video: {none.reason}, {none.detail}"
    if posed < MIN_POSED * judged:
        return f"expected a camera in at least {MIN_POSED:.0%} of the {judged} judged frames, found {posed}"
    return ""


def _figures(estimate: Trajectory, reference: Trajectory) -> tuple[dict[str, Metric], dict[str, str]]:
    """FIGURES by name, and the reason of each that these two paths do not allow."""
    metrics: dict[str, Metric] = {}
    unmeasured: dict[str, str] = {}
    for convention in CAMERA_CONTROL_CONVENTIONS:
        try:
            metrics |= {metric.name: metric for metric in camera_control_errors(estimate, reference, convention)}
        except InputError as error:
            unmeasured |= {f"{name}_{convention}": str(error) for name in CONTROL}
    try:
        metrics["ate_sim3"] = absolute_trajectory_error(estimate, reference, with_scale=True)
        metrics["rotation_error"] = rotation_error(estimate, reference)
        metrics |= {metric.name: metric for metric in relative_pose_errors(estimate, reference, 1, with_scale=True)}
    except InputError as error:
        wanted = ("ate_sim3", "rotation_error", "rpe_translation", "rpe_rotation")
        unmeasured |= {name: str(error) for name in wanted if name not in metrics}
    metrics["path_length"] = Metric(
        name="path_length",
        value=reference.path_length,
        unit="m" if reference.scale is ScaleKind.METRIC else "reference units",
        definition="length of the requested path over the judged frames",
        count=int(reference.posed.sum()),
    )
    return metrics, unmeasured
