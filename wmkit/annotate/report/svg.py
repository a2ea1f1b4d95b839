"""Small SVG drawings for an HTML page: numbers, axes, a histogram, a trajectory from above, a colour bar.

Everything is text of fixed precision, so that the same data give the same bytes. Colours are CSS classes of
style.css, so that one drawing serves light and dark. Words from outside are escaped here.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.report.data import Histogram
from wmkit.annotate.report.pictures import turbo
from wmkit.thresholds import ThresholdRow

__all__ = ["Canvas", "axis_ticks", "colour_bar", "histogram_svg", "number", "tick_step"]

WIDEST_BAR = 24.0  # a verdict with one or two whole values would fill its box with colour


def number(value: float) -> str:
    """Three significant digits for people: 1,234, 12.3, 0.00123, 1.2e-07; no trailing zeros."""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e7:
        return f"{value:.2g}"
    if size >= 999.5:
        return f"{value:,.0f}"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tick_step(extent: float, most: int) -> float:
    """The finest of 1, 2, 5 times a power of ten that puts at most `most` (>= 2) ticks into `extent` > 0."""
    power = 10.0 ** math.floor(math.log10(extent / most))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if extent / (power * factor) <= most - 1)


def axis_ticks(low: float, high: float, step: float) -> list[float]:
    """The multiples of `step` in [low, high]."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


class Canvas:
    """Collects elements of one drawing, `width` x `height` user units (px at scale 1), y down."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self._parts: list[str] = []

    def line(self, points: NDArray[np.float64] | Sequence[Sequence[float]], style: str) -> None:
        """Open line through (n, 2) points."""
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._parts.append(f'<path class="{style}" d="{path}"/>')

    def polygon(self, points: NDArray[np.float64] | Sequence[Sequence[float]], style: str) -> None:
        """Closed line through (n, 2) points."""
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
        self._parts.append(f'<path class="{style}" d="{path}"/>')

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """Rectangle."""
        size = f'width="{max(width, 0):.2f}" height="{max(height, 0):.2f}"'
        self._parts.append(f'<rect class="{style}" x="{x:.2f}" y="{y:.2f}" {size}/>')

    def swatch(self, x: float, width: float, height: float, rgb: Sequence[int]) -> None:
        """Rectangle at the top in a colour that is the same in light and dark; `rgb` 0 to 255."""
        red, green, blue = rgb
        size = f'x="{x:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._parts.append(f'<rect {size} fill="#{red:02x}{green:02x}{blue:02x}"/>')

    def dots(self, points: NDArray[np.float64], radius: float, style: str) -> None:
        """Filled circles at (n, 2) points as one element: round-capped strokes of no length."""
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        if path:
            self._parts.append(f'<path class="{style}" stroke-width="{2 * radius:.1f}" d="{path}"/>')

    def text(self, x: float, y: float, words: str, style: str = "tick", anchor: str = "middle", turn: int = 0) -> None:
        """Words at a baseline point; `turn` degrees clockwise about it."""
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}'
        self._parts.append(f'<text class="{style}" {place}>{escape(words)}</text>')

    def nested(self, x: float, y: float, inner: "Canvas") -> None:
        """Another drawing at (x, y), clipped to its own size."""
        size = f'x="{x:.1f}" y="{y:.1f}" width="{inner.width:.1f}" height="{inner.height:.1f}"'
        self._parts.append(f'<svg {size} overflow="hidden">' + "".join(inner._parts) + "</svg>")

    def svg(self) -> str:
        """The element, for use inside an HTML page."""
        label = escape(self.title)
        view = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="img" aria-label="{label}"'
        return f"<svg {view}><title>{label}</title>" + "".join(self._parts) + "</svg>"


def histogram_svg(data: Histogram, limits: ThresholdRow | None = None) -> str:
    """Bars of `data` with its median; values outside the fences are a bar of their own at either end.

    What `limits` reject is shaded, up to the line of each limit.
    """
    width, height, left, right, top, bottom = 320.0, 130.0, 12.0, 12.0, 14.0, 20.0
    canvas = Canvas(width, height, f"Histogram of {data.name}: {data.measured} values, {data.unmeasured} unmeasured")
    base = height - bottom
    if not data.measured or data.quantile is None:
        canvas.line([(left, base), (width - right, base)], "axis")
        canvas.text(width / 2, (top + base) / 2 + 4, "nothing measured", "hint")
        return canvas.svg()
    low, high = float(data.edges[0]), float(data.edges[-1])
    outer = 16.0  # px for an end bin and the gap beside it
    x0 = left + (outer if data.below else 0)
    x1 = width - right - (outer if data.above else 0)

    def across(value: float) -> float:
        return x0 + (value - low) / (high - low) * (x1 - x0)

    for limit, side in () if limits is None else ((limits.low, left), (limits.high, width - right)):
        if limit is not None:
            edge = min(max(across(limit), left), width - right)
            canvas.box(min(edge, side), top, abs(side - edge), base - top, "rejected")
            canvas.line([(edge, top - 2), (edge, base)], "limit")
    tallest = max(*data.counts, data.below, data.above)
    rise = (base - top) / tallest
    for index, count in enumerate(data.counts):
        if count:
            start, end = across(float(data.edges[index])), across(float(data.edges[index + 1]))
            wide, tall = min(end - start - 1, WIDEST_BAR), max(count * rise, 1.5)
            canvas.box((start + end - wide) / 2, base - tall, wide, tall, "bar")
    for count, start, words in ((data.below, left, "<"), (data.above, width - right - outer + 6, ">")):
        if count:
            tall = max(count * rise, 1.5)
            canvas.box(start, base - tall, outer - 6, tall, "bar outside")
            canvas.text(start + (outer - 6) / 2, height - 6, words)
    canvas.line([(left, base), (width - right, base)], "axis")
    whole = float(data.edges[0]) % 1 == 0.5 and float(data.edges[1] - data.edges[0]) == 1.0
    for tick in axis_ticks(low, high, tick_step(high - low, 6)):
        if not whole or tick % 1 == 0:
            canvas.line([(across(tick), base), (across(tick), base + 3)], "axis")
            canvas.text(across(tick), height - 6, number(tick))
    median = across(min(max(data.quantile[1], low), high))
    canvas.line([(median, top - 2), (median, base)], "median")
    canvas.text(left, 9, f"{tallest:,}", "tick", "start")
    return canvas.svg()


def colour_bar(low: float, high: float, unit: str) -> str:
    """Turbo from near (red) to far (blue) with depth labels at both ends and the log middle."""
    canvas = Canvas(320, 30, f"Depth from {number(low)} to {number(high)} {unit}")
    steps = 40
    colours = turbo(np.linspace(1, 0, steps)[None])[0]
    for index, rgb in enumerate(colours.tolist()):
        canvas.swatch(index * 320 / steps, 320 / steps + 0.5, 10, rgb)
    canvas.text(0, 24, f"{number(low)} {unit}", "tick", "start")
    canvas.text(160, 24, number(math.sqrt(low * high)))
    canvas.text(320, 24, f"{number(high)} {unit}", "tick", "end")
    return canvas.svg()
