"""What every scale cue keeps: a positive vote under its own name or a reason, repeatable, and no door but one."""

import pickle

import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, annotation_of, no_trajectory_of, path_of, points_of
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale import SCALES, CameraHeightConfig, ScaleFactorConfig, ScaleUnion, fuse
from wmkit.camera import ScaleKind, ScaleVote
from wmkit.clip import Annotation

CONFIGS = (CameraHeightConfig(height_m=1.65), ScaleFactorConfig(factor=2.0))
EVERY = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


def over_a_floor() -> Annotation:
    """A camera 0.1 units above a floor."""
    floor = np.random.default_rng(0).uniform((-1, 0.1, 0.2), (1, 0.1, 2), (300, 3))
    return annotation_of(path_of(np.arange(8)[:, None] * np.array([0.0, 0.0, 0.1])), points_of(floor))


def test_the_union_is_what_the_tests_run_over() -> None:
    assert set(SCALES.values()) == set(ScaleUnion.__args__) == {type(config) for config in CONFIGS}  # type: ignore[attr-defined]
    assert all(kind.name == name for name, kind in SCALES.items())


@EVERY
def test_its_config_crosses_processes(config) -> None:
    assert config.licence
    assert pickle.loads(pickle.dumps(config)) == config


@EVERY
def test_it_votes_under_its_own_name_and_repeats_itself(config) -> None:
    opinions = [config.build("cpu").vote(over_a_floor(), NO_FILE) for _ in range(2)]
    assert isinstance(opinions[0], ScaleVote)
    assert opinions[0].cue == config.name
    assert opinions[0] == opinions[1]


@EVERY
def test_without_a_trajectory_it_has_a_reason(config) -> None:
    opinion = config.build("cpu").vote(no_trajectory_of(), NO_FILE)
    assert isinstance(opinion, Unmeasured)
    assert opinion.reason


@EVERY
def test_its_vote_opens_the_one_door_to_metres(config) -> None:
    annotation = over_a_floor()
    opinion = config.build("cpu").vote(annotation, NO_FILE)
    assert annotation.trajectory is not None
    assert annotation.trajectory.scale is ScaleKind.UP_TO_SCALE  # voting changes nothing
    assert isinstance(opinion, ScaleVote)
    estimate = fuse([opinion])
    assert estimate is not None
    metric = annotation.to_metric(estimate)
    assert metric.trajectory is not None
    assert metric.trajectory.path_length == pytest.approx(annotation.trajectory.path_length * opinion.value, rel=1e-12)
