"""One track that every format test writes and reads: gaps between frames, changing intrinsics, awkward numbers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wmkit.clip import Points
from wmkit.formats.track import CameraTrack, rigid_matrices

FRAME = np.array([0, 1, 2, 5, 6, 11])
SIZE = (640, 360)


@pytest.fixture
def track() -> CameraTrack:
    """Six posed frames of twelve; the third is turned by exactly half a turn, where quaternions lose digits."""
    rng = np.random.default_rng(0)
    rotvec = rng.normal(0, 1, (len(FRAME), 3))
    rotvec[0], rotvec[2] = 0, [np.pi, 0, 0]
    points = Points(
        xyz=rng.normal(0, 3, (4, 3)),
        rgb=rng.integers(0, 256, (4, 3)).astype(np.uint8),
        error_px=np.array([0.25, 0.5, 1.5, np.nan], np.float32),
        track_length=np.zeros(4, np.int32),
    )
    return CameraTrack(
        world_from_cam=rigid_matrices(Rotation.from_rotvec(rotvec).as_matrix(), rng.normal(0, 10, (len(FRAME), 3))),
        frame=FRAME,
        time_s=FRAME / 29.97,
        intrinsics_px=np.column_stack(
            [np.full((len(FRAME), 2), 500.1), np.full(len(FRAME), 320.3), [180.7] * 3 + [181.7] * 3]
        ),
        size_px=np.tile(SIZE, (len(FRAME), 1)),
        names=tuple(f"frame_{index:06d}.jpg" for index in FRAME),
        points=points,
        metric=True,
    )
