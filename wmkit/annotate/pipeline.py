"""`annotate_clip`: one clip in, one Annotation out. Pure: it writes nothing, knows no corpus, worker or threshold."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from wmkit import __version__
from wmkit.annotate.captions.given import GivenCaptionConfig
from wmkit.annotate.clip_facts import ClipFacts
from wmkit.annotate.confidence import NO_CALIBRATION, ConfidenceConfig
from wmkit.annotate.priors import PriorConfig, clip_prior
from wmkit.annotate.protocols import (
    UNHASHED,
    CaptionConfig,
    DepthConfig,
    FootageFilterConfig,
    PluginConfig,
    PoseConfig,
    PoseEstimate,
    ScaleConfig,
    TrajectoryFilterConfig,
    Unmeasured,
)
from wmkit.annotate.scale.fuse import fuse_votes
from wmkit.annotate.scale.played import play_verdicts
from wmkit.camera import ScaleVote
from wmkit.clip import Absence, Annotation, BackendRecord, NoTrajectory, Provenance, Verdict
from wmkit.corpus import config_hash_of_clip
from wmkit.telemetry import Sidecars, read_telemetry
from wmkit.video import ClipFile, FrameSource, VideoConfig, open_source, undistorted
from wmkit.video.picture import pictures

__all__ = [
    "DISAGREEMENT",
    "AnnotateConfig",
    "AnnotateResult",
    "StageClock",
    "annotate_clip",
    "config_dict",
    "config_hash",
    "config_of_clip",
]

STOPPED = "stopped_after_footage"
DISAGREEMENT = "scale_disagreement"  # the verdict of fusing the cues, in joint sigmas of the two worst


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateConfig:
    """Everything that decides an annotation's bytes besides the clip itself.

    footage_filters run before pose, trajectory_filters after scale; both in the order given. prior: what the pose
    backend may know of the camera beforehand. stop_after "footage": no pose is looked for, and every clip is a
    `NoTrajectory` of that reason.
    """

    video: VideoConfig
    pose: PoseConfig
    depth: DepthConfig | None
    scale: tuple[ScaleConfig, ...]
    footage_filters: tuple[FootageFilterConfig, ...]
    trajectory_filters: tuple[TrajectoryFilterConfig, ...]
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
    seed: int = 0
    prior: PriorConfig = PriorConfig()
    caption: CaptionConfig | None = None
    stop_after: Literal["footage"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateResult:
    """An annotation and what it cost: `timings` is CPU seconds of this process by stage."""

    annotation: Annotation
    timings: dict[str, float]


@dataclass(slots=True)
class StageClock:
    """Adds up the CPU seconds (all threads of this process) spent in each named stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the body to `name`, also when it raises."""
        start_s = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start_s

    def split(self, name: str, parts: dict[str, float]) -> None:
        """Charge `parts` of a stage that has ended to stages of their own, called name.part."""
        for part, seconds in parts.items():
            self.seconds[f"{name}.{part}"] = seconds
            self.seconds[name] -= seconds


def config_dict(config: object) -> object:
    """A frozen config as plain JSON values; each plug-in config also carries its class, so no two look alike.

    A field whose metadata says `UNHASHED` is left out.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        kept = (f.name for f in dataclasses.fields(config) if not f.metadata.get(UNHASHED))
        plain = {name: config_dict(getattr(config, name)) for name in kept}
        kind = type(config)
        return {"class": f"{kind.__module__}.{kind.__qualname__}", **plain}
    if isinstance(config, tuple | list):
        return [config_dict(item) for item in config]
    return config


def config_hash(config: AnnotateConfig) -> str:
    """32 hex digits of the sha256 of the config's canonical JSON."""
    text = json.dumps(config_dict(config), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def config_of_clip(config: AnnotateConfig, given: str) -> AnnotateConfig:
    """The run's config with what a manifest says of one clip: its camera speaks before the flags', its caption and
    camera height instead of theirs."""
    if not given:
        return config
    facts = ClipFacts.parse(given)
    prior = dataclasses.replace(config.prior, known=(*facts.cameras(), *config.prior.known))
    caption = config.caption if facts.caption is None else GivenCaptionConfig(text=facts.caption)
    return dataclasses.replace(config, prior=prior, caption=caption, scale=facts.scale_cues(config.scale))


def annotate_clip(
    file: ClipFile,
    config: AnnotateConfig,
    device: str = "cpu",
    first_pass: AbstractContextManager[None] = nullcontext(),  # noqa: B008 - it holds nothing
) -> AnnotateResult:
    """Decode, pose, scale, depth and filters of one clip; `no_trajectory` is an outcome, not an error.

    Where pose finds a lens, all that comes after works on undistorted frames, and the annotation tells of those.
    `first_pass` is held while the file is decoded for the first time, when nobody knows yet what it costs.
    Raises ClipError(stage, code) when the clip cannot be used.
    """
    clock, run = StageClock(), config
    config = config_of_clip(config, file.given)
    with clock.stage("decode"), first_pass:
        frames = open_source(file, config.video)
    verdicts = _seen(frames, config.footage_filters, device, clock)
    with clock.stage("pose"):
        prior = clip_prior(frames, config.prior)
        if config.stop_after == "footage":
            outcome = NoTrajectory(reason=STOPPED, detail="only the footage was measured, as was asked")
        else:
            outcome = config.pose.build(device).estimate(frames, config.seed, prior)
    if isinstance(outcome, PoseEstimate):
        clock.split("pose", dict(outcome.core_seconds))
    if isinstance(outcome, PoseEstimate) and outcome.lens is not None:  # from here on, everyone sees a pinhole
        frames = undistorted(frames, outcome.lens, outcome.intrinsics[0])
    annotation = Annotation(
        clip=frames.clip,
        view=frames.view,
        verdicts=tuple(verdicts),
        provenance=_provenance(file, config, config_hash_of_clip(config_hash(run), file.given)),
        prior=prior,
        **_pose_fields(outcome, config),  # pyright: ignore[reportArgumentType]
    )
    if isinstance(outcome, PoseEstimate):
        with clock.stage("scale"):
            annotation = _scaled(annotation, file, config.scale, device)
            annotation = _sensed(annotation, file, config.scale)
        annotation = _with_depth(annotation, frames, config.depth, device, clock)
        annotation = _with_caption(annotation, frames, file, config.caption, device, clock)
    with clock.stage("filter.trajectory"):
        measured = [item.build(device).measure(annotation) for item in config.trajectory_filters]
    annotation = dataclasses.replace(annotation, verdicts=(*annotation.verdicts, *measured))
    return AnnotateResult(annotation=annotation, timings=clock.seconds)


def _seen(
    frames: FrameSource, configs: tuple[FootageFilterConfig, ...], device: str, clock: StageClock
) -> list[Verdict]:
    """What the footage filters say after one pass over the frames; decoding for it is a stage of its own."""
    filters = [(f"filter.{config.name}", config.build(device)) for config in configs]
    shown = pictures(frames) if filters else iter(())
    while True:
        with clock.stage("filter.decode"):
            picture = next(shown, None)
        if picture is None:
            break
        for stage, item in filters:
            with clock.stage(stage):
                item.see(picture)
    verdicts = []
    for stage, item in filters:
        with clock.stage(stage):
            verdicts.append(item.verdict(frames.facts))
    return verdicts


def _pose_fields(outcome: PoseEstimate | NoTrajectory, config: AnnotateConfig) -> dict:
    if isinstance(outcome, NoTrajectory):
        return {"no_trajectory": outcome}
    return {
        "trajectory": outcome.trajectory,
        "intrinsics": outcome.intrinsics,
        "points": outcome.points,
        "metric_hint_sigma_log": outcome.metric_hint_sigma_log,
        "depth": outcome.depth,
        "dynamic": outcome.dynamic,
        "confidence": config.confidence.build("cpu").judge(outcome.quality, config.pose.name),
    }


def _scaled(annotation: Annotation, file: ClipFile, cues: tuple[ScaleConfig, ...], device: str) -> Annotation:
    """Metric when a cue voted and the votes agree; otherwise UP_TO_SCALE, and the absences say why.

    The verdict `scale_disagreement` is there whenever a cue was asked for: of two votes or more, how far apart the
    two worst are.
    """
    if not cues:
        return annotation
    opinions = [(cue.name, cue.build(device).vote(annotation, file)) for cue in cues]
    absent = [Absence(part="scale", name=name, reason=o.reason) for name, o in opinions if isinstance(o, Unmeasured)]
    fusion = fuse_votes(tuple(vote for _, vote in opinions if isinstance(vote, ScaleVote)))
    absent += [Absence(part="scale", name=vote.cue, reason="outvoted: the others agree") for vote in fusion.outvoted]
    if fusion.problem:
        absent.append(Absence(part="scale", name="fusion", reason=fusion.problem))
    verdict = Verdict.unmeasured(DISAGREEMENT, "sigma", "fewer_than_two_votes")
    if fusion.disagreement is not None:
        verdict = Verdict.measured(DISAGREEMENT, fusion.disagreement, "sigma")
    annotation = dataclasses.replace(
        annotation, absences=(*annotation.absences, *absent), verdicts=(*annotation.verdicts, verdict)
    )
    return annotation if fusion.estimate is None else annotation.to_metric(fusion.estimate)


def _sensed(annotation: Annotation, file: ClipFile, cues: tuple[ScaleConfig, ...]) -> Annotation:
    """What the cues read besides the pixels, for the provenance, and how the clip was played, where gravity tells."""
    assert annotation.trajectory is not None
    named = {sidecars for cue in cues if isinstance(sidecars := getattr(cue, "sidecars", None), Sidecars)}
    first_pts_s = annotation.clip.span_s[0]
    found = [read_telemetry(file, annotation.view, first_pts_s, sidecars) for sidecars in named]
    records = tuple(sorted({r for item in found for r in item.records}, key=lambda record: (record.kind, record.name)))
    gravity = next((item.gravity for item in found if item.gravity is not None), None)
    return dataclasses.replace(
        annotation,
        provenance=dataclasses.replace(annotation.provenance, sidecars=records),
        verdicts=(*annotation.verdicts, *play_verdicts(annotation.trajectory, gravity)),
    )


def _with_depth(
    annotation: Annotation, frames: FrameSource, config: DepthConfig | None, device: str, clock: StageClock
) -> Annotation:
    if config is None or annotation.depth is not None:
        return annotation
    with clock.stage("depth"):
        depth = config.build(device).estimate(frames, annotation)
    if isinstance(depth, Unmeasured):
        absent = Absence(part="depth", name=config.name, reason=depth.reason)
        return dataclasses.replace(annotation, absences=(*annotation.absences, absent))
    return dataclasses.replace(annotation, depth=depth)


def _with_caption(
    annotation: Annotation,
    frames: FrameSource,
    file: ClipFile,
    config: CaptionConfig | None,
    device: str,
    clock: StageClock,
) -> Annotation:
    if config is None:
        return annotation
    with clock.stage("caption"):
        caption = config.build(device).caption(annotation, frames, file)
    if isinstance(caption, Unmeasured):
        absent = Absence(part="caption", name=config.name, reason=caption.reason)
        return dataclasses.replace(annotation, absences=(*annotation.absences, absent))
    return dataclasses.replace(annotation, caption=caption)


def _provenance(file: ClipFile, config: AnnotateConfig, digest: str) -> Provenance:
    parts = [("pose", config.pose), ("depth", config.depth), ("caption", config.caption)]
    parts += [("scale", cue) for cue in config.scale]
    if config.stop_after == "footage":
        parts = []  # none of these ran
    parts += [("filter", item) for item in (*config.footage_filters, *config.trajectory_filters)]
    records = [_backend(part, plugin) for part, plugin in parts if plugin is not None]
    judge = config.confidence
    if judge.calibration != NO_CALIBRATION and config.stop_after is None:
        records.append(
            BackendRecord(
                part="confidence",
                name=judge.name,
                version=__version__,
                licence=judge.licence,
                weights_hash=judge.calibration,
            )
        )
    return Provenance(
        tool_version=__version__,
        config_hash=digest,
        input_hash=file.content_hash,
        seed=config.seed,
        backends=tuple(records),
    )


def _backend(part: str, plugin: PluginConfig) -> BackendRecord:
    """The record of a plug-in; one with weights is under their licence, not its own."""
    weights_hash = getattr(plugin, "weights_hash", None)
    licence = getattr(plugin, "weights_licence", None) or plugin.licence
    return BackendRecord(part=part, name=plugin.name, version=__version__, licence=licence, weights_hash=weights_hash)
