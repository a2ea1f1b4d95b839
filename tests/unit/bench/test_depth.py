"""`wmkit bench depth`: references read and registered, figures, limits and the exit code they make."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from wmkit.annotate.pipeline import AnnotateResult
from wmkit.bench import depth as bench
from wmkit.bench.depth import DepthBenchOptions, bench_depth, score_depth
from wmkit.bench.depth_limits import judge_depth, read_depth_limits
from wmkit.bench.depth_reference import WorldDepth, read_depth_images
from wmkit.camera import ScaleKind
from wmkit.clip import DepthMap
from wmkit.errors import ClipError, ConfigError, InputError
from wmkit.worlds import SMALL_CLIPS

SHIPPED = Path(__file__).parents[3] / "benchmarks" / "depth_limits.toml"


def maps(error: np.ndarray, confidence: np.ndarray | None) -> tuple[DepthMap, np.ndarray]:
    """Maps in a unit of their own, wrong by `error` (1, h, w), and the reference."""
    reference = np.full(error.shape, 2, dtype=np.float32)
    z = (reference * (1 + error) / 3).astype(np.float32)
    depth = DepthMap(
        frame=np.array([0]), z=z, valid=z > 0, scale=ScaleKind.UP_TO_SCALE, confidence=confidence
    )  # fmt: skip
    return depth, reference


def test_one_scale_a_clip_and_fifths_by_confidence() -> None:
    error = np.zeros((1, 20, 50))
    error[0, :4] = 0.1  # a fifth of the pixels
    error[0, :4, ::2] = -0.1
    sure = np.linspace(0.1, 0.9, 1000).reshape(1, 20, 50)
    score = score_depth("a", *maps(error, sure), core_s=0.5)
    assert score.value("depth_abs_rel") == pytest.approx(0.02, abs=1e-6)
    assert score.value("depth_coverage") == 1
    np.testing.assert_allclose(score.groups, (0.1, 0, 0, 0, 0), atol=1e-6)
    spearman = score.value("confidence_spearman")
    assert spearman is not None
    assert spearman < 0
    upside_down = score_depth("a", *maps(error, 1 - sure), core_s=0.5).value("confidence_spearman")
    assert upside_down == pytest.approx(-spearman, abs=0.01)
    assert score_depth("a", *maps(error, None), core_s=None).groups == ()
    nothing = score_depth("a", maps(error, None)[0], np.zeros((1, 20, 50), np.float32), None)
    assert "expected pixels valid" in nothing.problem


def test_limits_are_held_missed_or_not_measured(tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text(
        "[a]\nabs_rel_percent_max = 3\ncoverage_percent_min = 75\ncore_s_max = 0.4\nconfidence_monotone = true\n"
    )
    error = np.zeros((1, 20, 50))
    error[0, -4:, ::2], error[0, -4:, 1::2] = 0.1, -0.1
    sure = np.linspace(0.1, 0.9, 1000).reshape(1, 20, 50)
    asked = read_depth_limits(limits)["a"]
    held = {check.limit: check.held for check in judge_depth(score_depth("a", *maps(error, sure), 0.5), asked)}
    assert held == {
        "abs_rel_percent_max": True,
        "coverage_percent_min": True,
        "core_s_max": False,
        "confidence_monotone": False,  # the most confident fifth is the one that errs
    }
    none = judge_depth(score_depth("a", *maps(error, None), None), asked)
    assert {check.limit for check in none if not check.held} == {"core_s_max", "confidence_monotone"}
    for text in (
        "[a]\nabs_rel = 1",
        "[a]\ncore_s_max = -1",
        "a = 1",
        "[a.given]\nx = 1",
        "[",
        "[a]\ncore_s_max = true",
    ):
        limits.write_text(text)
        with pytest.raises(ConfigError):
            read_depth_limits(limits)
    with pytest.raises(InputError, match="--limits"):
        read_depth_limits(tmp_path / "absent.toml")
    assert set(read_depth_limits(SHIPPED)) == {"icl_livingroom", "sevenscenes_kitchen", "worlds"}


def sequence(folder: Path, depth_camera: bool) -> Path:
    """Two frames of a slanted wall, depth of the second; with a depth camera 0.2 m to the left of the colour one."""
    folder.mkdir()
    camera, own = [60.0, 60.0, 32.0, 24.0], [80.0, 80.0, 32.0, 24.0]
    x = np.arange(64)
    z_mm = np.tile(2000 + 10 * x, (48, 1)).astype(np.uint16)
    z_mm[0, 0], z_mm[1, 1] = 0, 65535
    cv2.imwrite(str(folder / "d.png"), z_mm)
    rows: list[dict] = [{"file": f"images/{i}.png", "K": camera} for i in range(2)]
    rows[1] |= {"depth": "d.png", **({"K_depth": own} if depth_camera else {})}
    (folder / "poses.json").write_text(json.dumps({"depth_unit": "mm uint16, 0 invalid", "frames": rows}))
    return folder


def test_depth_images_are_read_and_registered(tmp_path: Path) -> None:
    images = ("0.png", "1.png")
    plain = read_depth_images(sequence(tmp_path / "a", depth_camera=False), images)
    assert plain.frames == (1,)
    z = plain.read(1, 64, 48)
    assert (z[0, 0], z[1, 1]) == (0, 0)
    assert z[10, 20] == pytest.approx(2.2)
    moved = read_depth_images(sequence(tmp_path / "b", depth_camera=True), images, (-0.2, 0.0, 0.0))
    z = moved.read(1, 64, 48)
    # Depth pixel (40, 20): centre 40.5, z 2.4; x = 8.5 / 80 * 2.4 - 0.2 = 0.055 m, seen at 0.055 / 2.4 * 60 + 32 = 33.
    assert z[int((20.5 - 24) / 80 * 60 + 24), 33] == pytest.approx(2.4, abs=0.011)  # its neighbour is 1 cm off
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "poses.json").write_text('{"frames": []}')
    with pytest.raises(InputError, match="mm uint16"):
        read_depth_images(tmp_path / "c", images)


def test_a_world_s_depth_is_its_renderer_s(tmp_path: Path) -> None:
    clip = SMALL_CLIPS[0]
    reference = WorldDepth(clip=clip)
    assert reference.frames == tuple(range(clip.frames))
    z = reference.read(3, 80, 48)
    assert z.shape == (48, 80)
    assert 0.2 < np.median(z[z > 0]) < 6  # a small room


def test_the_bench_exits_by_its_limits_and_says_why_a_clip_has_no_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "DEMO_CLIPS", SMALL_CLIPS[:1])

    def fails(*_: object) -> AnnotateResult:
        raise ClipError("pose", "crashed", "expected to work")

    monkeypatch.setattr(bench, "annotate_pixels", fails)
    result = bench_depth([], DepthBenchOptions(worlds=True, out=tmp_path / "out.json"))
    assert result.exit_code == 1
    assert "crashed" in result.rows[0].problem
    assert json.loads((tmp_path / "out.json").read_text()) == result.to_json()
    with pytest.raises(InputError, match="got neither"):
        bench_depth([], DepthBenchOptions())


@pytest.mark.slow
def test_small_worlds_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DEMO_CLIPS", SMALL_CLIPS[:1])
    result = bench_depth([], DepthBenchOptions(worlds=True))
    clip, together = result.rows
    assert together.name == "worlds"
    assert clip.problem == ""
    # 160x96 px: a quarter of the size that the 1.5 % target is for, so several times its error.
    assert clip.value("depth_abs_rel") < 0.06  # type: ignore[operator]
    assert clip.value("depth_abs_rel") == pytest.approx(together.value("depth_abs_rel"), rel=1e-4)
