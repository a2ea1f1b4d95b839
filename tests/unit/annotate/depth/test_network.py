"""Networks as depth: the line through the points, its smoothing, fusion; random instances of the real classes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.annotate_doubles import ArraySource, annotation_of, no_trajectory_of, path_of, points_of
from tests.depth_doubles import tiny_depth_anything
from wmkit.annotate.defaults import DepthFrames, default_config, depth_backend
from wmkit.annotate.depth.fusion import anchor_factor, named_fusion
from wmkit.annotate.depth.line_fit import robust_line, smoothed
from wmkit.annotate.depth.network import NetworkDepthConfig, aligned_maps, inverse_of, named_depth_model
from wmkit.annotate.pipeline import _backend, config_hash
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale.depth_transformers import TransformersDepth, loaded
from wmkit.camera import Intrinsics
from wmkit.clip import Annotation, DepthMap
from wmkit.errors import InputError

CAMERA = Intrinsics.from_fov(60.0, 64, 48)


def source() -> ArraySource:
    """The same noisy picture four times."""
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return ArraySource(np.stack([rgb] * 4))


def seen_as(inverse: np.ndarray) -> Annotation:
    """Four cameras in one place and points on every third pixel's ray at depth 1 / inverse (48, 64)."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(1, 64, 3), np.arange(1, 48, 3)))
    ray = np.stack([(x + 0.5 - CAMERA.cx) / CAMERA.fx, (y + 0.5 - CAMERA.cy) / CAMERA.fy, np.ones(x.size)], axis=1)
    xyz = ray / inverse[y, x][:, None]
    return annotation_of(path_of(np.zeros((4, 3))), points_of(xyz), CAMERA)


def test_the_line_is_found_among_a_quarter_of_outliers() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 5, 300)
    y = 0.3 * x + 0.1
    y[::4] = rng.uniform(3, 9, 75)
    line = robust_line(x, y)
    assert line is not None
    np.testing.assert_allclose(line, (0.3, 0.1), rtol=1e-6)  # what is off is left out altogether
    assert robust_line(x, -x) is None
    assert robust_line(x, rng.uniform(0, 1, 300)) is None
    assert robust_line(x[:19], x[:19]) is None


def test_smoothing_decays_by_the_distance_of_frames() -> None:
    rows = np.array([[1.0, 0.0], [2.0, 1.0], [2.0, 1.0]])
    frame = np.array([0, 10, 110])
    np.testing.assert_array_equal(smoothed(rows, frame, 0.0), rows)
    np.testing.assert_array_equal(smoothed(rows, frame, 1.0), rows[[0, 0, 0]])
    expected = 1 + (1 - 0.99**10)
    kept = smoothed(rows, frame, 0.99)
    assert kept[1, 0] == pytest.approx(expected)
    assert kept[2, 0] == pytest.approx(0.99**100 * expected + (1 - 0.99**100) * 2)


def test_maps_are_laid_onto_the_points_and_a_contradicted_frame_has_none() -> None:
    y, x = np.mgrid[0:48, 0:64]
    truth = 0.2 + 0.3 * x / 64 + 0.1 * y / 48
    annotation = seen_as(truth)
    said = (7 * (truth - 0.05)).astype(np.float32)
    outcome = aligned_maps(iter([(0, said), (1, 9 - said), (3, said)]), annotation, 0.99)
    assert isinstance(outcome, DepthMap)
    assert outcome.frame.tolist() == [0, 3]
    assert outcome.valid.all()
    assert outcome.confidence is None
    np.testing.assert_allclose(outcome.z, np.stack([1 / truth] * 2), rtol=1e-4)
    sky = said.copy()
    sky[:10] = 7 * (0.001 - 0.05)  # a thousand units away
    outcome = aligned_maps(iter([(0, sky)]), annotation, 0.99)
    assert isinstance(outcome, DepthMap)
    assert not outcome.valid[0, :10].any()
    assert outcome.valid[0, 10:].all()
    none = aligned_maps(iter([(0, 9 - said)]), annotation, 0.99)
    assert none == Unmeasured(reason="no_frame_whose_points_the_network_explains")


def test_the_anchor_s_factor_is_the_weighted_least_square() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (20, 30)).astype(np.float32)
    metres = (2 * depth * rng.uniform(0.8, 1.2, depth.shape)).astype(np.float32)
    metres[0] = np.nan
    tried = np.linspace(1.5, 2.5, 2001)
    d, truth = depth[1:].astype(np.float64), metres[1:]
    cost = [((s * d - truth) ** 2 / d).sum() for s in tried]
    assert anchor_factor(depth, metres) == pytest.approx(tried[int(np.argmin(cost))], abs=1e-3)
    assert anchor_factor(depth[:3], metres[:3]) is None  # 60 pixels


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_a_real_class_gives_maps_in_the_trajectory_s_unit(tmp_path: Path, kind: str) -> None:
    config = named_depth_model(tiny_depth_anything(tmp_path / "net", kind), 320, 3)
    frames = source()
    said = inverse_of(TransformersDepth(config.path, "cpu", relative=True), frames.rgb[:1], (48, 64))[0]
    low, high = said.min(), said.max()
    assert low < high
    truth = 0.2 + 0.4 * (said - low) / (high - low)  # what the network says, in units of its own
    outcome = config.build("cpu").estimate(frames, seen_as(truth))
    assert isinstance(outcome, DepthMap)
    assert outcome.z.shape == (3, 48, 64)
    # float32 activations of a batch differ in the last digits from those of one picture
    np.testing.assert_allclose(outcome.z, np.stack([1 / truth] * 3), rtol=1e-3)
    again = dataclasses.replace(config, batch=2).build("cpu").estimate(frames, seen_as(truth))
    assert isinstance(again, DepthMap)
    np.testing.assert_allclose(again.z, outcome.z, rtol=1e-3)
    assert config.build("cpu").estimate(frames, no_trajectory_of()) == Unmeasured(reason="no_trajectory")


@pytest.mark.filterwarnings("ignore")
def test_fusion_runs_two_real_classes_and_a_relative_structure_is_refused(tmp_path: Path) -> None:
    structure = named_depth_model(tiny_depth_anything(tmp_path / "a", "metric"), 320, 2)
    fused = named_fusion(structure, tiny_depth_anything(tmp_path / "b", "metric", seed=1))
    frames = source()
    said = inverse_of(TransformersDepth(structure.path, "cpu"), frames.rgb[:1], (48, 64))[0]
    truth = 0.2 + 0.4 * (said - said.min()) / np.ptp(said)
    outcome = fused.build("cpu").estimate(frames, seen_as(truth))
    assert isinstance(outcome, DepthMap)
    np.testing.assert_allclose(outcome.z, np.stack([1 / truth] * 2), rtol=1e-3)  # the anchor's metres end in the unit
    assert fused.weights_hash == f"{structure.weights_hash}+{fused.anchor_hash}"
    relative = dataclasses.replace(
        fused, structure=named_depth_model(tiny_depth_anything(tmp_path / "c", "relative"), 320, 2)
    )
    with pytest.raises(InputError, match="no zero"):
        relative.build("cpu").estimate(frames, seen_as(truth))


def test_weights_and_not_their_place_are_in_the_config_s_hash() -> None:
    def digest(path: str, weights: str) -> str:
        return config_hash(default_config(depth=NetworkDepthConfig(path=path, weights_hash=weights)))

    assert digest("/a", "0") == digest("/b", "0")
    assert digest("/a", "0") != digest("/a", "1")


def test_flags_that_exclude_each_other_are_one_line(tmp_path: Path) -> None:
    assert depth_backend("none", 320, None, None) is None
    every = depth_backend("all", 480, None, None)
    assert (every.max_side, every.max_frames) == (480, None)  # type: ignore[union-attr]
    refused: tuple[tuple[tuple[DepthFrames, int, Path | None, Path | None], str], ...] = (
        (("keyframes", 16, None, None), "--depth-max-side: expected at least 32"),
        (("keyframes", 320, None, tmp_path), "--depth-anchor: expected a --depth-model"),
        (("none", 320, tmp_path, None), "--depth-model: expected --depth keyframes or all"),
        (("keyframes", 320, tmp_path / "absent", None), "--depth-model"),
    )
    for given, words in refused:
        with pytest.raises(InputError, match=words):
            depth_backend(*given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="momentum"):
        NetworkDepthConfig(path="/a", weights_hash="0", momentum=1.5)


@pytest.mark.filterwarnings("ignore")
def test_the_provenance_names_the_network_that_ran(tmp_path: Path) -> None:
    config = named_depth_model(tiny_depth_anything(tmp_path / "net", "relative"), 320, 2)
    fused = named_fusion(config, tiny_depth_anything(tmp_path / "anchor", "metric", seed=1))
    for depth in (config, fused):
        record = _backend("depth", depth)
        assert (record.part, record.name, record.licence) == ("depth", depth.name, "the weights' own")
        assert record.weights_hash == depth.weights_hash


def test_a_network_is_loaded_once_a_process_and_again_for_other_weights(tmp_path: Path) -> None:
    path = str(tiny_depth_anything(tmp_path / "model", "metric"))
    first = loaded(path, "one", "cpu", "--depth-model", relative=True)
    assert loaded(path, "one", "cpu", "--depth-model", relative=True) is first
    assert loaded(path, "other", "cpu", "--depth-model", relative=True) is not first
