"""The user's own factor."""

import pytest

from tests.annotate_doubles import NO_FILE, annotation_of, no_trajectory_of, path_of
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale.factor import ScaleFactorConfig
from wmkit.annotate.scale.fuse import fuse
from wmkit.camera import ScaleKind, ScaleVote
from wmkit.errors import InputError


def test_factor_is_taken_as_exact_and_makes_the_trajectory_metric() -> None:
    annotation = annotation_of(path_of([[0, 0, 0], [1, 0, 0]]))
    opinion = ScaleFactorConfig(factor=2.5).build("cpu").vote(annotation, NO_FILE)
    assert isinstance(opinion, ScaleVote)
    assert opinion == ScaleVote(cue="factor", value=2.5, sigma_log=0.0)
    estimate = fuse([opinion])
    assert estimate is not None
    metric = annotation.to_metric(estimate)
    assert metric.trajectory is not None
    assert metric.trajectory.scale is ScaleKind.METRIC
    assert metric.trajectory.path_length == 2.5


def test_without_a_trajectory_there_is_nothing_to_scale() -> None:
    assert ScaleFactorConfig(factor=1.0).build("cpu").vote(no_trajectory_of(), NO_FILE) == Unmeasured(
        reason="no_trajectory"
    )


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_scales_nothing_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="--scale"):
        ScaleFactorConfig(factor=factor)
