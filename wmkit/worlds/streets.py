"""Outdoor worlds: a street between houses along +z, with pavements, parked cars, trees and a sky. Metres; the road
surface is y = 0, so a camera at y = -h is h metres above the road."""

import numpy as np

from wmkit.clip import rng_for
from wmkit.worlds import outdoor
from wmkit.worlds.indoor import leaves
from wmkit.worlds.paint import Colour, Painter
from wmkit.worlds.rooms import Builder
from wmkit.worlds.scene import Faces, Quad, World, upright

__all__ = ["street"]

HALF_ROAD_M, PAVEMENT_M, KERB_M = 3.6, 2.6, 0.13
START_M, END_M, SEGMENT_M = -20.0, 100.0, 20.0
WALLS: tuple[Colour, ...] = (
    (168, 92, 70),
    (196, 172, 134),
    (150, 150, 146),
    (182, 128, 92),
    (132, 92, 80),
    (204, 190, 160),
    (142, 158, 160),
    (190, 150, 140),
)
PAINTS: tuple[Colour, ...] = ((150, 32, 34), (44, 66, 112), (188, 190, 194), (40, 44, 48), (60, 96, 74), (196, 168, 60))


def street(name: str = "street", seed: int = 0) -> World:
    """A street 120 m long, 12.4 m from house to house, closed by a cross row of houses at z = 100 m and a sky box."""
    build = Builder(painter=Painter(rng=rng_for(seed, name, "textures")))
    layout = rng_for(seed, name, "layout")
    _ground(build)
    _houses(build, layout)
    _cars(build, layout)
    _trees(build, layout)
    _furniture(build, layout)
    _sky(build)
    return build.world(name)


def _ground(build: Builder) -> None:
    """Road and pavement in segments of three textures each, mirrored differently so that no two places are alike."""
    painter = build.painter
    roads = [build.paint(outdoor.road(painter, (1024, 2048))) for _ in range(3)]
    slabs = [build.paint(outdoor.paving(painter, (256, 2048))) for _ in range(3)]
    kerb = build.paint(outdoor.kerb(painter, (16, 2048)))
    mirrors = ((0.0, 0.0, 1.0, 1.0), (1.0, 1.0, 0.0, 0.0), (0.0, 1.0, 1.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    outer = HALF_ROAD_M + PAVEMENT_M
    for index, z in enumerate(np.arange(START_M, END_M + 10, SEGMENT_M)):
        along = (0.0, 0.0, SEGMENT_M)
        corner, across = (-HALF_ROAD_M, 0.0, float(z)), (2 * HALF_ROAD_M, 0.0, 0.0)
        uv = mirrors[(index // 3) % 4]
        build.quads.append(Quad(corner=corner, edge_u=along, edge_v=across, texture=roads[index % 3], uv=uv))
        for side, x in enumerate((-outer, HALF_ROAD_M)):
            corner, across = (x, -KERB_M, float(z)), (PAVEMENT_M, 0.0, 0.0)
            uv, slab = mirrors[(index + 2 * side) % 4], slabs[(index + side) % 3]
            build.quads.append(Quad(corner=corner, edge_u=along, edge_v=across, texture=slab, uv=uv))
        end = float(z) + SEGMENT_M
        build.quads.append(upright((-HALF_ROAD_M, float(z)), (-HALF_ROAD_M, end), (0.0, KERB_M), kerb))
        build.quads.append(upright((HALF_ROAD_M, end), (HALF_ROAD_M, float(z)), (0.0, KERB_M), kerb))


def _houses(build: Builder, layout: np.random.Generator) -> None:
    painter = build.painter
    fronts = []
    for colour in WALLS:
        floors, bays = int(layout.integers(2, 4)), int(layout.integers(3, 5))
        fronts.append(build.paint(outdoor.facade(painter, (1024, 1024), colour, floors, bays)))
    gable = build.paint(outdoor.facade(painter, (512, 512), (140, 128, 118), 3, 4))
    roof = build.paint(outdoor.bark(painter, (256, 256), (84, 74, 72)))
    face = HALF_ROAD_M + PAVEMENT_M
    for side in (-1, 1):
        z = START_M - float(layout.uniform(0, 5))
        index = 0 if side < 0 else 4
        while z < END_M:
            width, height = float(layout.uniform(9.5, 12.5)), float(layout.uniform(8.5, 12.5))
            front = fronts[index % len(fronts)]
            red, green, blue = (layout.uniform(0.88, 1.08) * layout.uniform(0.97, 1.03, 3)).tolist()
            depth, setback = 9.0, float(layout.uniform(0.0, 0.5))
            centre = (side * (face + setback + depth / 2), KERB_M, z + width / 2)
            sides = (gable, gable, gable, front) if side > 0 else (gable, front, gable, gable)
            build.box(centre, (depth, height, width), Faces(side=sides, top=roof, tint=(red, green, blue)))
            z += width
            index += 1
    for index, x in enumerate((-16.0, -5.0, 6.0, 17.0)):
        front = fronts[(3 * index + 2) % len(fronts)]
        faces = Faces(side=(front, gable, gable, gable), top=roof, tint=(0.94, 0.96, 1.0))
        build.box((x, KERB_M, END_M + 16), (11.0, 9.0 + 1.5 * (index % 3), 9.0), faces)


def _cars(build: Builder, layout: np.random.Generator) -> None:
    painter = build.painter
    kinds = []
    for colour in PAINTS:
        side = build.paint(outdoor.car_side(painter, (256, 1024), colour))
        end = build.paint(outdoor.car_end(painter, (256, 512), colour))
        window = build.paint(outdoor.glass(painter, (128, 512), colour))
        lid = build.paint(outdoor.bark(painter, (128, 256), colour))
        kinds.append((side, end, window, lid))
    for lane in (-1, 1):
        z = START_M + float(layout.uniform(2, 8))
        while z < END_M - 6:
            side, end, window, lid = kinds[int(layout.integers(0, len(kinds)))]
            x, turn = lane * (HALF_ROAD_M - 0.95), float(layout.uniform(-2.5, 2.5))
            length, low = float(layout.uniform(3.9, 4.6)), float(layout.uniform(0.68, 0.78))
            build.box((x, 0.12, z), (1.72, low, length), Faces(side=(end, side, end, side), top=lid), turn)
            cabin = Faces(side=(window, window, window, window), top=lid)
            build.box((x, 0.12 + low, z - 0.15), (1.5, 0.55, length * 0.52), cabin, turn)
            z += length + float(layout.choice([1.0, 1.6, 6.0, 9.0]))


def _trees(build: Builder, layout: np.random.Generator) -> None:
    painter = build.painter
    trunk = build.paint(outdoor.bark(painter, (512, 128)))
    crowns = [build.paint(leaves(painter, (512, 512), colour)) for colour in ((88, 124, 56), (104, 116, 50))]
    for side in (-1, 1):
        for z in np.arange(-6.0 + 5.0 * (side > 0), 90.0, 13.0):
            at = float(z + layout.uniform(-1.5, 1.5))
            x, crown = side * (HALF_ROAD_M + 0.55), crowns[int(layout.integers(0, 2))]
            tall = float(layout.uniform(2.4, 3.0))
            build.box((x, KERB_M, at), (0.26, tall, 0.26), Faces(side=trunk, top=trunk), 20.0)
            faces = Faces(side=crown, top=crown)
            for lump in range(3):
                shift = layout.uniform(-0.45, 0.45, 3)
                size = float(layout.uniform(1.2, 1.7))
                centre = (x + float(shift[0]), tall + 0.35 * lump + float(shift[1]) * 0.4, at + float(shift[2]))
                build.box(centre, (size, size, size), faces, float(layout.uniform(0, 90)))


def _furniture(build: Builder, layout: np.random.Generator) -> None:
    """Lamp posts, advertising columns, benches and planters on the pavements."""
    painter = build.painter
    metal = build.paint(outdoor.bark(painter, (512, 64), (70, 76, 78)))
    wood = build.paint(outdoor.bark(painter, (128, 256), (140, 100, 62)))
    hedge = build.paint(leaves(painter, (256, 256), (80, 120, 60)))
    posters = [build.paint(outdoor.sign(painter, (512, 256))) for _ in range(4)]
    for side in (-1, 1):
        kerb_x, wall_x = side * (HALF_ROAD_M + 0.3), side * (HALF_ROAD_M + PAVEMENT_M - 0.5)
        for z in np.arange(0.0 + 9.0 * (side > 0), 90.0, 22.0):
            build.box((kerb_x, KERB_M, float(z)), (0.14, 5.2, 0.14), Faces(side=metal, top=metal))
            build.box((kerb_x - side * 0.5, 5.2, float(z)), (1.2, 0.12, 0.2), Faces(side=metal, top=metal))
        for z in np.arange(4.0 + 6.0 * (side > 0), 80.0, 16.0):
            at = float(z + layout.uniform(-2, 2))
            build.box((wall_x, KERB_M, at), (0.5, 0.55, 1.6), Faces(side=wood, top=hedge))
            build.box((wall_x, KERB_M + 0.5, at), (0.42, 0.4, 1.4), Faces(side=hedge, top=hedge))
        for index, z in enumerate(np.arange(7.0 + 5.0 * (side > 0), 70.0, 18.0)):
            poster = posters[(index + 2 * (side > 0)) % 4]
            faces = Faces(side=poster, top=metal)
            build.box((side * (HALF_ROAD_M + 1.1), KERB_M, float(z)), (0.7, 1.7, 0.7), faces, 45.0)


def _sky(build: Builder) -> None:
    """A box 320 m wide and 90 m high around everything, with ground outside the street."""
    painter = build.painter
    low = build.paint(outdoor.sky(painter, (512, 2048), low=True))
    high = build.paint(outdoor.sky(painter, (512, 512), low=False))
    field = build.paint(outdoor.paving(painter, (512, 512)))
    x, z0, z1, top = 160.0, -100.0, 240.0, 90.0
    for start, end in (((-x, z1), (x, z1)), ((-x, z0), (-x, z1)), ((x, z1), (x, z0)), ((x, z0), (-x, z0))):
        wall = upright(start, end, (-1.0, top), low)
        build.quads.append(Quad(corner=wall.corner, edge_u=wall.edge_u, edge_v=wall.edge_v, texture=low))
    edge_u, edge_v = (2 * x, 0.0, 0.0), (0.0, 0.0, z0 - z1)
    build.quads.append(Quad(corner=(-x, -top, z1), edge_u=edge_u, edge_v=edge_v, texture=high))
    build.quads.append(Quad(corner=(-x, 0.3, z1), edge_u=edge_u, edge_v=edge_v, texture=field))
