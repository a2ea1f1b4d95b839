"""Which of several maps goes on: what each leaves unexplained of one set of tracks."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, arc_scene, tracks_of
from tests.unit.annotate.pose.test_restart import rotation_off_deg, sidle
from wmkit.annotate.pose.choose import (
    MapJob,
    better_map,
    least_unexplained,
    map_at_once,
    unexplained,
    with_zoom,
)
from wmkit.annotate.pose.mapping import MappingConfig, Start
from wmkit.annotate.pose.restart import RestartConfig, reversed_twin
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.second import Disagreement, SecondConfig

CONFIG = RestartConfig()


def job_of(scene: Scene, *, fixed: bool = True) -> MapJob:
    tracks = tracks_of(scene)
    params = ((FOCAL_PX, *scene.centre.tolist()),)
    start = Start(model="SIMPLE_PINHOLE", params=params, fixed=fixed, focal_prior=(FOCAL_PX, 200.0))
    keyframes = tuple(range(len(tracks)))
    return MapJob(tracks=tracks, half=tracks, keyframes=keyframes, linked=(), start=start)


@pytest.fixture(scope="module")
def arc() -> Scene:
    return replace(arc_scene(frames=8, points=400, noise_px=0.3), focal_prior=(FOCAL_PX, 200.0))


def test_the_truth_leaves_the_noise_and_a_frame_without_a_pose_all_it_sees(arc: Scene) -> None:
    job = job_of(arc)
    # log1p of a squared Rayleigh error of 0.3 px an axis has the mean 0.15
    assert unexplained(arc, job, CONFIG) == pytest.approx(0.15, abs=0.03)
    # a frame far from every point cannot be resected either: its eighth of the observations counts as outliers
    astray = replace(arc, obs_xy=arc.obs_xy.copy())
    at = np.flatnonzero(arc.obs_frame == 5)
    astray.obs_xy[at] = astray.obs_xy[at][::-1]
    left = unexplained(astray, job, CONFIG)
    assert left == pytest.approx(0.15 * 7 / 8 + np.log1p(CONFIG.far_px**2) / 8, abs=0.08)
    gone = replace(arc, cam_from_world=np.full_like(arc.cam_from_world, np.nan), xyz=np.full_like(arc.xyz, np.nan))
    assert unexplained(gone, job, CONFIG) == pytest.approx(np.log1p(CONFIG.far_px**2))


def test_a_keyframe_that_only_lost_its_pose_is_no_worse_for_it(arc: Scene) -> None:
    lost = replace(arc, cam_from_world=arc.cam_from_world.copy())
    lost.cam_from_world[3] = np.nan
    assert unexplained(lost, job_of(arc), CONFIG) == pytest.approx(unexplained(arc, job_of(arc), CONFIG), abs=0.01)


def test_between_equals_the_earlier_stays(arc: Scene) -> None:
    same = replace(arc, xyz=arc.xyz.copy())
    assert least_unexplained([arc, same], job_of(arc), CONFIG) is arc
    twin = reversed_twin(arc)
    assert least_unexplained([twin, arc], job_of(arc), CONFIG) is arc


def test_a_reversed_map_gives_way() -> None:
    truth = sidle()
    wrong = reversed_twin(truth)
    found = better_map(job_of(truth), wrong, CONFIG)
    assert rotation_off_deg(found, truth) < 0.5
    assert better_map(job_of(truth), truth, CONFIG) is truth
    zooms = replace(job_of(truth), start=replace(job_of(truth).start, zooms=True))
    assert better_map(zooms, wrong, CONFIG) is wrong


def test_a_zoom_is_freed_in_the_map_that_has_none(arc: Scene) -> None:
    ratio = np.exp(np.linspace(0, np.log(1.4), 8))
    grown = (arc.obs_xy - arc.centre) * ratio[arc.obs_frame, None] + arc.centre
    blind = replace(arc, obs_xy=grown)
    job = job_of(blind, fixed=False)
    found = with_zoom(blind, job, CONFIG)
    assert found.zooms
    np.testing.assert_allclose(
        found.focal / found.focal[0], ratio, rtol=0.02
    )  # a focal length a frame: noise of 0.3 px
    assert rotation_off_deg(found, arc) < 0.3
    assert np.isfinite(found.xyz[:, 0]).sum() > 350, "all tracks have points again"
    assert unexplained(found, job, CONFIG) < 0.5 * unexplained(blind, job, CONFIG)


@pytest.mark.parametrize("fixed", [True, False])
def test_all_keyframes_at_once_make_a_map_too(arc: Scene, fixed: bool) -> None:
    job = job_of(arc, fixed=fixed)
    nothing = replace(arc, cam_from_world=np.full_like(arc.cam_from_world, np.nan), xyz=np.full_like(arc.xyz, np.nan))
    found = map_at_once(job, nothing, MappingConfig(), CONFIG)
    assert found.posed.all()
    assert rotation_off_deg(found, arc) < 0.3
    if fixed:
        np.testing.assert_allclose(found.focal, FOCAL_PX)
    assert map_at_once(job, arc, MappingConfig(), CONFIG) is arc, "the truth is not improved upon"


def test_tracks_that_say_nothing_are_mapped_by_nobody(arc: Scene) -> None:
    noise = replace(arc, obs_xy=np.random.default_rng(0).uniform(0, 400, arc.obs_xy.shape))
    assert map_at_once(job_of(noise), noise, MappingConfig(), CONFIG) is noise


def test_two_estimates_are_apart_by_their_medians() -> None:
    def said(rotation_deg: float, position: float) -> Disagreement:
        rows = np.array([rotation_deg, rotation_deg, np.nan, 40.0]), np.array([position, position, np.nan, 0.5])
        return Disagreement(rotation_deg=rows[0], position=rows[1], focal=0.0, posed_share=1.0, disjoint=True)

    config = SecondConfig(apart_deg=1.0, apart_share=0.02)
    assert not said(0.5, 0.01).apart(config)
    assert said(1.5, 0.01).apart(config)
    assert said(0.5, 0.03).apart(config)
    none = replace(said(0.1, 0.1), rotation_deg=np.full(4, np.nan), position=np.full(4, np.nan))
    assert none.apart(config), "no second estimate is no agreement"
