"""Scale from a depth network: the weighted fit, hidden points, and a tiny transformers model from a folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.annotate_doubles import annotation_of, path_of, points_of
from tests.depth_doubles import tiny_depth_anything
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale.depth_network import factor_of_frame, mean_factor, named_network, vote_of_factors
from wmkit.camera import Intrinsics, ScaleVote
from wmkit.clip import Annotation
from wmkit.errors import InputError
from wmkit.video import VideoConfig, discover, identify

CAMERA = Intrinsics.from_fov(60.0, 64, 48)


def scene(rng: np.random.Generator, frames: int = 4) -> Annotation:
    xyz = rng.uniform((-2, -1.5, 3), (2, 1.5, 3.001), (300, 3))
    return annotation_of(path_of(np.arange(frames)[:, None] * np.array([0.05, 0, 0])), points_of(xyz), CAMERA)


def test_the_factor_is_the_ratio_of_depths_and_hidden_points_have_no_say() -> None:
    annotation = scene(np.random.default_rng(0))
    metres = np.full((24, 32), 3.0 * 2.5, dtype=np.float32)
    factor = factor_of_frame(annotation, 1, metres)
    assert factor == pytest.approx(2.5, rel=1e-3)  # the wall is 1 mm thick
    metres[:, :8] = 0.4  # something near hides a quarter of the points
    assert factor_of_frame(annotation, 1, metres) == pytest.approx(2.5, rel=1e-3)
    metres[:] = np.nan
    assert factor_of_frame(annotation, 1, metres) is None


def test_factors_are_weighted_by_inverse_depth() -> None:
    depth = np.repeat([2.0, 8.0], 30)
    xyz = np.column_stack([np.linspace(-0.2, 0.2, 60), np.zeros(60), depth])
    annotation = annotation_of(path_of(np.zeros((2, 3))), points_of(xyz), CAMERA)
    metres = np.zeros((48, 64), dtype=np.float32)
    place = np.floor(xyz[:, 0] / depth * CAMERA.fx + CAMERA.cx).astype(int)
    metres[:, place[:30]] = 2.0 * 1.1
    metres[:, place[30:]] = 8.0 * 1.0
    seen = metres[24, place]
    weight = 1 / depth
    expected = (weight * depth * seen).sum() / (weight * depth**2).sum()
    assert factor_of_frame(annotation, 0, metres) == pytest.approx(expected, rel=1e-6)


def test_one_wild_frame_is_outvoted_and_every_factor_is_kept() -> None:
    factors = [(index, 2.0 * (1 + 0.01 * (-1) ** index)) for index in range(9)] + [(9, 40.0)]
    opinion = vote_of_factors(factors, 0.15)
    assert isinstance(opinion, ScaleVote)
    assert opinion.value == pytest.approx(2.0, rel=0.02)
    assert opinion.frame_factors == tuple(factors)
    assert opinion.sigma_log >= 0.15
    assert vote_of_factors([], 0.15) == Unmeasured(reason="no_frame_with_points_and_depth")
    assert mean_factor(np.array([0.3])) == (0.3, 0.0)


def test_weights_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--metric-depth"):
        named_network(tmp_path / "absent", VideoConfig())
    with pytest.raises(InputError, match="safetensors in"):
        named_network(tmp_path, VideoConfig())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_a_tiny_transformers_model_votes(tmp_path: Path, kind: str) -> None:
    folder = tiny_depth_anything(tmp_path / "weights", kind)
    clip = tmp_path / "clip"
    clip.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        cv2.imwrite(str(clip / f"{index}.png"), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    file = identify(discover([clip]).clips[0])
    annotation = annotation_of(
        path_of(np.arange(4)[:, None] * np.array([0.05, 0, 0])),
        points_of(rng.uniform((-2, -1.5, 3), (2, 1.5, 3.1), (300, 3))),
        CAMERA,
        fps=16.0,
    )
    cue = named_network(folder, VideoConfig()).build("cpu")
    if kind == "relative":
        with pytest.raises(InputError, match="metres"):
            cue.vote(annotation, file)
        return
    opinion = cue.vote(annotation, file)
    assert isinstance(opinion, ScaleVote), opinion
    assert len(opinion.frame_factors) == 4
    assert cue.vote(annotation, file) == opinion
