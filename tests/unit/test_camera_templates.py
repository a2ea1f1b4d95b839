"""Named templates: sixty seconds within the limits that the paper gives, each with the shape its name says."""

import numpy as np
import pytest

from wmkit.camera_templates import FRAMES, TEMPLATES, template_path
from wmkit.errors import InputError

SLACK = 1 + 1e-6  # rounding of a few hundred float64 steps


@pytest.fixture(scope="module")
def paths():
    return {name: template_path(name).trajectory() for name in TEMPLATES}


def test_ten_of_each_with_11_to_15_waypoints():
    assert [sum(name.startswith(kind) for name in TEMPLATES) for kind in ("simple/", "hard/")] == [10, 10]
    assert {len(points) for points in TEMPLATES.values()} <= set(range(11, 16))


def test_speed_and_turn_limits_hold(paths):
    for name, path in paths.items():
        assert len(path) == FRAMES, name
        assert path.time_s[-1] == 60, name
        speed_m_s = np.linalg.norm(np.diff(path.position, axis=0), axis=1) * 16
        turns = np.swapaxes(path.rotation[:-1], 1, 2) @ path.rotation[1:]
        cosine = (np.trace(turns, axis1=1, axis2=2) - 1) / 2
        # half an angle's rounding: arccos loses half the digits near 1, where nothing turns
        turn_deg_s = np.degrees(np.arccos(np.clip(cosine, -1, 1))) * 16
        assert speed_m_s.max() <= 0.4 * SLACK, name
        assert turn_deg_s.max() <= 12.0 + 1e-4, name
        # No corner: a frame's step differs from the next by less than a fifth of the greatest step there may be.
        assert np.linalg.norm(np.diff(path.position, n=2, axis=0), axis=1).max() < 0.2 * 0.4 / 16, name


def test_each_starts_at_identity(paths):
    for name, path in paths.items():
        np.testing.assert_allclose(path.position[0], 0, atol=1e-12, err_msg=name)
        heading_deg = np.degrees(np.arctan2(path.rotation[0, 0, 2], path.rotation[0, 2, 2]))
        assert abs(heading_deg) < 60, name


@pytest.mark.parametrize("name", ["simple/backtrack", "simple/l-return", "simple/figure-eight", "simple/room-loop",
                                  "hard/double-loop", "hard/elevator"])  # fmt: skip
def test_what_returns_does(paths, name):
    position = paths[name].position
    # the spline's ends are its waypoints
    np.testing.assert_allclose(position[-1], position[0], atol=1e-9)
    assert np.linalg.norm(position, axis=1).max() > 2


def test_shapes(paths):
    assert (np.diff(paths["hard/staircase"].position[:, 1]) < 1e-12).all(), "up is -y"
    assert paths["hard/elevator"].position[:, 1].min() < -4
    orbit = paths["simple/orbit"]
    to_centre = np.array([0, 0, 3.0]) - orbit.position
    ahead = (orbit.rotation[:, :, 2] * to_centre).sum(axis=1) / np.linalg.norm(to_centre, axis=1)
    assert ahead.min() > np.cos(np.radians(3)), "an orbit looks at its centre; smoothed waypoints are not quite a ring"
    whip = paths["hard/whip-pan"].rotation
    assert np.ptp(np.degrees(np.arctan2(whip[:, 0, 2], whip[:, 2, 2]))) > 80


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(InputError, match="simple/figure-eight"):
        template_path("simple/figure-nine")
