"""What somebody knows of one clip alone: its caption, its camera, the camera's height above the ground."""

import dataclasses
import json
import math
from dataclasses import dataclass

from wmkit.annotate.priors import SIGMA_CALIBRATED, SIGMA_FOV, KnownCamera
from wmkit.annotate.protocols import ScaleConfig
from wmkit.annotate.scale import CameraHeightConfig
from wmkit.annotate.scale_flags import HEIGHT_SIGMA
from wmkit.caption import Caption
from wmkit.errors import InputError
from wmkit.telemetry import Sidecars

__all__ = ["ClipFacts"]

SOURCE = "manifest"  # not the manifest's name: the same facts in another file are the same facts


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """Facts of one clip; None where nothing is known. Raises InputError for what cannot be.

    fx fy cx cy           px of the upright source picture, of width x height px; all six or none.
    fov_deg               horizontal, of the upright source picture; not beside fx.
    sigma_log             of the focal length; defaults are those of `--priors`.
    camera_height_m       above the ground; its sigma is 3 % unless camera_height_sigma_m says otherwise.
    beside                hash of the files beside the clip that are read for it (`beside_hash`); no manifest says it.
    """

    caption: str | None = None
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    width: float | None = None
    height: float | None = None
    fov_deg: float | None = None
    sigma_log: float | None = None
    camera_height_m: float | None = None
    camera_height_sigma_m: float | None = None
    beside: str | None = None

    def __post_init__(self) -> None:
        if self.caption is not None:
            Caption.of(self.caption, SOURCE)
        self.cameras()
        self._height(())
        if self.camera_height_sigma_m is not None and self.camera_height_m is None:
            raise InputError("expected camera_height_m beside camera_height_sigma_m")

    @classmethod
    def parse(cls, given: str) -> "ClipFacts":
        """The facts of `text`'s string."""
        return cls(**json.loads(given)) if given else cls()

    def text(self) -> str:
        """Canonical JSON of what is known, "" for nothing: equal iff the facts are."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(known, sort_keys=True, ensure_ascii=False, separators=(",", ":")) if known else ""

    def cameras(self) -> tuple[KnownCamera, ...]:
        """The camera, for any clip: one or none."""
        row = (self.fx, self.fy, self.cx, self.cy, self.width, self.height)
        there = [value for value in row if value is not None]
        if there and len(there) < len(row):
            raise InputError("expected all of fx, fy, cx, cy, width, height, or none")
        if not there and self.fov_deg is None:
            if self.sigma_log is not None:
                raise InputError("expected fov_deg, or fx and its like, beside sigma_log")
            return ()
        fx, fy, cx, cy, width, height = there or [0.0] * 6
        if there and (width != int(width) or height != int(height)):
            raise InputError(f"expected whole px in width and height, got {width:g} and {height:g}")
        default = SIGMA_CALIBRATED if there else SIGMA_FOV
        camera = KnownCamera(
            clip="*",
            source=SOURCE,
            sigma_log=default if self.sigma_log is None else self.sigma_log,
            row=(fx, fy, cx, cy) if there else None,
            size=(int(width), int(height)) if there else None,
            fov_deg=self.fov_deg,
        )
        return (camera,)

    def scale_cues(self, cues: tuple[ScaleConfig, ...]) -> tuple[ScaleConfig, ...]:
        """The run's cues, with this clip's camera height in place of the run's."""
        height = self._height(cues)
        if height is None:
            return cues
        return (*(cue for cue in cues if not isinstance(cue, CameraHeightConfig)), height)

    def _height(self, cues: tuple[ScaleConfig, ...]) -> CameraHeightConfig | None:
        if self.camera_height_m is None:
            return None
        if not (math.isfinite(self.camera_height_m) and self.camera_height_m > 0):
            raise InputError(f"camera_height_m: expected a positive number of metres, got {self.camera_height_m}")
        sigma_m = self.camera_height_sigma_m
        sigma = HEIGHT_SIGMA if sigma_m is None else sigma_m / self.camera_height_m
        sidecars = next((named for cue in cues if isinstance(named := getattr(cue, "sidecars", None), Sidecars)), None)
        return CameraHeightConfig(height_m=self.camera_height_m, height_sigma=sigma, sidecars=sidecars)
