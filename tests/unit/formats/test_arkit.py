"""ARKit-style json: every way its matrices are written means the same camera."""

import json
from pathlib import Path

import numpy as np
import pytest

from wmkit.camera_actions import action_path
from wmkit.errors import InputError
from wmkit.formats.any import quaternion_order, read_trajectory
from wmkit.formats.nerfstudio import OPENCV_FROM_OPENGL
from wmkit.formats.track import quaternion_from_matrix

N = 5
POSES = action_path(f"dw-{N}").trajectory().world_from_cam[:N] @ np.array(
    [[0.8, -0.6, 0, 0.1], [0.6, 0.8, 0, 0.2], [0, 0, 1, 0.3], [0, 0, 0, 1]]
)
K = np.array([[1400.5, 0, 960.25], [0, 1401.0, 720.5], [0, 0, 1]])


def document(transform: str, camera: str, key: str = "transform") -> dict:
    frames = []
    for index, pose in enumerate(POSES @ OPENCV_FROM_OPENGL):
        matrix = {"rows": pose.tolist(), "columns": pose.T.tolist(), "flat": pose.T.ravel().tolist()}[transform]
        k = {"rows": K.tolist(), "columns": K.T.tolist(), "flat": K.T.ravel().tolist()}[camera]
        frame = {key: matrix, "intrinsics": k, "imageResolution": [1920, 1440], "timestamp": 100 + index / 60}
        frames.append(frame | {"file": f"f/{index}.jpg"})
    return {"frames": frames}


def write(folder: Path, value: object) -> Path:
    path = folder / "arkit.json"
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("key", ["transform", "cameraTransform", "camera_transform"])
@pytest.mark.parametrize("camera", ["rows", "columns", "flat"])
@pytest.mark.parametrize("transform", ["rows", "columns", "flat"])
def test_every_layout_is_the_same_camera(tmp_path: Path, transform: str, camera: str, key: str) -> None:
    track = read_trajectory(write(tmp_path, document(transform, camera, key)))
    np.testing.assert_allclose(track.world_from_cam, POSES, atol=1e-12)  # one SVD
    assert track.intrinsics_px is not None
    np.testing.assert_array_equal(track.intrinsics_px[2], [1400.5, 1401.0, 960.25, 720.5])
    assert track.metric is True
    assert track.names == tuple(f"{index}.jpg" for index in range(N))
    assert track.time_s is not None
    assert track.time_s[0] == 100


def test_record3d(tmp_path: Path) -> None:
    gl = POSES @ OPENCV_FROM_OPENGL
    wxyz = quaternion_from_matrix(gl[:, :3, :3])
    rows = np.column_stack([wxyz[:, 1:], wxyz[:, :1], gl[:, :3, 3]])
    path = write(tmp_path, {"w": 720, "h": 960, "K": K.T.ravel().tolist(), "poses": rows.tolist(), "fps": 30})
    track = read_trajectory(path)
    np.testing.assert_allclose(track.world_from_cam, POSES, atol=1e-12)
    assert quaternion_order(path) == "xyzw"
    assert track.intrinsics_px is not None
    np.testing.assert_array_equal(track.intrinsics_px[0], [1400.5, 1401.0, 960.25, 720.5])


def edit(change: dict) -> dict:
    value = document("rows", "rows")
    value["frames"][1] |= change
    return value


@pytest.mark.parametrize(
    "value",
    [
        edit({"transform": [1, 2, 3]}),
        edit({"transform": (2 * np.ones((4, 4))).tolist()}),
        edit({"transform": "x"}),
        edit({"intrinsics": [[1, 2], [3, 4]]}),
        edit({"intrinsics": np.ones((3, 3)).tolist()}),
        edit({"timestamp": "noon"}),
        edit({"imageResolution": [1920]}),
        {"K": [1] * 9, "w": 5, "h": 5, "poses": [[0, 0, 0, 0, 1, 1, 1]] * 3},
        {"K": [1] * 8, "w": 5, "h": 5, "poses": [[0, 0, 0, 1, 1, 1, 1]] * 3},
    ],
    ids=range(9),
)
def test_damage_is_one_line(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match=r"arkit\.json") as caught:
        read_trajectory(write(tmp_path, value))
    assert "\n" not in str(caught.value)
