"""`annotate_clip`: one clip in, one Annotation out. Pure: it writes nothing, knows no corpus, worker or threshold."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
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
    on_gpu,
)
from wmkit.annotate.scale.fuse import fuse_votes
from wmkit.annotate.scale.played import play_verdicts
from wmkit.camera import ScaleVote
from wmkit.clip import Absence, Annotation, BackendRecord, NoTrajectory, Provenance, Verdict
from wmkit.corpus import config_hash_of_clip
from wmkit.telemetry import Sidecars, read_telemetry
from wmkit.video import ClipFile, FrameSource, VideoConfig, open_source, open_view, undistorted
from wmkit.video.picture import pictures

__all__ = [
    "DISAGREEMENT",
    "STAGES",
    "AnnotateConfig",
    "AnnotateResult",
    "ClipWork",
    "Stage",
    "StageClock",
    "annotate_clip",
    "config_dict",
    "config_hash",
    "config_of_clip",
    "stage_on_gpu",
]

Stage = Literal["footage", "pose", "scale", "depth", "caption", "measures"]
STAGES: tuple[Stage, ...] = ("footage", "pose", "scale", "depth", "caption", "measures")

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
    work = ClipWork(file, config)
    while work.to_do:
        work.run_next(device, first_pass)
    return work.result()


class ClipWork:
    """One clip on its way through the stages, one after the other, in one process or handed from one to another.

    to_do       stages that are left, the next one first.
    verdicts    of the footage.
    annotation  None before pose.
    timings     see `AnnotateResult`.
    """

    def __init__(
        self,
        file: ClipFile,
        config: AnnotateConfig,
        to_do: Sequence[Stage] = STAGES,
        verdicts: Sequence[Verdict] = (),
        annotation: Annotation | None = None,
        timings: Mapping[str, float] | None = None,
    ) -> None:
        """A clip that nothing was done for yet, or one of which all but `to_do` was done elsewhere."""
        self.file, self.annotation = file, annotation
        self.to_do: tuple[Stage, ...] = tuple(to_do)
        self.verdicts: tuple[Verdict, ...] = tuple(verdicts)
        self._run, self._config = config, config_of_clip(config, file.given)
        self._clock = StageClock(dict(timings or {}))
        self._source: FrameSource | None = None

    @property
    def timings(self) -> dict[str, float]:
        """CPU seconds by stage so far."""
        return self._clock.seconds

    def next_on_gpu(self) -> bool | None:
        """Whether the next stage is for a worker with a GPU, see `stage_on_gpu`."""
        return stage_on_gpu(self.to_do[0], self._config)

    def run_next(self, device: str, first_pass: AbstractContextManager[None] = nullcontext()) -> None:  # noqa: B008
        """Do the next stage, networks on `device`; a clip that turns out to have no trajectory skips what needs one."""
        stage, rest = self.to_do[0], self.to_do[1:]
        match stage:
            case "footage":
                with self._clock.stage("decode"), first_pass:
                    self._source = open_source(self.file, self._config.video)
                self.verdicts = tuple(_seen(self._frames(), self._config.footage_filters, device, self._clock))
            case "pose":
                self.annotation = self._posed(device)
                if self.annotation.trajectory is None:
                    rest = rest[-1:]
            case "scale":
                with self._clock.stage("scale"):
                    scaled = _scaled(self._annotation(), self.file, self._config.scale, device)
                    self.annotation = _sensed(scaled, self.file, self._config.scale)
            case "depth":
                if self._config.depth is not None:
                    self.annotation = _with_depth(
                        self._annotation(), self._frames(), self._config.depth, device, self._clock
                    )
            case "caption":
                self._caption(device)
            case "measures":
                self.annotation = self._measured(device)
        self.to_do = rest

    def result(self) -> AnnotateResult:
        """What has become of the clip, once nothing is left to do."""
        return AnnotateResult(annotation=self._annotation(), timings=self._clock.seconds)

    def _annotation(self) -> Annotation:
        if self.annotation is None:
            raise AssertionError(f"{self.file.name}: pose comes before {self.to_do[:1]}")
        return self.annotation

    def _frames(self) -> FrameSource:
        """The clip's frames; those that its annotation tells of, opened again where another process made it."""
        if self._source is None:
            with self._clock.stage("decode"):
                video, annotation = self._config.video, self.annotation
                self._source = (
                    open_source(self.file, video)
                    if annotation is None
                    else open_view(self.file, video, annotation.view)
                )
        return self._source

    def _posed(self, device: str) -> Annotation:
        config, frames = self._config, self._frames()
        with self._clock.stage("pose"):
            prior = clip_prior(frames, config.prior)
            if config.stop_after == "footage":
                outcome = NoTrajectory(reason=STOPPED, detail="only the footage was measured, as was asked")
            else:
                outcome = config.pose.build(device).estimate(frames, config.seed, prior)
        if isinstance(outcome, PoseEstimate):
            self._clock.split("pose", dict(outcome.core_seconds))
            if outcome.lens is not None:  # from here on, everyone sees a pinhole
                frames = self._source = undistorted(frames, outcome.lens, outcome.intrinsics[0])
        digest = config_hash_of_clip(config_hash(self._run), self.file.given)
        return Annotation(
            clip=frames.clip,
            view=frames.view,
            verdicts=self.verdicts,
            provenance=_provenance(self.file, config, digest),
            prior=prior,
            **_pose_fields(outcome, config),  # pyright: ignore[reportArgumentType]
        )

    def _caption(self, device: str) -> None:
        config = self._config.caption
        if config is not None:
            frames, annotation = self._frames(), self._annotation()
            self.annotation = _with_caption(annotation, frames, self.file, config, device, self._clock)

    def _measured(self, device: str) -> Annotation:
        annotation = self._annotation()
        with self._clock.stage("filter.trajectory"):
            measured = [item.build(device).measure(annotation) for item in self._config.trajectory_filters]
        return dataclasses.replace(annotation, verdicts=(*annotation.verdicts, *measured))


def stage_on_gpu(stage: Stage, config: AnnotateConfig) -> bool | None:
    """Whether a stage is for a worker with a GPU, or for one without; None when it costs too little to be moved."""
    match stage:
        case "footage":
            return False
        case "pose":
            return on_gpu(config.pose)
        case "scale":
            return True if any(on_gpu(cue) for cue in config.scale) else None
        case "depth":
            return None if config.depth is None else on_gpu(config.depth)
        case "caption":
            return True if config.caption is not None and on_gpu(config.caption) else None
        case "measures":
            return None


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
    annotation: Annotation, frames: FrameSource, config: DepthConfig, device: str, clock: StageClock
) -> Annotation:
    if annotation.depth is not None:
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
    config: CaptionConfig,
    device: str,
    clock: StageClock,
) -> Annotation:
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
