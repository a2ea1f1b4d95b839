"""What `wmkit annotate` does unless told otherwise; the demo and the benchmark annotate by the same lines."""

from wmkit.annotate.depth import PlaneSweepConfig
from wmkit.annotate.filters import FOOTAGE_FILTERS, TRAJECTORY_FILTERS
from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.annotate.pose import TrackSfmConfig
from wmkit.annotate.protocols import ScaleConfig
from wmkit.annotate.scale import CameraHeightConfig, ScaleFactorConfig
from wmkit.video import VideoConfig

__all__ = ["default_config", "scale_cues"]


def default_config(
    *,
    video: VideoConfig = VideoConfig(),
    depth: bool = True,
    scale: tuple[ScaleConfig, ...] = (),
    seed: int = 0,
) -> AnnotateConfig:
    """Track-based pose, plane-sweep depth of keyframes (unless `depth` is false), every filter, the cues given."""
    return AnnotateConfig(
        video=video,
        pose=TrackSfmConfig(),
        depth=PlaneSweepConfig() if depth else None,
        scale=scale,
        footage_filters=FOOTAGE_FILTERS,
        trajectory_filters=TRAJECTORY_FILTERS,
        seed=seed,
    )


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
