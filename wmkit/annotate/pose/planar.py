"""Is all that was reconstructed one plane? Then a focal length that nobody gave is not determined by the picture.

Self-calibration from a plane needs rotations about several axes (Triggs, ECCV 1998), which clips rarely have.
"""

import numpy as np

from wmkit.camera import Array

__all__ = ["plane_share"]

HYPOTHESES = 200


def plane_share(xyz: Array, tolerance: float) -> float:
    """Largest share of the points (M, 3) found within `tolerance` of one plane, same unit; 0 for under 4 points."""
    if len(xyz) < 4:
        return 0.0
    picks = np.random.default_rng(0).integers(0, len(xyz), (HYPOTHESES, 3))
    a, b, c = (xyz[picks[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    sound = length > 0
    normal = normal[sound] / length[sound, None]
    distance = np.abs((xyz[None] - a[sound][:, None]) @ normal[:, :, None])[:, :, 0]
    return float((distance < tolerance).mean(axis=1).max(initial=0.0))
