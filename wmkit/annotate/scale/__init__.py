"""Scale cues: each votes for the metres in one trajectory unit; `fuse_votes` makes one estimate of the votes.

Every cue needs something the user named, a flag or `--sidecars`, so the command line builds them
(`wmkit.annotate.scale_flags`); without a cue a trajectory stays UP_TO_SCALE.
"""

from wmkit.annotate.scale.baseline import BaselineConfig
from wmkit.annotate.scale.camera_height import CameraHeightConfig
from wmkit.annotate.scale.depth_network import DepthNetworkConfig
from wmkit.annotate.scale.factor import ScaleFactorConfig
from wmkit.annotate.scale.fuse import Fusion, fuse, fuse_votes
from wmkit.annotate.scale.given import GivenPosesConfig
from wmkit.annotate.scale.gps import GpsConfig
from wmkit.annotate.scale.object_length import ObjectLengthConfig

__all__ = [
    "SCALES",
    "BaselineConfig",
    "CameraHeightConfig",
    "DepthNetworkConfig",
    "Fusion",
    "GivenPosesConfig",
    "GpsConfig",
    "ObjectLengthConfig",
    "ScaleFactorConfig",
    "ScaleUnion",
    "fuse",
    "fuse_votes",
]

ScaleUnion = (
    BaselineConfig
    | CameraHeightConfig
    | DepthNetworkConfig
    | GivenPosesConfig
    | GpsConfig
    | ObjectLengthConfig
    | ScaleFactorConfig
)

SCALES: dict[str, type[ScaleUnion]] = {
    kind.name: kind
    for kind in (
        BaselineConfig,
        CameraHeightConfig,
        DepthNetworkConfig,
        GivenPosesConfig,
        GpsConfig,
        ObjectLengthConfig,
        ScaleFactorConfig,
    )
}
