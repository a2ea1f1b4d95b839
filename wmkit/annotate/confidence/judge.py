"""From a pose backend's own evidence to `Confidence`: p_good by the calibration that was fitted to that backend."""

import functools
from dataclasses import dataclass, field
from typing import ClassVar

from wmkit.annotate.confidence.calibration import Calibration, read_calibration
from wmkit.clip import Confidence, PoseQuality
from wmkit.errors import ConfigError

__all__ = ["NO_CALIBRATION", "ConfidenceConfig", "Judge", "shipped_calibration"]

NO_CALIBRATION = "none"


@functools.cache
def _shipped() -> tuple[Calibration, str] | None:
    return read_calibration()


def shipped_calibration() -> str:
    """sha256 of the calibration that comes with this package; "none" when it has none."""
    shipped = _shipped()
    return NO_CALIBRATION if shipped is None else shipped[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceConfig:
    """Which calibration reads the evidence: the shipped one, by its file's hash, which so is part of the config."""

    name: ClassVar[str] = "p_good"
    licence: ClassVar[str] = "Apache-2.0"

    calibration: str = field(default_factory=shipped_calibration)

    def build(self, device: str) -> "Judge":
        """The judge; `device` is not used. ConfigError when this package ships another calibration."""
        if self.calibration != shipped_calibration():
            raise ConfigError(
                f"confidence: expected calibration {self.calibration[:16]}, this package ships "
                f"{shipped_calibration()[:16]}; annotate with the version that wrote the config"
            )
        return Judge(_shipped())


class Judge:
    """Turns the quality a backend measured into a probability, by `shipped`: a calibration and its hash, or None."""

    def __init__(self, shipped: tuple[Calibration, str] | None) -> None:
        self._shipped = shipped

    def judge(self, quality: PoseQuality | None, backend: str) -> Confidence | None:
        """None without evidence; a Confidence without p_good when no calibration was fitted to `backend`."""
        if quality is None:
            return None
        if self._shipped is None or self._shipped[0].backend != backend:
            return Confidence(quality=quality, reason=f"no_calibration: none was fitted to {backend}")
        calibration, digest = self._shipped
        p_good = calibration.probability(dict(quality.features))
        return Confidence(quality=quality, p_good=p_good, calibration=f"{backend}-{digest[:16]}")
