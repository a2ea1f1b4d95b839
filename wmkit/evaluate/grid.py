"""RotErr, TransErr and CamMC in every form in print: sum or mean, radians or degrees, by every normalisation.

Papers share the three names and little else, so a figure here is a row that says its normalisation, its aggregate, its
unit and who publishes it so (`model-training-sampling.md`, e.1; arXiv 2404.02101, 2410.15957, 2502.10059, 2605.15178).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wmkit.metrics import Metric

__all__ = ["GridRow", "grid"]

# convention -> short name, what it does
NORMALISATIONS = {
    "cami2v_relative": ("self-max", "each path over its own largest distance from the first frame"),
    "cami2v_absolute": ("gt-max", "both paths over the request's largest distance from the first frame"),
    "sana_wm_paper": ("Sim(3)", "after Umeyama Sim(3) of positions"),
    "sana_wm_code": ("Sim(3) of cameras", "after chordal rotation and least-squares scale"),
    "metric": ("metric", "metres, nothing aligned but the first frame"),
}
PUBLISHED = {
    ("cami2v_relative", "sum", "rad"): "CameraCtrl, CamI2V",
    ("cami2v_absolute", "sum", "rad"): "RealCam-I2V",
    ("sana_wm_paper", "mean", "deg"): "SANA-WM, App. D.3",
    ("sana_wm_code", "mean", "deg"): "a public script for SANA-WM-Bench",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow:
    """One form of the three figures.

    rot_err    sum or mean of geodesic angles, in `angle_unit`.
    trans_err  sum or mean of distances, in `length_unit` ("" once divided by a length).
    cam_mc     sum or mean of Frobenius norms of [R|t] differences, whose lengths are in `length_unit`.
    paper      who prints figures of this form; "" where we know of none.
    """

    normalisation: str
    definition: str
    aggregate: str
    angle_unit: str
    length_unit: str
    rot_err: float
    trans_err: float
    cam_mc: float
    paper: str


def grid(metrics: Mapping[str, Metric]) -> tuple[GridRow, ...]:
    """All forms of the conventions that `metrics` has figures of; sums are over the frames those were taken from."""
    rows = []
    for convention, (normalisation, definition) in NORMALISATIONS.items():
        if f"rot_err_{convention}" not in metrics:
            continue
        angle, distance, frobenius = (
            metrics[f"{figure}_{convention}"] for figure in ("rot_err", "trans_err", "cam_mc")
        )
        summed = convention.startswith("cami2v")
        angle_rad = angle.value if angle.unit == "rad" else math.radians(angle.value)
        for aggregate in ("sum", "mean"):
            factor = 1.0
            if summed and aggregate == "mean":
                factor = 1 / angle.count
            elif not summed and aggregate == "sum":
                factor = float(angle.count)
            rows += [
                GridRow(
                    normalisation=normalisation,
                    definition=definition,
                    aggregate=aggregate,
                    angle_unit=unit,
                    length_unit=distance.unit,
                    rot_err=factor * (angle_rad if unit == "rad" else math.degrees(angle_rad)),
                    trans_err=factor * distance.value,
                    cam_mc=factor * frobenius.value,
                    paper=PUBLISHED.get((convention, aggregate, unit), ""),
                )
                for unit in ("rad", "deg")
            ]
    return tuple(rows)
