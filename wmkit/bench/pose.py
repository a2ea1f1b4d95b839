"""`wmkit bench pose`: the annotator's cameras against references it is not shown, beside a peer and limits.

The clip of each folder is found among its files as `annotate` finds clips, its pixels alone are copied into an
otherwise empty temporary folder, and the engine is given that copy: whatever else lies beside the clip cannot reach
it. Every frame is used, at the native rate, and a frame without a camera counts against the engine.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wmkit.annotate.isolated import annotate_pixels, camera_config
from wmkit.annotate.pipeline import AnnotateConfig, AnnotateResult
from wmkit.annotate.protocols import ScaleConfig
from wmkit.annotate.scale_flags import ScaleFlags, cues_of_flags
from wmkit.bench.limits import SequenceLimits, judge, read_limits
from wmkit.bench.peer import PEERS, run_peer
from wmkit.bench.reference import Reference, match, read_reference
from wmkit.bench.report import BenchReport, EngineResult, SequenceResult
from wmkit.bench.score import Estimate, Score, score
from wmkit.camera import Intrinsics
from wmkit.clip import Annotation
from wmkit.errors import ClipError, InputError
from wmkit.video import ClipFile, FoundClip, VideoConfig, discover, open_source

__all__ = ["BenchOptions", "bench_pose", "find_clip", "source_cameras"]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to run besides the annotator and what to hold it to.

    config  None is `wmkit.annotate.isolated.camera_config()`.
    peer    one of `wmkit.bench.peer.PEERS`.
    limits  TOML as in `wmkit.bench.limits`.
    out     where the JSON is also written.
    """

    config: AnnotateConfig | None = None
    peer: str | None = None
    limits: Path | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sequence:
    """One folder, checked before anything runs."""

    name: str
    clip: FoundClip
    reference: Reference
    limits: SequenceLimits | None


def bench_pose(folders: Sequence[Path], options: BenchOptions, progress: Progress | None = None) -> BenchReport:
    """Run and score every folder; `progress` gets one line as each begins.

    Everything given is checked first: InputError for a folder without clip or reference, an unknown peer or an
    unwritable `out`, ConfigError for a limits file that says something else. A clip that cannot be used is a result.
    """
    config = options.config or camera_config()
    if options.peer is not None and options.peer not in PEERS:
        raise InputError(f"--peer: expected one of {', '.join(PEERS)}, got {options.peer!r}")
    limits = {} if options.limits is None else read_limits(options.limits)
    sequences = _sequences(folders, limits)
    if limits and not any(item.limits for item in sequences):
        names = ", ".join(item.name for item in sequences)
        raise InputError(f"--limits: expected limits of {names}, got those of {', '.join(limits)}; check the names")
    if options.out is not None:
        _append(options.out, "")  # fails before the work, not after; what an earlier run wrote stays until then
    results = []
    for number, sequence in enumerate(sequences, start=1):
        if progress is not None:
            progress(f"[{number}/{len(sequences)}] {sequence.name}")
        results.append(_run(sequence, config, options.peer))
    report = BenchReport(sequences=tuple(results), limits_not_run=tuple(sorted(set(limits) - _names(sequences))))
    if options.out is not None:
        options.out.unlink()
        _append(options.out, json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
    return report


def _names(sequences: Sequence[_Sequence]) -> set[str]:
    return {sequence.name for sequence in sequences}


def _sequences(folders: Sequence[Path], limits: dict[str, SequenceLimits]) -> list[_Sequence]:
    sequences = []
    for folder in folders:
        reference = read_reference(folder)
        name = os.path.basename(os.path.abspath(folder))
        clip = find_clip(folder, reference.image_folder)
        sequences.append(_Sequence(name=name, clip=clip, reference=reference, limits=limits.get(name)))
    if not sequences:
        raise InputError("DIR: expected at least one folder with a clip and its reference, got none")
    if len(_names(sequences)) < len(sequences):
        raise InputError("DIR: expected folders of different names, but two are called the same; rename one")
    return sequences


def find_clip(folder: Path, image_folder: str | None) -> FoundClip:
    """The clip of a sequence: the image folder the reference names, else its only one, else its only video.

    Raises InputError when there is none, or more than one and the reference does not say which.
    """
    clips = discover([folder]).clips
    folders = [clip for clip in clips if clip.images]
    place = os.path.abspath(folder / (image_folder or ""))
    named = [clip for clip in folders if image_folder is not None and clip.path == place]
    candidates = named or folders or list(clips)
    if len(candidates) != 1:
        found = ", ".join(clip.name for clip in candidates)
        raise InputError(f"{folder}: expected one clip beside its reference, got {found}; keep one")
    return candidates[0]


def _run(sequence: _Sequence, config: AnnotateConfig, peer: str | None) -> SequenceResult:
    if sequence.limits is not None:
        config = dataclasses.replace(config, scale=(*config.scale, *_given_cues(sequence.limits, config.video)))
    with TemporaryDirectory(prefix="wmkit-bench-") as folder:
        try:
            file, result = annotate_pixels(sequence.clip, config, Path(folder))
        except ClipError as error:
            return _failed(sequence, str(error))
        return _scored(sequence, config, file, result, peer)


def _given_cues(limits: SequenceLimits, video: VideoConfig) -> tuple[ScaleConfig, ...]:
    """The cues a user would name: what the limits file says is given."""
    height = None if limits.camera_height_m is None else repr(limits.camera_height_m)
    return cues_of_flags(ScaleFlags(sidecars="auto" if limits.sidecars else "none", camera_height=height), video)


def _scored(
    sequence: _Sequence, config: AnnotateConfig, file: ClipFile, result: AnnotateResult, peer: str | None
) -> SequenceResult:
    annotation = result.annotation
    names: tuple[str, ...] = ()
    if file.images:  # an image that does not decode leaves its time slot empty
        slot = np.rint(annotation.view.pts_s * config.video.image_fps).astype(int)
        names = tuple(file.images[index] for index in slot)
    try:
        truth = match(sequence.reference, names, annotation)
    except InputError as error:  # the other sequences still count
        return _failed(sequence, str(error))
    estimate = Estimate(
        frames=len(annotation.view),
        source_size=(annotation.clip.width, annotation.clip.height),
        trajectory=annotation.trajectory,
        reason=annotation.no_trajectory.reason if annotation.no_trajectory else "",
        intrinsics=source_cameras(annotation),
        scale=annotation.scale,
    )
    engines = [
        EngineResult(
            engine=f"wmkit {config.pose.name}",
            estimate=estimate,
            score=score(estimate, truth),
            core_seconds=result.timings,
            digest=_digest(estimate),
        )
    ]
    if peer is not None:
        run = run_peer(peer, open_source(file, config.video))
        title = f"{run.name} {run.version}"
        figures = score(run.estimate, truth)
        engines.append(
            EngineResult(
                engine=title,
                estimate=run.estimate,
                score=figures,
                core_seconds=run.timings,
                digest=_digest(run.estimate),
            )
        )
    ratio = estimate.posed / estimate.frames
    checks = ()
    if sequence.limits is not None:
        cost = engines[0].cost(engines[1] if len(engines) > 1 else None)
        checks = judge(sequence.name, sequence.limits, ratio, engines[0].score, cost)
    return SequenceResult(
        name=sequence.name,
        clip=sequence.clip.name,
        reference=sequence.reference.files,
        engines=tuple(engines),
        checks=checks,
    )


def _failed(sequence: _Sequence, error: str) -> SequenceResult:
    checks = ()
    if sequence.limits is not None:
        checks = judge(sequence.name, sequence.limits, 0.0, Score(metrics={}, unmeasured={}))
    return SequenceResult(
        name=sequence.name,
        clip=sequence.clip.name,
        reference=sequence.reference.files,
        engines=(),
        checks=checks,
        error=error,
    )


def source_cameras(annotation: Annotation) -> tuple[Intrinsics, ...]:
    """What the reference's K speaks of: the camera that took the pictures, not the pinhole they are delivered in."""
    lens = annotation.view.lens
    return annotation.intrinsics if lens is None else (lens.undistorted_core,) * len(annotation.intrinsics)


def _digest(estimate: Estimate) -> str | None:
    """sha256 of the trajectory's and cameras' bytes: equal on two runs iff they found the very same."""
    if estimate.trajectory is None:
        return None
    rows = np.array([row.row for row in estimate.intrinsics])
    poses = estimate.trajectory.world_from_cam
    return hashlib.sha256(np.where(np.isnan(poses), 0.0, poses).tobytes() + rows.tobytes()).hexdigest()


def _append(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InputError(f"--out: expected a writable file at {path}, got: {error.strerror}") from error
