"""The scale cues that a user's flags ask for; none asked for means none, and trajectories up to scale."""

from dataclasses import dataclass
from pathlib import Path

from wmkit.annotate.protocols import ScaleConfig
from wmkit.annotate.scale import (
    BaselineConfig,
    CameraHeightConfig,
    GivenPosesConfig,
    GpsConfig,
    ScaleFactorConfig,
)
from wmkit.annotate.scale.baseline import parse_baseline
from wmkit.annotate.scale.depth_network import named_network
from wmkit.annotate.scale.measure import parse_length
from wmkit.annotate.scale.object_length import parse_object
from wmkit.telemetry import named_sidecars
from wmkit.video import VideoConfig

__all__ = ["ScaleFlags", "cues_of_flags"]

HEIGHT_SIGMA = 0.03  # relative: 5 cm for a car's roof, which is how well people know it


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFlags:
    """What was typed; every text as its flag documents it.

    sidecars       "none", "auto" or a .gpx or .csv file.
    camera_height  "1.65", or with its sigma in metres "1.65±0.05" or "1.65,0.05".
    baselines      "A:B=METRES[±SIGMA]" each.
    objects        "FRAME:X0,Y0-X1,Y1[;FRAME:...]=METRES[±SIGMA]" each; each is a cue of its own.
    metric_depth   weights of a depth network that gives metres.
    factor         metres in one trajectory unit.
    given_poses    poses were given, and may claim to be in metres.
    """

    sidecars: str = "none"
    camera_height: str | None = None
    baselines: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    metric_depth: Path | None = None
    factor: float | None = None
    given_poses: bool = False


def cues_of_flags(flags: ScaleFlags, video: VideoConfig) -> tuple[ScaleConfig, ...]:
    """The cues, in a fixed order; InputError names the flag that cannot be used. Named files are read here, once."""
    sidecars = named_sidecars(flags.sidecars, video.image_fps)
    cues: list[ScaleConfig] = []
    if flags.given_poses:
        cues.append(GivenPosesConfig())
    if sidecars is not None:
        cues.append(GpsConfig(sidecars=sidecars))
    if flags.camera_height is not None:
        height_m, sigma = parse_length(flags.camera_height, "--camera-height", HEIGHT_SIGMA)
        cues.append(CameraHeightConfig(height_m=height_m, height_sigma=sigma, sidecars=sidecars))
    if flags.baselines:
        cues.append(BaselineConfig(pairs=tuple(parse_baseline(text) for text in flags.baselines)))
    cues += [parse_object(text) for text in flags.objects]
    if flags.metric_depth is not None:
        cues.append(named_network(flags.metric_depth, video))
    if flags.factor is not None:
        cues.append(ScaleFactorConfig(factor=flags.factor))
    return tuple(cues)
