"""What every scale cue keeps: a positive vote under its own name or a reason, repeatable, and no door but one."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, annotation_of, no_trajectory_of, path_of, points_of
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale import (
    SCALES,
    BaselineConfig,
    CameraHeightConfig,
    DepthNetworkConfig,
    GivenPosesConfig,
    GpsConfig,
    ObjectLengthConfig,
    ScaleFactorConfig,
    ScaleUnion,
    fuse,
)
from wmkit.annotate.scale.baseline import Baseline
from wmkit.annotate.scale.object_length import Click
from wmkit.camera import ScaleKind, ScaleVote
from wmkit.clip import Annotation
from wmkit.telemetry import Sidecars
from wmkit.video import ClipFile, VideoConfig

CLICKS = (  # ends at (-0.1, 0, 1) and (0.15, 0, 1), seen from z = 0 and 0.7
    Click(frame=0, start_px=(26.457, 24.0), end_px=(40.314, 24.0)),
    Click(frame=7, start_px=(13.525, 24.0), end_px=(59.713, 24.0)),
)
VOTING = (
    BaselineConfig(pairs=(Baseline(first=0, second=5, metres=0.3),)),
    CameraHeightConfig(height_m=1.65),
    GivenPosesConfig(),
    GpsConfig(sidecars=Sidecars()),
    ObjectLengthConfig(clicks=CLICKS, metres=0.4, click_px=0.2),
    ScaleFactorConfig(factor=2.0),
)
CONFIGS = (*VOTING, DepthNetworkConfig(path="/nowhere", weights="0", video=VideoConfig()))
EVERY = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
VOTES = pytest.mark.parametrize("config", VOTING, ids=lambda config: config.name)


@pytest.fixture
def file(tmp_path: Path) -> ClipFile:
    """A clip with positions beside it, at the frames' own times: 5 m a frame northwards."""
    rows = "".join(f"{index / 10},0,{5 * index}\n" for index in range(8))
    (tmp_path / "a.gps.csv").write_text("time_s,east_m,north_m\n" + rows)
    return dataclasses.replace(NO_FILE, path=str(tmp_path / "a.mp4"))


def over_a_floor() -> Annotation:
    """A camera 0.1 units above a floor."""
    floor = np.random.default_rng(0).uniform((-1, 0.1, 0.2), (1, 0.1, 2), (300, 3))
    annotation = annotation_of(path_of(np.arange(8)[:, None] * np.array([0.0, 0.0, 0.1])), points_of(floor))
    return dataclasses.replace(annotation, metric_hint_sigma_log=0.02)


def test_the_union_is_what_the_tests_run_over() -> None:
    assert set(SCALES.values()) == set(ScaleUnion.__args__) == {type(config) for config in CONFIGS}  # type: ignore[attr-defined]
    assert all(kind.name == name for name, kind in SCALES.items())


@EVERY
def test_its_config_crosses_processes(config) -> None:
    assert config.licence
    assert pickle.loads(pickle.dumps(config)) == config


@VOTES
def test_it_votes_under_its_own_name_and_repeats_itself(config, file: ClipFile) -> None:
    opinions = [config.build("cpu").vote(over_a_floor(), file) for _ in range(2)]
    assert isinstance(opinions[0], ScaleVote)
    assert opinions[0].cue == config.name
    assert opinions[0] == opinions[1]


@EVERY
def test_without_a_trajectory_it_has_a_reason(config) -> None:
    opinion = config.build("cpu").vote(no_trajectory_of(), NO_FILE)
    assert isinstance(opinion, Unmeasured)
    assert opinion.reason


@VOTES
def test_its_vote_opens_the_one_door_to_metres(config, file: ClipFile) -> None:
    annotation = over_a_floor()
    opinion = config.build("cpu").vote(annotation, file)
    assert annotation.trajectory is not None
    assert annotation.trajectory.scale is ScaleKind.UP_TO_SCALE  # voting changes nothing
    assert isinstance(opinion, ScaleVote)
    estimate = fuse([opinion])
    assert estimate is not None
    metric = annotation.to_metric(estimate)
    assert metric.trajectory is not None
    assert metric.trajectory.path_length == pytest.approx(annotation.trajectory.path_length * opinion.value, rel=1e-12)
