import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.annotate.report.samples import opened, posed, write_pictures
from wmkit.annotate.report.data import histogram
from wmkit.annotate.report.svg import Canvas, axis_ticks, colour_bar, histogram_svg, number, tick_step
from wmkit.annotate.report.topdown import position_sigma, top_down
from wmkit.camera import Intrinsics, ScaleKind, Trajectory


def paths(svg: str, style: str) -> list[np.ndarray]:
    """(n, 2) points of every path of this class."""
    found = re.findall(rf'<path class="{style}"[^>]* d="([^"]+)"', svg)
    return [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), dtype=float) for path in found]


def track(position: np.ndarray, rotation: np.ndarray | None = None, **fields: object) -> Trajectory:
    poses = np.tile(np.eye(4), (len(position), 1, 1))
    poses[:, :3, 3] = position
    if rotation is not None:
        poses[:, :3, :3] = rotation
    flags = np.isfinite(position[:, 0])
    poses[~flags] = np.nan
    time_s = np.arange(len(position)) / 10
    return Trajectory(
        world_from_cam=poses, time_s=time_s, posed=flags, scale=ScaleKind.METRIC, **fields  # type: ignore[arg-type]
    )  # fmt: skip


def drawn(trajectory: Trajectory) -> tuple[str, tuple[str, ...]]:
    plot = top_down(trajectory, (Intrinsics.from_fov(60, 64, 48),) * len(trajectory), None)
    return plot.svg, plot.notes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0.0, "0"), (1.0, "1"), (0.5, "0.5"), (12.345, "12.3"), (-12.345, "-12.3"), (100.0, "100"), (999.7, "1,000")],
        *[(1234.5, "1,234"), (0.00123, "0.00123"), (1.2e-7, "1.2e-07"), (3e9, "3e+09"), (9.999, "10"), (20.0, "20")],
    ],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 9))
def test_ticks_are_few_and_inside(low: float, extent: float, most: int) -> None:
    step = tick_step(extent, most)
    ticks = axis_ticks(low, low + extent, step)
    # One more than `most` pieces can hold, where both ends lie on a tick within the rounding of floor and ceil.
    assert len(ticks) <= most + 1
    assert all(low - 1e-6 * step <= tick <= low + extent + 1e-6 * step for tick in ticks)
    assert float(f"{step:.0e}"[0]) in (1, 2, 5)


def test_words_are_escaped() -> None:
    canvas = Canvas(10, 10, 'a"<b>')
    canvas.text(1, 1, "<script>")
    assert "<script>" not in canvas.svg()
    assert "<b>" not in canvas.svg()
    data = histogram("<i>", "<u>", np.array([1.0, 2.0]), {})
    assert "<i>" not in histogram_svg(data)


def test_histogram_draws_a_bar_a_full_bin_and_the_outliers() -> None:
    svg = histogram_svg(histogram("cuts", "", np.array([0.0, 0, 2, 3]), {}))
    assert svg.count('class="bar"') == 3
    values = np.append(np.linspace(1.0, 1.9, 50), [1e9, -1e9])
    assert histogram_svg(histogram("speed", "", values, {})).count('class="bar outside"') == 2


def test_histogram_of_nothing_says_so() -> None:
    svg = histogram_svg(histogram("speed", "m/s", np.empty(0), {"no_trajectory": 3}))
    assert "nothing measured" in svg
    assert "0 values, 3 unmeasured" in svg


@pytest.mark.parametrize("values", [[5e-324], [1e300, -1e300], [0.0], [7.0] * 5, [1e15, 1e15 + 1]])
def test_histogram_survives_odd_values(values: list[float]) -> None:
    svg = histogram_svg(histogram("odd", "", np.array(values), {}))
    assert "nan" not in svg
    assert "inf" not in svg


def test_right_is_right_and_forward_is_up() -> None:
    svg, _ = drawn(track(np.array([[0, 0, 0], [1, 0, 0], [1, 0, 2.0]])))
    (line,) = paths(svg, "track")
    right, forward = line[1] - line[0], line[2] - line[1]
    assert right[0] > 0
    assert forward[1] < 0, "SVG's y points down"
    # Coordinates are written with one decimal: two of them differ by up to 0.1 px from the exact distance.
    assert right[1] == pytest.approx(0, abs=0.1)
    assert -forward[1] == pytest.approx(2 * right[0], abs=0.2), "equal axes"


def test_headings_point_where_the_camera_looks() -> None:
    right = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # columns: a camera that looks along the world's +x
    svg, _ = drawn(track(np.array([[0.0, 0, 0], [1, 0, 0]]), np.stack([np.eye(3), right])))
    ahead, aside = paths(svg, "frustum")
    assert ahead[1:, 1].mean() < ahead[0, 1] - 5
    assert aside[1:, 0].mean() > aside[0, 0] + 5
    assert aside[1, 1] < aside[0, 1] < aside[2, 1], "its left border lies ahead of the first camera"


def test_nothing_is_drawn_across_a_gap() -> None:
    position = np.cumsum(np.ones((9, 3)), axis=0)
    position[3:5] = np.nan
    svg, notes = drawn(track(position))
    assert [len(line) for line in paths(svg, "track")] == [3, 4]
    assert "1 gap of frames without a pose" in notes


def test_uncertainty_is_turned_into_the_world() -> None:
    right = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    covariance = np.zeros((3, 6, 6))
    covariance[1:, 5, 5] = 0.04  # along the camera's own z
    trajectory = track(np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2]]), np.stack([right] * 3), covariance=covariance)
    sigma = position_sigma(trajectory)
    assert sigma is not None
    np.testing.assert_allclose(sigma[1], [[0.04, 0], [0, 0]], atol=1e-12)
    svg, notes = drawn(trajectory)
    ellipses = paths(svg, "ellipse")
    assert len(ellipses) == 2
    wide, tall = np.ptp(ellipses[0], axis=0)
    assert wide > 20 * tall
    assert "95 % position uncertainty: median 0.49, worst 0.49 m" in notes, "2.4477 times 0.2 m"


@pytest.mark.parametrize(
    "position", [np.zeros((3, 3)), np.array([[0.0, 0, 0]]), np.array([[0, 0, 0], [0, 5.0, 0]]), np.eye(3) * 1e9]
)
def test_odd_paths_are_drawn(position: np.ndarray) -> None:
    svg, _ = drawn(track(position))
    assert "nan" not in svg
    assert "inf" not in svg.replace("information", "")
    assert len(paths(svg, "track")) == 1


def test_no_posed_frame_is_said() -> None:
    assert drawn(track(np.full((2, 3), np.nan))) == ("", ("no frame is posed",))


def test_drawings_are_well_formed(tmp_path) -> None:
    annotation = posed(opened(write_pictures(tmp_path / "a", 8)))
    assert annotation.trajectory is not None
    plot = top_down(annotation.trajectory, annotation.intrinsics, annotation.points)
    assert "median depths" in plot.svg
    for svg in (plot.svg, colour_bar(0.5, 20.0, "m")):
        check = Balance()
        check.feed(svg)
        check.close()
        assert check.depth == 0


class Balance(HTMLParser):
    """Depth of open tags; 0 at the end when all are closed."""

    depth = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.depth += 1

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1
