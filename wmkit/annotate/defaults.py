"""What `wmkit annotate` does unless told otherwise; the demo and the benchmark annotate by the same lines."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Literal

from wmkit.annotate.depth import DepthUnion, PlaneSweepConfig
from wmkit.annotate.depth.fusion import named_fusion
from wmkit.annotate.depth.network import named_depth_model
from wmkit.annotate.filters import FOOTAGE_FILTERS, TRAJECTORY_FILTERS
from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.annotate.pose import CommandConfig, TrackSfmConfig
from wmkit.annotate.pose.command import program_hash
from wmkit.annotate.pose.given import given_config
from wmkit.annotate.priors import PriorConfig
from wmkit.annotate.protocols import CaptionConfig, DepthConfig, PoseConfig, ScaleConfig
from wmkit.annotate.scale import CameraHeightConfig, ScaleFactorConfig
from wmkit.annotate.weights import fetched
from wmkit.errors import InputError
from wmkit.video import VideoConfig

__all__ = ["DepthFrames", "default_config", "depth_backend", "pose_backend", "scale_cues"]

DepthFrames = Literal["keyframes", "all", "none"]
KEYFRAME_DEPTH = PlaneSweepConfig()
MIN_DEPTH_SIDE = 32  # px


def default_config(
    *,
    video: VideoConfig = VideoConfig(),
    depth: DepthConfig | None = KEYFRAME_DEPTH,
    scale: tuple[ScaleConfig, ...] = (),
    seed: int = 0,
    pose: PoseConfig | None = None,
    prior: PriorConfig = PriorConfig(),
    caption: CaptionConfig | None = None,
    stop_after: Literal["footage"] | None = None,
) -> AnnotateConfig:
    """Track-based pose unless `pose` is given, plane-sweep depth of keyframes unless `depth` is, and every filter."""
    return AnnotateConfig(
        video=video,
        pose=pose or TrackSfmConfig(),
        depth=depth,
        scale=scale,
        footage_filters=FOOTAGE_FILTERS,
        trajectory_filters=TRAJECTORY_FILTERS,
        seed=seed,
        prior=prior,
        caption=caption,
        stop_after=stop_after,
    )


def depth_backend(frames: DepthFrames, max_side: int, model: Path | None, anchor: Path | None) -> DepthUnion | None:
    """What `--depth`, `--depth-max-side`, `--depth-model` and `--depth-anchor` ask for; None: no depth.

    InputError for a side below 32 px, weights that are not here, or a network without depth or structure.
    """
    if max_side < MIN_DEPTH_SIDE:
        raise InputError(f"--depth-max-side: expected at least {MIN_DEPTH_SIDE} px, got {max_side}")
    if anchor is not None and model is None:
        raise InputError("--depth-anchor: expected a --depth-model that it anchors, got none")
    if frames == "none":
        if model is not None:
            raise InputError("--depth-model: expected --depth keyframes or all, got none; drop one of the two")
        return None
    most = None if frames == "all" else KEYFRAME_DEPTH.max_frames
    if model is None:
        return PlaneSweepConfig(max_side=max_side, max_frames=most)
    structure = named_depth_model(model, max_side, most)
    return structure if anchor is None else named_fusion(structure, anchor)


def pose_backend(*, poses: str | None, command: str | None, weights: str | None, timeout_s: float) -> PoseConfig | None:
    """What `--poses`, `--pose-command` and `--pose-weights` ask for; None: the default backend.

    A command may take nine tenths of the clip's time. InputError for a missing file, unknown weights, or flags that
    exclude each other.
    """
    if poses is not None and command is not None:
        raise InputError("--poses and --pose-command: expected one of the two, got both")
    if weights is not None and command is None:
        raise InputError("--pose-weights: expected a --pose-command that reads them, got none")
    if poses is not None:
        return given_config(poses)
    if command is None:
        return None
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        message = f"expected a command as a shell splits it, got {command!r} ({error}); check its quotes"
        raise InputError(f"--pose-command: {message}") from error
    config = CommandConfig(argv=argv, program_hash=program_hash(argv), timeout_s=0.9 * timeout_s)
    if weights is None:
        return config
    found = fetched(weights)
    return replace(config, weights=found.path, weights_hash=found.sha256, weights_licence=found.licence)


def scale_cues(*, camera_height_m: float | None, factor: float | None) -> tuple[ScaleConfig, ...]:
    """The cues a user can give as numbers; none of them given means none, and a trajectory up to scale.

    Raises InputError for a number that is not positive and finite.
    """
    cues: list[ScaleConfig] = []
    if camera_height_m is not None:
        cues.append(CameraHeightConfig(height_m=camera_height_m))
    if factor is not None:
        cues.append(ScaleFactorConfig(factor=factor))
    return tuple(cues)
