"""One trajectory seen from above, with headings, sparse points and position uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.report.svg import Canvas, axis_ticks, number, tick_step
from wmkit.camera import Array, Intrinsics, ScaleKind, Trajectory
from wmkit.clip import Points
from wmkit.spread import evenly_spread

__all__ = ["TopDown", "posed_runs", "position_sigma", "top_down", "unit_of"]

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 380.0, 300.0, 46.0, 36.0, 8.0, 10.0
FRUSTA = 12
FRUSTUM_PX = 13.0
SHOWN_POINTS = 500
CHI_95 = 2.4477  # sqrt of the 95 % quantile of chi-squared with 2 degrees of freedom
VISIBLE_PX = 1.5  # an ellipse smaller than this hides behind the line


@dataclass(frozen=True, slots=True, kw_only=True)
class TopDown:
    """The drawing, one sentence each about what it cannot show, and whether it has points and ellipses in it."""

    svg: str
    notes: tuple[str, ...]
    points: bool = False
    ellipses: bool = False


def unit_of(scale: ScaleKind) -> str:
    """What one unit of translation is called on the page."""
    return "m" if scale is ScaleKind.METRIC else "median depths"


def position_sigma(trajectory: Trajectory) -> Array | None:
    """(P, 2, 2) covariance of x and z in the world of every posed frame; None without covariance.

    The tangent is right-multiplied, so its translation part lies in camera axes: world = R S R^T.
    """
    if trajectory.covariance is None:
        return None
    rotation = trajectory.rotation[trajectory.posed]
    world = rotation @ trajectory.covariance[trajectory.posed][:, 3:, 3:] @ np.swapaxes(rotation, 1, 2)
    return world[:, ::2, ::2]


def top_down(trajectory: Trajectory, intrinsics: Sequence[Intrinsics], points: Points | None) -> TopDown:
    """x to the right, z up the page: the world as seen from above the first posed camera, equal axes."""
    unit = unit_of(trajectory.scale)
    posed = np.flatnonzero(trajectory.posed)
    if len(posed) == 0:
        return TopDown(svg="", notes=("no frame is posed",))
    track = trajectory.position[:, ::2]
    centre, per_px = _frame(track[posed])
    inner = Canvas(WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, "")
    middle = np.array([inner.width, inner.height]) / 2

    def place(xz: Array) -> Array:
        return middle + (xz - centre) / per_px * np.array([1.0, -1.0])

    canvas = Canvas(WIDTH, HEIGHT, f"Trajectory from above, {len(posed)} posed frames, in {unit}")
    _axes(canvas, inner, centre, per_px, unit)
    has_points = has_ellipses = False
    if points is not None:
        step = max(1, -(-len(points) // SHOWN_POINTS))
        shown = place(points.xyz[::step, ::2])
        inside = ((shown > 0) & (shown < 2 * middle)).all(axis=1)
        inner.dots(shown[inside], 0.9, "points")
        has_points = bool(inside.any())
    ticks = posed[evenly_spread(len(posed), FRUSTA)]
    notes = [_extent(trajectory, unit)]
    sigma = position_sigma(trajectory)
    if sigma is not None:
        at = np.searchsorted(posed, ticks)
        words, has_ellipses = _ellipses(inner, place(track[ticks]), sigma, at, per_px, unit)
        notes.append(words)
    for index in ticks:
        inner.polygon(_frustum(place(track[index]), trajectory.rotation[index], intrinsics[index]), "frustum")
    for run in posed_runs(posed):
        inner.line(place(track[run]), "track")
    first, last = place(track[posed[[0, -1]]])
    inner.box(last[0] - 4.5, last[1] - 4.5, 9, 9, "end")
    inner.dots(first[None], 5, "start")
    canvas.nested(LEFT, TOP, inner)
    gaps = len(posed_runs(posed)) - 1
    if gaps:
        notes.append(f"{gaps} gap{'s' if gaps > 1 else ''} of frames without a pose")
    return TopDown(svg=canvas.svg(), notes=tuple(notes), points=has_points, ellipses=has_ellipses)


def _frame(track: Array) -> tuple[Array, float]:
    """Centre (2,) and units a px such that the track (n, 2) fits with a margin; a still camera gets one unit."""
    low, high = track.min(axis=0), track.max(axis=0)
    room = np.array([WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM]) - 2 * (FRUSTUM_PX + 10)
    per_px = float(((high - low) / room).max())
    return (low + high) / 2, per_px if per_px > 1e-12 else 1.0 / float(room.min())


def _axes(canvas: Canvas, inner: Canvas, centre: Array, per_px: float, unit: str) -> None:
    half = np.array([inner.width, inner.height]) / 2 * per_px
    step = tick_step(2 * float(half.min()), 6)
    for tick in axis_ticks(centre[0] - half[0], centre[0] + half[0], step):
        x = LEFT + inner.width / 2 + (tick - centre[0]) / per_px
        canvas.line([(x, TOP), (x, TOP + inner.height)], "gridline")
        if LEFT + 8 < x < WIDTH - RIGHT - 8:
            canvas.text(x, HEIGHT - BOTTOM + 13, number(tick))
    for tick in axis_ticks(centre[1] - half[1], centre[1] + half[1], step):
        y = TOP + inner.height / 2 - (tick - centre[1]) / per_px
        canvas.line([(LEFT, y), (WIDTH - RIGHT, y)], "gridline")
        if TOP + 6 < y < HEIGHT - BOTTOM - 4:
            canvas.text(LEFT - 5, y + 3.5, number(tick), "tick", "end")
    canvas.box(LEFT, TOP, inner.width, inner.height, "border")
    canvas.text(LEFT + inner.width / 2, HEIGHT - 6, f"x, right ({unit})", "label")
    canvas.text(11, TOP + inner.height / 2, f"z, forward ({unit})", "label", turn=-90)


def posed_runs(posed: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Posed frame indices cut wherever frames without a pose lie between: nothing is drawn across a gap."""
    return np.split(posed, np.flatnonzero(np.diff(posed) > 1) + 1)


def _frustum(apex: Array, rotation: Array, camera: Intrinsics) -> Array:
    """(3, 2) px: apex and the middles of the left and right image border, foreshortened when looking up or down."""
    sides = np.array([[-camera.cx / camera.fx, 0, 1], [(camera.width - camera.cx) / camera.fx, 0, 1]])
    flat = (sides @ rotation.T)[:, ::2] * np.array([1.0, -1.0])
    return np.vstack([apex, apex + FRUSTUM_PX * flat])


def _extent(trajectory: Trajectory, unit: str) -> str:
    height = np.ptp(trajectory.position[trajectory.posed][:, 1])
    return f"path {number(trajectory.path_length)} {unit}, height range {number(float(height))} {unit}"


def _ellipses(
    inner: Canvas, apex: Array, sigma: Array, at: NDArray[np.intp], per_px: float, unit: str
) -> tuple[str, bool]:
    """Draw the 95 % ellipses of rows `at` around `apex`; words on their size, and whether any was large enough."""
    value, vector = np.linalg.eigh(sigma)
    radius = CHI_95 * np.sqrt(np.maximum(value, 0))
    turn = np.linspace(0, 2 * np.pi, 33)[:-1]
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    drawn = 0
    for place, index in zip(apex, at, strict=True):
        if radius[index, 1] / per_px > VISIBLE_PX:
            outline = (circle * radius[index]) @ vector[index].T / per_px * np.array([1.0, -1.0])
            inner.polygon(place + outline, "ellipse")
            drawn += 1
    middle, worst = float(np.median(radius[:, 1])), float(radius[:, 1].max())
    words = f"95 % position uncertainty: median {number(middle)}, worst {number(worst)} {unit}"
    return (words, True) if drawn else (words + " (too small to draw)", False)
