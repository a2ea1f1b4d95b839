"""How the camera moves in each family: a random path of `wmkit.camera_paths`, its size drawn with the scene in mind.

Sizes are drawn over wide ranges on purpose: some draws have too little parallax or turn too fast for any structure from
motion, because a confidence that never sees a failure learns nothing.
"""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from wmkit.camera_paths import (
    Backtrack,
    CameraPath,
    Crane,
    DoubleLoop,
    Drive,
    Elevator,
    Orbit,
    PureRotation,
    SCurve,
    Spiral,
    Static,
    Walk,
    WhipPan,
)

__all__ = ["FAMILIES", "MOVING_FAMILIES", "STILL_FAMILIES", "draw_path"]

Rng = np.random.Generator
Draw = Callable[[Rng, float, float], CameraPath]


def _between(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _signed(rng: Rng, low: float, high: float) -> float:
    return _between(rng, low, high) * float(rng.choice([-1.0, 1.0]))


def _s_curve(rng: Rng, extent_m: float, length_s: float) -> CameraPath:
    return SCurve(speed_m_s=extent_m / length_s, sway_m=extent_m * _between(rng, 0.06, 0.2))


def _orbit(rng: Rng, extent_m: float, _length_s: float) -> CameraPath:
    radius_m = _between(rng, 1.5, 4.0)
    arc_deg = float(np.clip(np.degrees(extent_m / radius_m), 6, 75)) * float(rng.choice([-1, 1]))
    rise_m = _between(rng, -0.2, 0.4) * extent_m
    return Orbit(radius_m=radius_m, arc_deg=arc_deg, rise_m=rise_m, target_drop_m=_between(rng, 0, 0.8))


def _backtrack(rng: Rng, extent_m: float, _length_s: float) -> CameraPath:
    return Backtrack(distance_m=extent_m, bend_deg=_signed(rng, 0, 45))


def _whip_pan(rng: Rng, extent_m: float, length_s: float) -> CameraPath:
    whip_s = length_s * _between(rng, 0.2, 0.55)
    return WhipPan(speed_m_s=extent_m / length_s, pan_deg=_signed(rng, 25, 110), whip_s=whip_s)


def _elevator(rng: Rng, extent_m: float, length_s: float) -> CameraPath:
    return Elevator(speed_m_s=_signed(rng, 0.5, 1.0) * extent_m / length_s)


def _spiral(rng: Rng, extent_m: float, _length_s: float) -> CameraPath:
    start_m = _between(rng, 1.6, 3.2)
    turns = float(np.clip(extent_m / (2 * np.pi * 0.8 * start_m), 0.06, 0.6))
    return Spiral(
        start_radius_m=start_m,
        end_radius_m=start_m * _between(rng, 0.5, 0.9),
        turns=turns,
        rise_m=_between(rng, 0.1, 0.5) * extent_m,
    )


def _crane(rng: Rng, extent_m: float, _length_s: float) -> CameraPath:
    return Crane(
        rise_m=extent_m * _between(rng, 0.4, 1.0),
        forward_m=extent_m * _between(rng, 0.0, 0.9),
        tilt_deg=_between(rng, 0, 25),
        pan_deg=_signed(rng, 0, 30),
    )


def _double_loop(rng: Rng, extent_m: float, _length_s: float) -> CameraPath:
    return DoubleLoop(
        radius_m=extent_m / (4 * np.pi) * 1.5, ahead_m=_between(rng, 1.0, 4.0), drop_m=_between(rng, 0, 0.5)
    )


def _walk(rng: Rng, extent_m: float, length_s: float) -> CameraPath:
    return Walk(
        speed_m_s=extent_m / length_s,
        sway_m=extent_m * _between(rng, 0.0, 0.1),
        bob_m=_between(rng, 0.01, 0.04),
        shake_m=_between(rng, 0.01, 0.03),
        shake_deg=_between(rng, 0.3, 1.5),
    )


def _drive(rng: Rng, extent_m: float, length_s: float) -> CameraPath:
    return Drive(
        speed_m_s=extent_m * _between(rng, 1.0, 2.0) / length_s * float(rng.choice([1, 1, 1, -1])),
        sway_m=extent_m * _between(rng, 0, 0.06),
        period_s=length_s * _between(rng, 0.8, 2.0),
        look_deg=_signed(rng, 0, 30),
    )


def _mixed(rng: Rng, extent_m: float, length_s: float) -> CameraPath:
    """Any of the smooth motions, for the families that are about something else."""
    smooth = (_s_curve, _orbit, _crane, _walk, _drive, _spiral)
    return smooth[int(rng.integers(len(smooth)))](rng, extent_m, length_s)


def _static(_rng: Rng, _extent_m: float, _length_s: float) -> CameraPath:
    return Static()


def _pure_rotation(rng: Rng, _extent_m: float, _length_s: float) -> CameraPath:
    return PureRotation(pan_deg=_signed(rng, 12, 90), tilt_deg=_signed(rng, 0, 10))


FAMILIES: MappingProxyType[str, Draw] = MappingProxyType(
    {
        "s_curve": _s_curve,
        "orbit": _orbit,
        "backtrack": _backtrack,
        "whip_pan": _whip_pan,
        "elevator": _elevator,
        "spiral": _spiral,
        "crane": _crane,
        "double_loop": _double_loop,
        "walk": _walk,
        "drive": _drive,
        "zoom": _mixed,
        "moving_objects": _mixed,
        "low_texture": _mixed,
        "blur": _mixed,
        "low_fps": _mixed,
        "static": _static,
        "pure_rotation": _pure_rotation,
    }
)
"""Every motion family by name; each draws a path of about `extent_m` metres over `length_s` seconds."""

STILL_FAMILIES = ("static", "pure_rotation")
"""No trajectory exists: the right answer is to say which of the two it is."""

MOVING_FAMILIES = tuple(name for name in FAMILIES if name not in STILL_FAMILIES)


def draw_path(family: str, rng: Rng, length_s: float) -> CameraPath:
    """A random path of `family`; its extent is log-uniform from 0.25 to 4 m, three times that at 5 fps."""
    extent_m = float(np.exp(_between(rng, np.log(0.25), np.log(4.0))))
    if family == "low_fps":
        extent_m *= _between(rng, 1.0, 3.0)
    return FAMILIES[family](rng, extent_m, length_s)
