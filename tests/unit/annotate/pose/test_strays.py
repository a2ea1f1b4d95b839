"""How far tracks stray, on exact scenes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import SIZE, arc_scene, tracks_of
from tests.unit.annotate.pose.test_dynamic import moved
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.strays import REFERENCE_PX, find_strays

EXACT_PX = 1e-3  # where the search for the still point ends
SHRINK = REFERENCE_PX / float(np.hypot(*SIZE))


def noisy(scene: Scene, sigma_px: float) -> Scene:
    noise = np.random.default_rng(0).normal(0, sigma_px, scene.obs_xy.shape)
    return replace(scene, obs_xy=scene.obs_xy + noise)


def test_still_tracks_stray_by_their_noise() -> None:
    scene = noisy(arc_scene(frames=12), 0.3)
    strays = find_strays(scene, tracks_of(scene))
    # four fifths of a two-dimensional Gaussian's errors lie within 1.79 sigma; the point itself takes part of them up
    assert strays.typical_px == pytest.approx(1.79 * 0.3 * SHRINK, rel=0.15)
    assert strays.mapped_px == pytest.approx(strays.typical_px)


def test_the_typical_track_strays_once_most_of_them_move() -> None:
    scene, chosen = moved(arc_scene(frames=12), share=0.7)
    moving = np.isin(scene.obs_track, list(chosen))
    still = np.unique(scene.obs_track[~moving])
    few = scene.keep(moving | np.isin(scene.obs_track, still[: len(chosen) // 2]))
    assert 10 < len(chosen) < len(still)
    assert find_strays(scene, tracks_of(scene)).typical_px < EXACT_PX
    assert find_strays(few, tracks_of(few)).typical_px > 1
    assert find_strays(few, tracks_of(few)).mapped_px < EXACT_PX, "the map rests on those that stand still"


def test_without_a_map_there_is_no_error_of_it() -> None:
    scene = arc_scene(frames=12)
    bare = replace(scene, xyz=np.full_like(scene.xyz, np.nan))
    assert np.isnan(find_strays(bare, tracks_of(scene)).mapped_px)
