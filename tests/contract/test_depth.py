"""What every depth part keeps: z-depth of frames that exist, in the trajectory's unit, masked where unknown."""

import pickle

import cv2
import numpy as np
import pytest

from tests.annotate_doubles import ArraySource, Plane, annotation_of, no_trajectory_of, path_of, points_of, trace
from wmkit.annotate.depth import DEPTHS, DepthUnion, FusedDepthConfig, NetworkDepthConfig
from wmkit.annotate.protocols import Unmeasured
from wmkit.camera import Intrinsics, ScaleKind
from wmkit.clip import Annotation, DepthMap

EVERY = pytest.mark.parametrize("config", DEPTHS.values(), ids=DEPTHS)
CAMERA = Intrinsics.from_fov(60.0, 64, 48)


@pytest.fixture(scope="module")
def wall() -> tuple[ArraySource, Annotation]:
    """Five frames of a camera that slides along a wall 2 units away; the middle one is unposed."""
    coarse = np.random.default_rng(0).uniform(0, 255, (40, 60))  # a cell is 3 px wide in the pictures: no aliasing
    texture = cv2.resize(coarse, (480, 320), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    plane = Plane(corner=(-3, -2, 2), along=(6, 0, 0), across=(0, 4, 0), texture=texture)
    world_from_cam = path_of(np.arange(5)[:, None] * np.array([0.1, 0.0, 0.0]))
    rgb = np.stack([trace([plane], CAMERA, pose)[0] for pose in world_from_cam])
    world_from_cam[2] = np.nan
    x, y = np.meshgrid(np.linspace(-1.5, 2, 12), np.linspace(-1, 1, 8))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], axis=1)
    points = np.concatenate([points * scale for scale in (0.85, 1.0, 1.15)])  # a range that holds the wall
    return ArraySource(rgb), annotation_of(world_from_cam, points_of(points), CAMERA)


def test_the_union_names_every_default() -> None:
    union = set(DepthUnion.__args__)
    # Those need weights: tests/unit/annotate/depth/test_network.py runs them with random ones.
    assert {type(config) for config in DEPTHS.values()} == union - {NetworkDepthConfig, FusedDepthConfig}
    assert all(config.name == name for name, config in DEPTHS.items())


@EVERY
def test_its_config_crosses_processes(config) -> None:
    assert config.licence
    assert pickle.loads(pickle.dumps(config)) == config


@EVERY
def test_depth_is_of_posed_frames_in_the_trajectory_s_unit(config, wall) -> None:
    source, annotation = wall
    depth = config.build("cpu").estimate(source, annotation)
    assert isinstance(depth, DepthMap)
    assert set(depth.frame.tolist()) <= {0, 1, 3, 4}
    assert depth.scale is ScaleKind.UP_TO_SCALE
    assert max(depth.z.shape[1:]) <= 64  # never larger than the frames
    assert depth.valid.any()
    # Fronto-parallel at z = 2 in every column: ray distance would rise to 2.4 at the corners. 2 % of 2.
    assert np.median(np.abs(depth.z[depth.valid] - 2)) < 0.04
    assert np.abs(np.median(depth.z[:, :, -12:][depth.valid[:, :, -12:]]) - 2) < 0.08


@EVERY
def test_it_says_the_same_again(config, wall) -> None:
    source, annotation = wall
    first, second = (config.build("cpu").estimate(source, annotation) for _ in range(2))
    assert (first.z.tobytes(), first.valid.tobytes()) == (second.z.tobytes(), second.valid.tobytes())
    assert first.confidence is None or first.confidence.tobytes() == second.confidence.tobytes()


@EVERY
def test_no_trajectory_is_unmeasured(config, wall) -> None:
    assert isinstance(config.build("cpu").estimate(wall[0], no_trajectory_of()), Unmeasured)
