"""What most tracks agree on, where a third of them ride on something that moves by itself."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import SIZE, arc_scene
from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.majority import MajorityConfig, best_majority, concentrated, left_over
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.second import compare
from wmkit.camera import invert_rigid

CONFIG = MajorityConfig()
PRIOR_PX = (0.8 * max(SIZE), 0.4 * max(SIZE))
NOISE_PX = 0.1


def driven(share: float = 0.35, step_px: float = 1.5, noise_px: float = NOISE_PX) -> Scene:
    """Eight cameras on an arc; the tracks on the right of the picture drift down, faster in every frame."""
    still = replace(arc_scene(frames=8, points=300, noise_px=noise_px, seed=3), focal_prior=PRIOR_PX)
    first = np.full(len(still.xyz), -np.inf)
    np.maximum.at(first, still.obs_track, still.obs_xy[:, 0])
    moves = first >= np.quantile(first[np.isfinite(first)], 1 - share)
    drift = step_px * still.obs_frame * (1 + 0.2 * still.obs_frame) * moves[still.obs_track]
    return replace(still, obs_xy=still.obs_xy + np.stack([np.zeros_like(drift), drift], axis=-1))


def off_deg(scene: Scene) -> float:
    """Rotation error against the arc's own cameras, root mean square, degrees."""
    truth = invert_rigid(arc_scene(frames=8, points=300, seed=3).cam_from_world)
    path = float(np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1).sum())
    rotation_deg, _ = compare(invert_rigid(truth), scene.cam_from_world, path)
    return float(np.sqrt((rotation_deg**2).mean()))


def test_a_compromise_with_what_moves_is_left_for_the_majority() -> None:
    scene = driven()
    compromise = bundle_adjust(scene, 10.0)  # as a map that began with everything
    found = best_majority(compromise, CONFIG, fixed_focal=False)
    assert found is not None
    assert off_deg(compromise) > 1.0, "else there is nothing to find"
    assert off_deg(found) < 0.15  # what 0.1 px on 200 still points amounts to: 0.05 from the true cameras
    assert left_over(found, CONFIG) < 0.9 * left_over(compromise, CONFIG)


def test_a_sound_map_is_left_alone() -> None:
    sound = bundle_adjust(replace(arc_scene(frames=8, points=300, noise_px=NOISE_PX), focal_prior=PRIOR_PX), 1.0)
    assert best_majority(sound, CONFIG, fixed_focal=False) is None
    noisy = bundle_adjust(replace(arc_scene(frames=8, points=300, noise_px=1.5), focal_prior=PRIOR_PX), 1.0)
    assert left_over(noisy, CONFIG) > CONFIG.sound, "looked at, not waved through"
    assert best_majority(noisy, CONFIG, fixed_focal=False) is None, "even noise is no majority"


def test_concentration_keeps_what_is_right_and_the_focal_length_that_is_given() -> None:
    scene = arc_scene(frames=8, points=300, noise_px=NOISE_PX, seed=3)
    found = concentrated(scene, CONFIG, fixed_focal=True)
    assert off_deg(found) < 0.1
    assert np.array_equal(found.focal, scene.focal)
    assert np.array_equal(found.obs_xy, scene.obs_xy), "no observation is dropped"


def test_nothing_to_agree_on_is_no_map_of_a_majority() -> None:
    scene = arc_scene(frames=8, points=300)
    empty = scene.keep(np.zeros(len(scene.obs_xy), np.bool_))
    assert concentrated(empty, CONFIG, fixed_focal=True).cam_from_world is scene.cam_from_world


@pytest.mark.parametrize(("noise_px", "least", "most"), [(0.0, 0.0, 1e-6), (0.1, 0.02, 0.15), (20.0, 0.9, 1.0)])
def test_what_is_left_over_goes_from_nothing_to_everything(noise_px: float, least: float, most: float) -> None:
    assert least <= left_over(arc_scene(frames=8, points=300, noise_px=noise_px), CONFIG) <= most
