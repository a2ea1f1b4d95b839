"""What every filter keeps: its config crosses processes, it measures and decides nothing, and it repeats itself."""

import dataclasses
import pickle
import re

import numpy as np
import pytest

from tests.annotate_doubles import ArraySource, annotation_of, no_trajectory_of, path_of, points_of, shown
from wmkit.annotate.filters import FILTERS, FOOTAGE_FILTERS, TRAJECTORY_FILTERS, FilterUnion
from wmkit.camera import CameraPrior, ScaleEstimate, ScaleVote
from wmkit.caption import Caption
from wmkit.clip import QUALITY_ROWS, Annotation, Confidence, DynamicMask, MeasureState, PoseQuality, Verdict
from wmkit.video.container_tags import SOURCE_TYPE

OWN = pytest.mark.parametrize("config", FILTERS, ids=lambda config: config.name)


def footage() -> ArraySource:
    rng = np.random.default_rng(0)
    wall = rng.integers(0, 255, (60, 120, 3), dtype=np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    source = ArraySource(np.stack([wall[:96, shift : shift + 128] for shift in range(0, 24, 2)]))
    tags = (("com.android.capture.fps", "30"), (SOURCE_TYPE, "digitalCapture"))
    source.facts = dataclasses.replace(source.facts, tags=tags)
    return source


def measure(config, annotation=None) -> Verdict:
    if config in FOOTAGE_FILTERS:
        return shown(config, footage())
    return config.build("cpu").measure(annotation or annotated())


def annotated() -> Annotation:
    """Posed frames with points, calibrated evidence, a mask, a camera known before and a scale a frame."""
    position = np.arange(12)[:, None] * np.array([0.1, 0.0, 0.02])
    annotation = annotation_of(path_of(position), points_of(np.ones((20, 3))))
    features = (("inlier_ratio", 0.9), ("track_error_px", 0.5), ("parallax_deg", 4.0), ("scale_step", 0.05))
    quality = PoseQuality(**dict.fromkeys(QUALITY_ROWS, np.full(12, 0.5)), features=features)
    confidence = Confidence(quality=quality, p_good=0.9, calibration="made by hand")
    prior = CameraPrior(fx=60.0, fy=60.0, cx=None, cy=None, sigma_log=0.05, source="made by hand")
    dynamic = DynamicMask(frame=np.array([0, 11]), mask=np.eye(4, 6, dtype=bool)[None].repeat(2, axis=0))
    factors = tuple((frame, 2.0 + 0.1 * frame) for frame in range(12))
    scale = ScaleEstimate(
        value=2.0, low=1.9, high=2.1, votes=(ScaleVote(cue="x", value=2.0, sigma_log=0.1, frame_factors=factors),)
    )
    caption = Caption.of("A wall.", "made by hand")
    known = dataclasses.replace(annotation, confidence=confidence, prior=prior, dynamic=dynamic, caption=caption)
    return known.to_metric(scale)


def test_the_union_names_every_default_once() -> None:
    assert (*FOOTAGE_FILTERS, *TRAJECTORY_FILTERS) == FILTERS
    assert {type(config) for config in FILTERS} == set(FilterUnion.__args__)  # type: ignore[attr-defined]
    names = [config.name for config in FILTERS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


@OWN
def test_its_config_is_a_frozen_value_that_crosses_processes(config) -> None:
    assert config.licence
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(dataclasses.replace(config)) == hash(config)
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        config.name = "other"


@OWN
def test_it_measures_a_finite_value_under_its_own_name(config) -> None:
    verdict = measure(config)
    assert verdict.name == config.name
    assert verdict.state is MeasureState.MEASURED
    assert verdict.value is not None
    assert np.isfinite(verdict.value)


@OWN
def test_it_says_the_same_again(config) -> None:
    assert measure(config) == measure(config)


@pytest.mark.parametrize("config", TRAJECTORY_FILTERS, ids=lambda config: config.name)
def test_no_trajectory_is_unmeasured_never_a_number(config) -> None:
    verdict = measure(config, no_trajectory_of())
    assert (verdict.name, verdict.state, verdict.value) == (config.name, MeasureState.UNMEASURED, None)


@pytest.mark.parametrize("config", FOOTAGE_FILTERS, ids=lambda config: config.name)
@pytest.mark.parametrize("shape", [(2, 2, 2, 3), (2, 48, 64, 3), (3, 1000, 4, 3)], ids=["tiny", "blank", "sliver"])
def test_pictures_that_show_nothing_are_no_error(config, shape: tuple[int, ...]) -> None:
    source = ArraySource(np.zeros(shape, dtype=np.uint8))
    verdict = shown(config, source)
    assert verdict.state is MeasureState.UNMEASURED or np.isfinite(verdict.value or 0.0)
    assert verdict.state is MeasureState.MEASURED or verdict.reason
