"""Depth: each part estimates z-depth of some frames of a posed clip, in the trajectory's own unit."""

from wmkit.annotate.depth.plane_sweep import PlaneSweepConfig

__all__ = ["DEPTHS", "DepthUnion", "PlaneSweepConfig"]

DepthUnion = PlaneSweepConfig

DEPTHS: dict[str, DepthUnion] = {PlaneSweepConfig.name: PlaneSweepConfig()}
