"""Filters measure one value of a clip each and decide nothing; what passes is the thresholds file's business.

A new filter is one file with a frozen config, its line in a tuple below, and a test.
"""

from wmkit.annotate.filters.acceleration import AccelerationConfig
from wmkit.annotate.filters.ai_generated import AiGeneratedConfig
from wmkit.annotate.filters.blank_share import BlankShareConfig
from wmkit.annotate.filters.blur import BlurConfig
from wmkit.annotate.filters.camera_words import CameraWordsConfig
from wmkit.annotate.filters.corrupt_share import CorruptShareConfig
from wmkit.annotate.filters.cross_fade import CrossFadeConfig
from wmkit.annotate.filters.duplicate_share import DuplicateShareConfig
from wmkit.annotate.filters.exposure_jump import ExposureJumpConfig
from wmkit.annotate.filters.flow_magnitude import FlowMagnitudeConfig
from wmkit.annotate.filters.focal_divergence import FocalDivergenceConfig
from wmkit.annotate.filters.fov import FovXConfig, FovYConfig
from wmkit.annotate.filters.frame_rate_jitter import FrameRateJitterConfig
from wmkit.annotate.filters.frozen_s import FrozenSConfig
from wmkit.annotate.filters.hard_cut import HardCutConfig
from wmkit.annotate.filters.inlier_ratio import InlierRatioConfig
from wmkit.annotate.filters.jerk import JerkConfig
from wmkit.annotate.filters.letterbox_share import LetterboxShareConfig
from wmkit.annotate.filters.luminance import LuminanceConfig
from wmkit.annotate.filters.moving_share import MovingShareConfig
from wmkit.annotate.filters.overlay_share import OverlayShareConfig
from wmkit.annotate.filters.p_good import PGoodConfig
from wmkit.annotate.filters.parallax_deg import ParallaxDegConfig
from wmkit.annotate.filters.path_length import PathLengthConfig
from wmkit.annotate.filters.play_speed import PlaySpeedConfig
from wmkit.annotate.filters.posed_ratio import PosedRatioConfig
from wmkit.annotate.filters.prior_disagreement import PriorDisagreementConfig
from wmkit.annotate.filters.reprojection_px import ReprojectionPxConfig
from wmkit.annotate.filters.revisit_ratio import RevisitRatioConfig
from wmkit.annotate.filters.rotation_jerk import RotationJerkConfig
from wmkit.annotate.filters.rotation_speed import RotationSpeedConfig
from wmkit.annotate.filters.saturation import SaturationConfig
from wmkit.annotate.filters.scale_drift import ScaleDriftConfig
from wmkit.annotate.filters.scale_step import ScaleStepConfig
from wmkit.annotate.filters.scale_variation import ScaleVariationConfig
from wmkit.annotate.filters.static_camera import StaticCameraConfig
from wmkit.annotate.filters.time_gap import TimeGapConfig
from wmkit.annotate.filters.track_error_px import TrackErrorPxConfig
from wmkit.annotate.filters.translation_speed import TranslationSpeedConfig
from wmkit.annotate.filters.turning_share import TurningShareConfig
from wmkit.annotate.filters.vmaf_motion import VmafMotionConfig
from wmkit.annotate.filters.zoom_range import ZoomRangeConfig

__all__ = ["FILTERS", "FOOTAGE_FILTERS", "TRAJECTORY_FILTERS", "FilterUnion"]

FootageFilterUnion = (
    StaticCameraConfig
    | HardCutConfig
    | BlankShareConfig
    | BlurConfig
    | CorruptShareConfig
    | CrossFadeConfig
    | DuplicateShareConfig
    | ExposureJumpConfig
    | FlowMagnitudeConfig
    | FrameRateJitterConfig
    | FrozenSConfig
    | LetterboxShareConfig
    | LuminanceConfig
    | SaturationConfig
    | TimeGapConfig
    | VmafMotionConfig
    | AiGeneratedConfig
    | OverlayShareConfig
    | PlaySpeedConfig
)
TrajectoryFilterUnion = (
    FovXConfig
    | FovYConfig
    | FocalDivergenceConfig
    | PosedRatioConfig
    | ReprojectionPxConfig
    | TranslationSpeedConfig
    | RotationSpeedConfig
    | PGoodConfig
    | PriorDisagreementConfig
    | MovingShareConfig
    | AccelerationConfig
    | InlierRatioConfig
    | TrackErrorPxConfig
    | JerkConfig
    | ParallaxDegConfig
    | PathLengthConfig
    | RevisitRatioConfig
    | RotationJerkConfig
    | ScaleDriftConfig
    | ScaleStepConfig
    | ScaleVariationConfig
    | ZoomRangeConfig
    | TurningShareConfig
    | CameraWordsConfig
)
FilterUnion = FootageFilterUnion | TrajectoryFilterUnion

FOOTAGE_FILTERS: tuple[FootageFilterUnion, ...] = (
    StaticCameraConfig(),
    HardCutConfig(),
    BlankShareConfig(),
    BlurConfig(),
    CorruptShareConfig(),
    CrossFadeConfig(),
    DuplicateShareConfig(),
    ExposureJumpConfig(),
    FlowMagnitudeConfig(),
    FrameRateJitterConfig(),
    FrozenSConfig(),
    LetterboxShareConfig(),
    LuminanceConfig(),
    SaturationConfig(),
    TimeGapConfig(),
    VmafMotionConfig(),
    AiGeneratedConfig(),
    OverlayShareConfig(),
    PlaySpeedConfig(),
)
TRAJECTORY_FILTERS: tuple[TrajectoryFilterUnion, ...] = (
    FovXConfig(),
    FovYConfig(),
    FocalDivergenceConfig(),
    PosedRatioConfig(),
    ReprojectionPxConfig(),
    TranslationSpeedConfig(),
    RotationSpeedConfig(),
    PGoodConfig(),
    PriorDisagreementConfig(),
    MovingShareConfig(),
    AccelerationConfig(),
    InlierRatioConfig(),
    TrackErrorPxConfig(),
    JerkConfig(),
    ParallaxDegConfig(),
    PathLengthConfig(),
    RevisitRatioConfig(),
    RotationJerkConfig(),
    ScaleDriftConfig(),
    ScaleStepConfig(),
    ScaleVariationConfig(),
    ZoomRangeConfig(),
    TurningShareConfig(),
    CameraWordsConfig(),
)
FILTERS: tuple[FilterUnion, ...] = (*FOOTAGE_FILTERS, *TRAJECTORY_FILTERS)
