"""p_good on the page: what it was worth on cases its calibration had not seen, above what this corpus' clips got."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmkit.annotate.confidence.held_out import HeldOut, read_held_out
from wmkit.annotate.report.svg import Canvas, number
from wmkit.camera import Array
from wmkit.corpus.columns import LedgerColumns

__all__ = ["Honesty", "honesty", "honesty_svg"]

VERDICT = "p_good"
BINS = 20
WIDTH, LEFT, RIGHT = 380.0, 56.0, 12.0
CURVE_TOP, CURVE_HEIGHT, GAP, BARS_HEIGHT, BOTTOM = 10.0, 200.0, 26.0, 70.0, 34.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Honesty:
    """Both, drawn; `held_out` is None when no held-out cases belong to this corpus' calibration.

    expected_good  sum of p_good over the `clips` that have one: how many of them are good, if it is honest.
    """

    svg: str
    held_out: HeldOut | None
    clips: int
    expected_good: float


def honesty(columns: LedgerColumns, config: Mapping[str, Any]) -> Honesty | None:
    """Of a corpus' columns and its recorded config; None where no clip has a p_good."""
    column = columns.verdicts.get(VERDICT)
    if column is None or not column.measured.any():
        return None
    confidence = config.get("confidence")
    calibration = confidence.get("calibration") if isinstance(confidence, Mapping) else None
    held_out = read_held_out(calibration) if isinstance(calibration, str) else None
    value = column.value[column.measured]
    return Honesty(
        svg=honesty_svg(value, held_out), held_out=held_out, clips=len(value), expected_good=float(value.sum())
    )


def honesty_svg(value: Array, held_out: HeldOut | None) -> str:
    """The share of held-out cases that are good over p_good; below, `value` (n,) counted."""
    top = CURVE_TOP if held_out is not None else CURVE_TOP - CURVE_HEIGHT - GAP
    height = top + CURVE_HEIGHT + GAP + BARS_HEIGHT + BOTTOM
    canvas = Canvas(WIDTH, height, f"p_good of {len(value)} clips" + (", and its reliability" if held_out else ""))
    if held_out is not None:
        _curve(canvas, held_out)
    _bars(canvas, value, height - BOTTOM)
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        canvas.text(_across(share), height - BOTTOM + 14, number(share))
    canvas.text((LEFT + WIDTH - RIGHT) / 2, height - 5, "p_good", "label")
    return canvas.svg()


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _curve(canvas: Canvas, held_out: HeldOut) -> None:
    base = CURVE_TOP + CURVE_HEIGHT

    def up(share: float) -> float:
        return base - share * CURVE_HEIGHT

    for share in (0.0, 0.5, 1.0):
        canvas.line([(LEFT, up(share)), (WIDTH - RIGHT, up(share))], "gridline")
        canvas.text(LEFT - 6, up(share) + 3.5, f"{100 * share:.0f} %", "tick", "end")
    canvas.text(11, (CURVE_TOP + base) / 2, "held-out cases that are good", "label", turn=-90)
    canvas.line([(_across(0), up(0)), (_across(1), up(1))], "median")
    for item in held_out.bins:
        x = _across(item.mean)
        canvas.line([(x, up(item.observed.low)), (x, up(item.observed.high))], "whisker")
    canvas.line([(_across(item.mean), up(item.observed.value)) for item in held_out.bins], "track")
    canvas.dots(np.array([(_across(item.mean), up(item.observed.value)) for item in held_out.bins]), 3.5, "held-out")


def _bars(canvas: Canvas, value: Array, base: float) -> None:
    counts = np.histogram(value, bins=BINS, range=(0.0, 1.0))[0]
    tallest = int(counts.max())
    for index, count in enumerate(counts.tolist()):
        if count:
            tall = max(count / tallest * BARS_HEIGHT, 1.5)
            start, end = _across(index / BINS), _across((index + 1) / BINS)
            canvas.box(start + 0.5, base - tall, end - start - 1, tall, "bar")
    canvas.line([(LEFT, base), (WIDTH - RIGHT, base)], "axis")
    canvas.text(LEFT - 6, base - BARS_HEIGHT + 9, f"{tallest:,}", "tick", "end")
    canvas.text(11, base - BARS_HEIGHT / 2, "clips", "label", turn=-90)
