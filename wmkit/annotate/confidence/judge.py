"""From a pose backend's own evidence to `Confidence`: p_good by the calibration that was fitted to that backend."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.clip import Confidence, PoseQuality

__all__ = ["ConfidenceConfig", "Judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceConfig:
    """Which calibration reads the evidence."""

    name: ClassVar[str] = "p_good"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> "Judge":
        """The judge; `device` is not used."""
        return Judge()


class Judge:
    """Turns the quality a backend measured into a probability."""

    def judge(self, quality: PoseQuality | None, backend: str) -> Confidence | None:
        """None without evidence; a Confidence without p_good when no calibration was fitted to `backend`."""
        if quality is None:
            return None
        return Confidence(quality=quality, reason=f"no_calibration: none was fitted to {backend}")
