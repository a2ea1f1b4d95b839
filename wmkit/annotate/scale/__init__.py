"""Scale cues: each votes for the metres in one trajectory unit; `fuse` makes one estimate of the votes.

Both cues need a number only the user has, so the command line builds them from `--camera-height M` and
`--scale FACTOR`; without a cue a trajectory stays UP_TO_SCALE.
"""

from wmkit.annotate.scale.camera_height import CameraHeightConfig
from wmkit.annotate.scale.factor import ScaleFactorConfig
from wmkit.annotate.scale.fuse import fuse

__all__ = ["SCALES", "CameraHeightConfig", "ScaleFactorConfig", "ScaleUnion", "fuse"]

ScaleUnion = CameraHeightConfig | ScaleFactorConfig

SCALES: dict[str, type[CameraHeightConfig] | type[ScaleFactorConfig]] = {
    CameraHeightConfig.name: CameraHeightConfig,
    ScaleFactorConfig.name: ScaleFactorConfig,
}
