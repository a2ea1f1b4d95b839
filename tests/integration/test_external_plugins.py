"""A dummy of each kind of plug-in, defined here and not in the package, runs through `annotate_clip` end to end."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from wmkit.annotate.pipeline import AnnotateConfig, annotate_clip, config_dict, config_hash
from wmkit.annotate.protocols import PoseEstimate, Unmeasured
from wmkit.annotate.scale import GpsConfig
from wmkit.camera import CameraPrior, Intrinsics, ScaleKind, ScaleVote, Trajectory
from wmkit.caption import Caption
from wmkit.clip import Annotation, DepthMap, MeasureState, NoTrajectory, Points, SidecarRecord, Verdict
from wmkit.telemetry import Sidecars
from wmkit.video import ClipFile, VideoConfig, discover, identify
from wmkit.video.frames import DecodeFacts, FrameSource
from wmkit.video.picture import Picture

FRAMES, WIDTH, HEIGHT = 5, 48, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePose:
    step: float
    gives_up: bool = False
    name: ClassVar[str] = "test_slide"
    licence: ClassVar[str] = "MIT"

    def build(self, device: str) -> "SlidePose":
        return self

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        if self.gives_up:
            return NoTrajectory(reason="too_dull", detail="a dummy that was told to")
        count = len(frames.view)
        world_from_cam = np.tile(np.eye(4), (count, 1, 1))
        world_from_cam[:, 0, 3] = self.step * np.arange(count)
        camera = Intrinsics.from_fov(60.0, frames.view.width, frames.view.height)
        return PoseEstimate(
            trajectory=Trajectory(
                world_from_cam=world_from_cam,
                time_s=frames.view.time_s,
                posed=np.ones(count, dtype=np.bool_),
                scale=ScaleKind.UP_TO_SCALE,
            ),
            intrinsics=(camera,) * count,
            points=Points(
                xyz=np.array([[0.0, 0.0, 1.0]]),
                rgb=np.zeros((1, 3), dtype=np.uint8),
                error_px=np.zeros(1, dtype=np.float32),
                track_length=np.full(1, count, dtype=np.int32),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatDepth:
    z: float
    name: ClassVar[str] = "test_flat"
    licence: ClassVar[str] = "MIT"

    def build(self, device: str) -> "FlatDepth":
        return self

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        assert annotation.trajectory is not None
        z = np.full((1, frames.view.height, frames.view.width), self.z, dtype=np.float32)
        return DepthMap(frame=np.array([0]), z=z, valid=z > 0, scale=annotation.trajectory.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class RulerCue:
    metres: float | None
    name: ClassVar[str] = "test_ruler"
    licence: ClassVar[str] = "MIT"

    def build(self, device: str) -> "RulerCue":
        return self

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        if self.metres is None:
            return Unmeasured(reason="no_ruler")
        return ScaleVote(cue=self.name, value=self.metres, sigma_log=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRed:
    name: ClassVar[str] = "test_mean_red"
    licence: ClassVar[str] = "MIT"

    def build(self, device: str) -> "_MeanRed":
        return _MeanRed(self)


class _MeanRed:
    def __init__(self, config: MeanRed) -> None:
        self.config = config
        self.red: list[float] = []

    def see(self, picture: Picture) -> None:
        self.red.append(float(picture.rgb[..., 0].mean()))

    def verdict(self, facts: DecodeFacts) -> Verdict:
        return Verdict.measured(self.config.name, float(np.mean(self.red)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathLength:
    name: ClassVar[str] = "test_path_length"
    licence: ClassVar[str] = "MIT"

    def build(self, device: str) -> "PathLength":
        return self

    def measure(self, annotation: Annotation) -> Verdict:
        if annotation.trajectory is None:
            return Verdict.unmeasured(self.name, "", "no_trajectory")
        return Verdict.measured(self.name, annotation.trajectory.path_length, annotation.trajectory.scale.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathNamer:
    """A captioner: what the file is called, or nothing."""

    quiet: bool = False
    name: ClassVar[str] = "test_path_namer"
    licence: ClassVar[str] = "CC0-1.0"

    def build(self, device: str) -> "PathNamer":
        return self

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption | Unmeasured:
        return (
            Unmeasured(reason="quiet") if self.quiet else Caption.of(f"A clip\nof {len(frames.view)} frames.", "name")
        )


@pytest.fixture
def clip(tmp_path: Path) -> ClipFile:
    for index in range(FRAMES):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * index, 0, 0)).save(tmp_path / f"{index:03d}.png")
    (found,) = discover([tmp_path]).clips
    return identify(found)


def config_of(metres: float | None = 3.0, gives_up: bool = False) -> AnnotateConfig:
    return AnnotateConfig(
        video=VideoConfig(),
        pose=SlidePose(step=0.5, gives_up=gives_up),
        depth=FlatDepth(z=6.0),
        scale=(RulerCue(metres=metres),),
        footage_filters=(MeanRed(),),
        trajectory_filters=(PathLength(),),
    )


def test_every_kind_runs_end_to_end(clip: ClipFile) -> None:
    annotation = annotate_clip(clip, config_of()).annotation
    assert annotation.trajectory is not None
    assert annotation.trajectory.scale is ScaleKind.METRIC
    # Four steps of 0.5 units of 3 m each; the mean of 0, 40, 80, 120, 160 is 80: exact in float64.
    assert annotation.verdict("test_path_length").value == pytest.approx(6.0, rel=1e-12)
    assert annotation.verdict("test_path_length").unit == "metric"
    assert annotation.verdict("test_mean_red").value == pytest.approx(80.0, rel=1e-12)
    assert annotation.depth is not None
    assert annotation.depth.scale is ScaleKind.METRIC
    assert annotation.depth.z.max() == 6.0  # depth runs after the scale and answers in its unit
    assert [(record.part, record.name, record.licence) for record in annotation.provenance.backends] == [
        ("pose", "test_slide", "MIT"),
        ("depth", "test_flat", "MIT"),
        ("scale", "test_ruler", "MIT"),
        ("filter", "test_mean_red", "MIT"),
        ("filter", "test_path_length", "MIT"),
        ("confidence", "p_good", "Apache-2.0"),
    ]


def test_a_cue_that_cannot_vote_leaves_the_scale_unknown(clip: ClipFile) -> None:
    annotation = annotate_clip(clip, config_of(metres=None)).annotation
    assert annotation.trajectory is not None
    assert annotation.trajectory.scale is ScaleKind.UP_TO_SCALE
    assert annotation.scale is None
    assert annotation.verdict("test_path_length").value == pytest.approx(2.0, rel=1e-12)


def test_a_backend_that_gives_up_is_an_outcome(clip: ClipFile) -> None:
    annotation = annotate_clip(clip, config_of(gives_up=True)).annotation
    assert annotation.no_trajectory is not None
    assert annotation.no_trajectory.reason == "too_dull"
    assert annotation.depth is None
    assert annotation.verdict("test_mean_red").state is MeasureState.MEASURED
    assert annotation.verdict("test_path_length").state is MeasureState.UNMEASURED


def test_outside_configs_are_told_apart_by_class_and_value() -> None:
    assert config_hash(config_of()) != config_hash(config_of(metres=4.0))
    plain = config_dict(config_of())
    assert isinstance(plain, dict)
    assert plain["pose"]["class"].endswith("SlidePose")


def test_cues_that_contradict_leave_the_scale_unknown_and_say_so(clip: ClipFile) -> None:
    cues = (RulerCue(metres=3.0), RulerCue(metres=6.0))
    annotation = annotate_clip(clip, dataclasses.replace(config_of(), scale=cues)).annotation
    assert annotation.trajectory is not None
    assert annotation.trajectory.scale is ScaleKind.UP_TO_SCALE
    verdict = annotation.verdict("scale_disagreement")
    assert verdict.value == pytest.approx(np.log(2) / np.hypot(0.1, 0.1), rel=1e-12)
    (absence,) = annotation.absences
    assert (absence.part, absence.name) == ("scale", "fusion")
    assert absence.reason.startswith("cues_contradict: test_ruler 3")


def test_what_was_read_besides_the_pixels_is_in_the_provenance(clip: ClipFile) -> None:
    folder = Path(clip.path)
    track = folder.parent / f"{folder.name}.gps.csv"
    rows = "".join(f"{index / 16},{3 * index},0\n" for index in range(FRAMES))
    track.write_text("time_s,east_m,north_m\n" + rows)
    try:
        config = dataclasses.replace(config_of(), scale=(GpsConfig(sidecars=Sidecars()),))
        annotation = annotate_clip(clip, config).annotation
    finally:
        track.unlink()
    digest = hashlib.sha256(("time_s,east_m,north_m\n" + rows).encode()).hexdigest()
    assert annotation.provenance.sidecars == (SidecarRecord(name=track.name, kind="csv", sha256=digest),)
    assert annotate_clip(clip, config_of()).annotation.provenance.sidecars == ()


def test_a_captioner_runs_after_pose_and_says_when_it_has_nothing(clip: ClipFile) -> None:
    annotation = annotate_clip(clip, dataclasses.replace(config_of(), caption=PathNamer())).annotation
    assert annotation.caption == Caption(text=f"A clip of {FRAMES} frames.", source="name")
    assert ("caption", "test_path_namer") in {(item.part, item.name) for item in annotation.provenance.backends}
    annotation = annotate_clip(clip, dataclasses.replace(config_of(), caption=PathNamer(quiet=True))).annotation
    assert annotation.caption is None
    assert ("caption", "test_path_namer", "quiet") in {(a.part, a.name, a.reason) for a in annotation.absences}


def test_stopped_after_footage_nothing_but_footage_runs(clip: ClipFile) -> None:
    whole = dataclasses.replace(config_of(), caption=PathNamer())
    short = dataclasses.replace(whole, stop_after="footage")
    assert config_hash(short) != config_hash(whole)
    result = annotate_clip(clip, short)
    annotation = result.annotation
    assert annotation.no_trajectory is not None
    assert annotation.no_trajectory.reason == "stopped_after_footage"
    # as measured without it, and what came after is UNMEASURED for that reason
    assert annotation.verdicts[0] == annotate_clip(clip, whole).annotation.verdicts[0]
    assert annotation.verdict("test_path_length").state is MeasureState.UNMEASURED
    assert {item.part for item in annotation.provenance.backends} == {"filter"}
    assert annotation.caption is None
