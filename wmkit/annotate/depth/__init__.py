"""Depth: each part estimates z-depth of some frames of a posed clip, in the trajectory's own unit."""

from wmkit.annotate.depth.fusion import FusedDepthConfig
from wmkit.annotate.depth.network import NetworkDepthConfig
from wmkit.annotate.depth.plane_sweep import PlaneSweepConfig

__all__ = ["DEPTHS", "DepthUnion", "FusedDepthConfig", "NetworkDepthConfig", "PlaneSweepConfig"]

DepthUnion = PlaneSweepConfig | NetworkDepthConfig | FusedDepthConfig

DEPTHS: dict[str, PlaneSweepConfig] = {PlaneSweepConfig.name: PlaneSweepConfig()}  # those that need no weights
