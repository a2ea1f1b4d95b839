"""Plücker mixing: rays of every video frame a latent frame covers, added after each self-attention.

SANA-WM (arXiv 2605.15178) section 3, fine branch. Its embedding is the one zero-initialised factor, so the branch
adds nothing at step 0 and still learns. Own convention: rays through cell centres, and latent frame 0 sees video
frame 0 alone. `compat="sana-wm"` of the model has the released one: cell corners and video frames 0-7 (`rays.py`).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from wmkit.model.rays import CameraBatch, LatentGrid, plucker_map

__all__ = ["PluckerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluckerConfig:
    """Plücker coordinates of raw video frames; no options yet."""

    def channels(self, stride: int) -> int:
        """6 a video frame."""
        return 6 * stride

    def camera_map(self, cameras: CameraBatch, grid: LatentGrid) -> Float[Tensor, "B T c h w"]:
        """See `wmkit.model.rays.plucker_map`; raises ConfigError when the frames do not fit."""
        return plucker_map(cameras, grid)
