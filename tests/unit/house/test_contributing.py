"""The worked examples of CONTRIBUTING.md, run as they stand there: parts from outside the package, end to end."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.house.source_tree import ROOT
from wmkit.annotate.pipeline import AnnotateConfig, annotate_clip, config_hash
from wmkit.camera import ScaleKind
from wmkit.video import VideoConfig, discover, identify

WIDTH, HEIGHT, STEP_PX, FRAMES = 96, 64, 3, 6


@pytest.fixture(scope="module")
def parts() -> dict[str, type]:
    """Class name -> class, from the three python blocks."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found: dict[str, type] = {}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        module = types.ModuleType(f"contributing_example_{number}")
        sys.modules[module.__name__] = module  # dataclasses look their module up
        exec(compile(block, f"CONTRIBUTING.md block {number}", "exec"), module.__dict__)
        found |= {name: getattr(module, name) for name in module.__dict__["__all__"]}
    assert set(found) == {"BrightnessConfig", "SubjectDistanceConfig", "WallSlideConfig"}
    return found


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A folder of images: a wall of noise that moves left by 3 px a frame, because the camera moves right."""
    wall = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH + STEP_PX * FRAMES, 3), dtype=np.uint8)
    for index in range(FRAMES):
        start = index * STEP_PX
        Image.fromarray(wall[:, start : start + WIDTH]).save(tmp_path / f"{index:04d}.png")
    return tmp_path


def test_examples_run_end_to_end(parts: dict[str, type], slide: Path) -> None:
    config = AnnotateConfig(
        video=VideoConfig(),
        pose=parts["WallSlideConfig"](fov_x_deg=60.0),
        depth=None,
        scale=(parts["SubjectDistanceConfig"](distance_m=2.5),),
        footage_filters=(parts["BrightnessConfig"](),),
        trajectory_filters=(),
    )
    (found,) = discover([slide]).clips
    annotation = annotate_clip(identify(found), config).annotation
    assert annotation.trajectory is not None
    assert annotation.trajectory.scale is ScaleKind.METRIC
    focal_px = WIDTH / 2 / np.tan(np.radians(30))
    # Whole-pixel shifts on an exact wall: what is left is rounding in float64.
    np.testing.assert_allclose(
        annotation.trajectory.position[:, 0], 2.5 * STEP_PX * np.arange(FRAMES) / focal_px, rtol=0, atol=1e-9
    )
    # The mean of 18 432 uniform draws a frame lies within 0.01 of a half by more than six of its own sigmas.
    assert annotation.verdict("brightness").value == pytest.approx(0.5, abs=0.01)
    assert {record.name for record in annotation.provenance.backends} == {
        "wall_slide",
        "subject_distance",
        "brightness",
        "p_good",
    }
    assert config_hash(config) != config_hash(AnnotateConfig(**{**fields(config), "seed": 1}))


def fields(config: AnnotateConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__slots__}


def test_examples_keep_the_budgets() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [block.count("\n") for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    assert lines[0] <= 40, "a filter"
    assert lines[1] <= 120, "a pose backend"
