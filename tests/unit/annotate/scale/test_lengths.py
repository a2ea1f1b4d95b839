"""Cues by a known length: baseline and object; how their flags are read; given poses."""

import dataclasses

import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, annotation_of, no_trajectory_of, path_of, points_of
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale.baseline import Baseline, BaselineConfig, parse_baseline
from wmkit.annotate.scale.given import GivenPosesConfig
from wmkit.annotate.scale.measure import parse_length
from wmkit.annotate.scale.object_length import Click, ObjectLengthConfig, parse_object
from wmkit.camera import Intrinsics, ScaleVote
from wmkit.errors import InputError

CAMERA = Intrinsics.from_fov(60.0, 640, 480)


def px(point: np.ndarray, eye: np.ndarray) -> tuple[float, float]:
    local = point - eye
    return (
        float(local[0] / local[2] * CAMERA.fx + CAMERA.cx),
        float(local[1] / local[2] * CAMERA.fy + CAMERA.cy),
    )


def test_a_stereo_pair_of_known_baseline() -> None:
    annotation = annotation_of(path_of([[0, 0, 0], [0.5, 0, 0]]))
    opinion = BaselineConfig(pairs=(parse_baseline("0:1=0.12±0.001"),)).build("cpu").vote(annotation, NO_FILE)
    assert isinstance(opinion, ScaleVote)
    assert opinion.value == pytest.approx(0.24, rel=1e-12)
    assert opinion.sigma_log == pytest.approx(np.hypot(0.001 / 0.12, 0.02), rel=1e-9)  # no covariance: 2 %


def test_several_pairs_share_the_rulers_error() -> None:
    annotation = annotation_of(path_of([[0, 0, 0], [0.5, 0, 0], [3, 0, 0], [3, 0.5, 0]]))
    pairs = tuple(Baseline(first=a, second=a + 1, metres=0.1, sigma=0.05) for a in (0, 2))
    opinion = BaselineConfig(pairs=pairs).build("cpu").vote(annotation, NO_FILE)
    assert isinstance(opinion, ScaleVote)
    assert opinion.sigma_log == pytest.approx(np.hypot(0.05, 0.02 / np.sqrt(2)), rel=1e-9)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [((0, 9), "no_frame_9"), ((0, 2), "baseline_frame_not_posed"), ((0, 3), "baseline_of_no_length")],
)
def test_a_pair_that_measures_nothing_has_its_reason(pair: tuple[int, int], reason: str) -> None:
    annotation = annotation_of(path_of([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0]], posed=[True, True, False, True]))
    cue = BaselineConfig(pairs=(Baseline(first=pair[0], second=pair[1], metres=1.0),)).build("cpu")
    assert cue.vote(annotation, NO_FILE) == Unmeasured(reason=reason)
    assert cue.vote(no_trajectory_of(), NO_FILE) == Unmeasured(reason="no_trajectory")


def test_an_object_in_two_frames_is_triangulated() -> None:
    ends = np.array([[-0.5, 0.1, 4.0], [0.7, 0.0, 5.0]])
    eyes = np.array([[0.0, 0, 0], [1.0, 0, 0], [0.5, 0.2, 0]])
    clicks = tuple(Click(frame=i, start_px=px(ends[0], eye), end_px=px(ends[1], eye)) for i, eye in enumerate(eyes))
    annotation = annotation_of(path_of(eyes), camera=CAMERA)
    opinion = ObjectLengthConfig(clicks=clicks, metres=3.0).build("cpu").vote(annotation, NO_FILE)
    assert isinstance(opinion, ScaleVote)
    assert opinion.value == pytest.approx(3.0 / np.linalg.norm(ends[1] - ends[0]), rel=1e-9)


def test_an_object_in_one_frame_takes_the_depth_of_the_points_around_it() -> None:
    rng = np.random.default_rng(0)
    wall = np.column_stack([rng.uniform(-3, 3, 800), rng.uniform(-2, 2, 800), np.zeros(800)])
    wall[:, 2] = 6 + 0.5 * wall[:, 0]  # askew
    ends = np.array([[-1.0, 0.2, 5.5], [1.5, -0.3, 6.75]])
    behind = rng.uniform((-8, -6, 12), (8, 6, 20), (60, 3))  # seen through gaps
    annotation = annotation_of(path_of(np.zeros((2, 3))), points_of(np.concatenate([wall, behind])), CAMERA)
    click = Click(frame=0, start_px=px(ends[0], np.zeros(3)), end_px=px(ends[1], np.zeros(3)))
    opinion = ObjectLengthConfig(clicks=(click,), metres=2.0).build("cpu").vote(annotation, NO_FILE)
    assert isinstance(opinion, ScaleVote)
    assert opinion.value == pytest.approx(2.0 / np.linalg.norm(ends[1] - ends[0]), rel=0.005)
    bare = annotation_of(path_of(np.zeros((2, 3))), points_of(wall[:3]), CAMERA)
    cue = ObjectLengthConfig(clicks=(click,), metres=2.0).build("cpu")
    assert cue.vote(bare, NO_FILE) == Unmeasured(reason="no_points_beside_the_object")


def test_frames_that_see_the_object_from_one_place_measure_nothing() -> None:
    clicks = tuple(Click(frame=i, start_px=(300.0, 200.0), end_px=(340.0, 200.0)) for i in (0, 1))
    opinion = (
        ObjectLengthConfig(clicks=clicks, metres=1.0)
        .build("cpu")
        .vote(annotation_of(path_of(np.zeros((2, 3))), camera=CAMERA), NO_FILE)
    )
    assert isinstance(opinion, Unmeasured)


def test_flags_are_read() -> None:
    assert parse_length("1.65", "--x", 0.03) == (1.65, 0.03)
    assert parse_length("1.65±0.05", "--x", 0.03) == pytest.approx((1.65, 0.05 / 1.65))
    assert parse_length("1.65,0.05", "--x", 0.03) == pytest.approx((1.65, 0.05 / 1.65))
    config = parse_object("12:10,20-30.5,40;40:1,2-3,4=0.9±0.01")
    assert config.clicks[1] == Click(frame=40, start_px=(1.0, 2.0), end_px=(3.0, 4.0))
    assert (config.metres, config.sigma) == (0.9, pytest.approx(0.01 / 0.9))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *(
            (lambda text: parse_length(text, "--camera-height", 0.0), text)
            for text in ("", "x", "-1", "0", "1±2", "nan")
        ),
        *((parse_baseline, text) for text in ("", "0:1", "0:0=1", "a:b=1", "0:1=-2", "0-1=2")),
        *((parse_object, text) for text in ("", "=1", "1:2,3=1", "1:2,3-4,5=x", "1:2,3-4,5;1:2,3-4,5=1")),
        (parse_object, "1:2,3-2,3=1"),
    ],
)
def test_flags_that_say_nothing_are_one_line(read, text: str) -> None:
    with pytest.raises(InputError, match="--") as error:
        read(text)
    assert "\n" not in str(error.value)


def test_given_poses_vote_only_where_they_claim_metres() -> None:
    cue = GivenPosesConfig().build("cpu")
    annotation = annotation_of(path_of(np.eye(3)))
    assert cue.vote(annotation, NO_FILE) == Unmeasured(reason="poses_not_in_metres")
    claimed = dataclasses.replace(annotation, metric_hint_sigma_log=0.01)
    assert cue.vote(claimed, NO_FILE) == ScaleVote(cue="given_poses", value=1.0, sigma_log=0.01)
