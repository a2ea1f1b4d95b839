"""Textures, quads and boxes check themselves; boxes face outwards."""

import numpy as np
import pytest

from wmkit.errors import InputError
from wmkit.worlds.scene import Faces, Quad, Texture, World, box, shade, upright

GREY = Texture(rgb=np.full((2, 2, 3), 128, dtype=np.uint8))
FLAT = {"corner": (0.0, 0.0, 1.0), "edge_u": (1.0, 0.0, 0.0), "edge_v": (0.0, 1.0, 0.0), "texture": 0}


@pytest.mark.parametrize("shape", [(3, 4, 3), (4096, 2, 3), (4, 4), (4, 4, 4)])
def test_textures_have_power_of_two_sides(shape):
    with pytest.raises(InputError, match="texture"):
        Texture(rgb=np.zeros(shape, dtype=np.uint8))


def test_textures_cannot_be_painted_over():
    with pytest.raises(ValueError, match="read-only"):
        GREY.rgb[0, 0] = 0


@pytest.mark.parametrize(
    "change",
    [
        {"edge_v": (2.0, 0.0, 0.0)},
        {"corner": (float("nan"), 0.0, 0.0)},
        {"uv": (0.0, 0.0, 1.5, 1.0)},
        {"gain": (float("inf"), 1.0, 1.0)},
    ],
)
def test_quads_check_themselves(change):
    with pytest.raises(InputError, match="quad"):
        Quad(**{**FLAT, **change})


@pytest.mark.parametrize("texture", [-1, 1])
def test_a_world_has_the_textures_its_quads_name(texture):
    with pytest.raises(InputError, match="texture indices below 1"):
        World(name="w", quads=(Quad(**{**FLAT, "texture": texture}),), textures=(GREY,))


def test_an_empty_world_is_an_error():
    with pytest.raises(InputError, match="at least one quad"):
        World(name="w", quads=(), textures=(GREY,))


@pytest.mark.parametrize("heading_deg", [0.0, 37.0, -120.0])
def test_a_box_has_its_size_stands_on_the_ground_and_faces_outwards(heading_deg):
    quads = box((1.0, 0.2, 3.0), (0.6, 0.8, 0.4), Faces(side=0, top=0), heading_deg)
    corners = np.concatenate([quad.corners for quad in quads])
    assert corners[:, 1].max() == pytest.approx(-0.2)  # y is down: the lower rim is 0.2 m above the ground
    assert corners[:, 1].min() == pytest.approx(-1.0)
    assert corners.mean(axis=0)[[0, 2]] == pytest.approx([1.0, 3.0])
    areas = [np.linalg.norm(np.cross(quad.edge_u, quad.edge_v)) for quad in quads]
    assert areas == pytest.approx([0.48, 0.32, 0.48, 0.32, 0.24])
    for quad in quads:
        # What the renderer keeps of a one-sided quad: U x V points away from the viewer, so into the box.
        inwards = np.cross(quad.edge_u, quad.edge_v)
        assert np.dot(inwards, np.array([1.0, -0.6, 3.0]) - quad.corners.mean(axis=0)) > 0
        assert not quad.two_sided


def test_a_box_turned_right_shows_its_front_to_the_right():
    front = box((0.0, 0.0, 0.0), (2.0, 1.0, 2.0), Faces(side=0, top=0), heading_deg=-90.0)[0]
    # The front faces -z before the turn; turned left by 90 degrees it faces +x.
    assert front.corners.mean(axis=0) == pytest.approx([1.0, -0.5, 0.0])


def test_walls_carry_their_texture_upright():
    quad = upright((-1.0, 4.0), (1.0, 4.0), (0.5, 2.0), 0)
    assert quad.corner == (-1.0, -2.0, 4.0)  # texture (0, 0): upper left as seen from the origin
    assert quad.edge_v == (0.0, 1.5, 0.0)


def test_light_comes_from_above():
    up, down = np.array([0.0, -1.0, 0.0]), np.array([0.0, 1.0, 0.0])
    assert shade(up) > shade(down)
    assert 0.6 < shade(down) < shade(up) <= 1.0
