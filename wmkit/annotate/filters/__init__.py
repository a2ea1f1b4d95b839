"""Filters measure one value of a clip each and decide nothing; what passes is the thresholds file's business.

A new filter is one file with a frozen config, its line in a tuple below, and a test.
"""

from wmkit.annotate.filters.focal_divergence import FocalDivergenceConfig
from wmkit.annotate.filters.fov import FovXConfig, FovYConfig
from wmkit.annotate.filters.hard_cut import HardCutConfig
from wmkit.annotate.filters.p_good import PGoodConfig
from wmkit.annotate.filters.posed_ratio import PosedRatioConfig
from wmkit.annotate.filters.prior_disagreement import PriorDisagreementConfig
from wmkit.annotate.filters.reprojection_px import ReprojectionPxConfig
from wmkit.annotate.filters.rotation_speed import RotationSpeedConfig
from wmkit.annotate.filters.static_camera import StaticCameraConfig
from wmkit.annotate.filters.translation_speed import TranslationSpeedConfig

__all__ = ["FILTERS", "FOOTAGE_FILTERS", "TRAJECTORY_FILTERS", "FilterUnion"]

FootageFilterUnion = StaticCameraConfig | HardCutConfig
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
)
FilterUnion = FootageFilterUnion | TrajectoryFilterUnion

FOOTAGE_FILTERS: tuple[FootageFilterUnion, ...] = (StaticCameraConfig(), HardCutConfig())
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
)
FILTERS: tuple[FilterUnion, ...] = (*FOOTAGE_FILTERS, *TRAJECTORY_FILTERS)
