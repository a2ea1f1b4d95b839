"""Action strings by `sana-v1` are diffusers' (0.42.1), pose by pose."""

import numpy as np
import pytest
from diffusers.pipelines.sana_wm.cam_utils import action_string_to_c2w

from wmkit.camera_actions import ACTION_MAPS, action_path


@pytest.mark.parametrize("actions", ["w-8,jw-40,w-4", "none-3,dl-20,ik-5,sa-9", "i-60,w-5,kd-100"])
def test_sana_v1_is_theirs(actions: str) -> None:
    ours = action_path(actions, ACTION_MAPS["sana-v1"]).world_from_cam
    # theirs are rounded to float32: 6e-8 of metres up to 4
    np.testing.assert_allclose(ours, action_string_to_c2w(actions), atol=5e-7)
