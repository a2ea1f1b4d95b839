"""Indoor worlds: closed rooms with furniture built of boxes. Metres; the floor is y = 0, the camera path starts near
the origin's wall and looks along +z."""

from dataclasses import dataclass, field

import numpy as np

from wmkit.clip import rng_for
from wmkit.worlds import indoor
from wmkit.worlds.paint import Canvas, Painter, crop, texture
from wmkit.worlds.scene import Faces, Quad, Texture, World, box, upright

__all__ = ["Builder", "hall", "living_room", "painted_room", "small_room"]


@dataclass(slots=True)
class Builder:
    """A world while it grows: quads, textures and the painter of its pictures."""

    painter: Painter
    quads: list[Quad] = field(default_factory=list)
    textures: list[Texture] = field(default_factory=list)

    def paint(self, canvas: Canvas) -> int:
        """Add a texture; its index."""
        self.textures.append(texture(canvas))
        return len(self.textures) - 1

    def box(
        self,
        centre: tuple[float, float, float],
        size: tuple[float, float, float],
        faces: Faces,
        heading_deg: float = 0.0,
    ) -> None:
        """Add a box; see `wmkit.worlds.scene.box`."""
        self.quads.extend(box(centre, size, faces, heading_deg))

    def world(self, name: str) -> World:
        """The finished world."""
        return World(name=name, quads=tuple(self.quads), textures=tuple(self.textures))


def living_room(name: str = "living_room", seed: int = 0) -> World:
    """A 5.6 x 6.4 x 2.7 m living room: x in [-2.8, 2.8], z in [-1.6, 4.8]; sofa, low table, shelves, pictures."""
    build = Builder(painter=Painter(rng=rng_for(seed, name, "textures")))
    _shell(build, (-2.8, 2.8), (-1.6, 4.8), 2.7, ((196, 182, 158), (172, 186, 190), (188, 176, 170), (200, 192, 176)))
    paint, painter = build.paint, build.painter
    wood = paint(indoor.veneer(painter, (256, 512), (138, 92, 56)))
    dark = paint(indoor.veneer(painter, (256, 256), (84, 58, 42)))
    sofa = paint(indoor.fabric(painter, (512, 1024), (86, 104, 128)))
    rug = paint(indoor.rug(painter, (1024, 1024)))
    shelf = paint(indoor.books(painter, (1024, 1024)))
    build.box((0.0, 0.0, 2.2), (2.6, 0.012, 2.0), Faces(side=dark, top=rug))
    _sofa(build, sofa, 3.95)
    _table(build, (0.0, 0.4, 2.25), (1.2, 0.7), (wood, dark), 8.0)
    magazine = paint(indoor.painting(painter, (256, 256), 1))
    build.box((0.2, 0.4, 2.2), (0.3, 0.03, 0.24), Faces(side=dark, top=magazine), 25.0)
    build.box((-0.28, 0.4, 2.3), (0.12, 0.2, 0.12), Faces(side=magazine, top=dark), 40.0)
    build.box((-2.6, 0.0, 2.4), (0.36, 2.05, 1.6), Faces(side=(dark, shelf, dark, dark), top=wood))
    build.box(
        (2.5, 0.0, 2.1),
        (0.5, 0.55, 1.7),
        Faces(side=paint(indoor.cabinet(painter, (256, 512), (128, 80, 46))), top=wood),
    )
    screen = paint(indoor.painting(painter, (512, 1024), 4))
    build.box((2.45, 0.55, 2.1), (0.06, 0.68, 1.2), Faces(side=(dark, dark, dark, screen), top=dark))
    leaf = paint(indoor.leaves(painter, (512, 512)))
    _plant(build, (2.25, 4.2), leaf, dark)
    _plant(build, (-2.35, 0.6), leaf, dark)
    _armchair(build, paint(indoor.fabric(painter, (256, 512), (150, 78, 52))), (-1.45, 1.2), 150.0)
    build.box((1.55, 0.0, 1.2), (0.45, 0.45, 0.45), Faces(side=paint(indoor.rug(painter, (256, 256))), top=sofa), 30.0)
    for index, (x, width_m, low) in enumerate(((-1.5, 0.8, 1.35), (-0.3, 1.1, 1.3), (1.0, 0.8, 1.45))):
        _picture(build, index, (x, 4.78), (width_m, low, low + 0.75))
    _window(build, ((-2.78, 0.4), (-2.78, 1.5)), (0.9, 2.2))
    return build.world(name)


def hall(name: str = "hall", seed: int = 0) -> World:
    """A 5 x 11 x 3 m gallery hall: x in [-2.5, 2.5], z in [-1.5, 9.5]; shelves, tables, pillars, pictures."""
    build = Builder(painter=Painter(rng=rng_for(seed, name, "textures")))
    _shell(build, (-2.5, 2.5), (-1.5, 9.5), 3.0, ((186, 176, 160), (178, 162, 150), (168, 178, 170), (190, 180, 170)))
    paint, painter = build.paint, build.painter
    wood = paint(indoor.veneer(painter, (256, 512), (150, 106, 64)))
    dark = paint(indoor.veneer(painter, (256, 256), (72, 54, 44)))
    shelf = paint(indoor.books(painter, (1024, 1024), 6))
    cabinet = paint(indoor.cabinet(painter, (256, 512), (104, 116, 108), 4))
    rug = paint(indoor.rug(painter, (512, 1024)))
    leaf = paint(indoor.leaves(painter, (512, 512), (66, 104, 56)))
    stone = paint(indoor.plaster(painter, (1024, 256), (170, 162, 148), skirting=False))
    build.box((-2.3, 0.0, 3.2), (0.4, 2.2, 2.2), Faces(side=(dark, shelf, dark, dark), top=wood))
    build.box((2.25, 0.0, 2.4), (0.5, 0.9, 1.8), Faces(side=(wood, dark, dark, cabinet), top=wood))
    build.box((2.3, 0.0, 6.4), (0.4, 2.2, 2.0), Faces(side=(dark, dark, dark, shelf), top=wood))
    build.box((-2.2, 0.0, 7.2), (0.6, 0.85, 2.0), Faces(side=(wood, cabinet, dark, dark), top=wood))
    build.box((1.1, 0.0, 5.0), (0.45, 3.0, 0.45), Faces(side=stone, top=stone))
    build.box((-1.35, 0.0, 5.6), (0.45, 3.0, 0.45), Faces(side=stone, top=stone))
    _table(build, (-0.1, 0.75, 7.6), (1.6, 0.9), (wood, dark), -12.0)
    build.box((-0.2, 0.75, 7.5), (0.3, 0.28, 0.2), Faces(side=shelf, top=wood), 30.0)
    for index, (x, z, turn) in enumerate(((-0.55, 6.6, 190.0), (0.7, 8.6, 10.0))):
        _armchair(build, paint(indoor.fabric(painter, (256, 512), ((142, 60, 50), (60, 92, 96))[index])), (x, z), turn)
    _plant(build, (1.95, 3.9), leaf, dark)
    _plant(build, (-1.95, 1.4), leaf, dark)
    crate = paint(indoor.painting(painter, (256, 256), 5))
    build.box((2.2, 0.9, 2.2), (0.3, 0.32, 0.35), Faces(side=crate, top=crate), 20.0)
    build.box((-2.15, 0.85, 7.4), (0.3, 0.5, 0.3), Faces(side=crate, top=dark), 35.0)
    build.box((0.0, 0.0, 3.0), (1.4, 0.012, 3.6), Faces(side=dark, top=rug))
    for index, x in enumerate((-1.4, 0.0, 1.5)):
        _picture(build, index, (x, 9.48), (0.95, 1.3, 2.2))
    for index, z in enumerate((0.4, 4.9)):
        _side_picture(build, index + 3, (-2.48, z, z + 0.9), (1.2, 2.0))
    for index, z in enumerate((0.0, 4.0)):
        _side_picture(build, index + 5, (2.48, z + 1.0, z), (1.25, 2.1))
    _window(build, ((-2.48, 4.9), (-2.48, 6.1)), (2.1, 2.8))
    return build.world(name)


def _shell(
    build: Builder,
    x_m: tuple[float, float],
    z_m: tuple[float, float],
    height_m: float,
    colours: tuple[tuple[float, float, float], ...],
) -> None:
    """Four walls (far, left, right, near), floor and ceiling."""
    (x0, x1), (z0, z1) = x_m, z_m
    painter = build.painter
    corners = (((x0, z1), (x1, z1)), ((x0, z0), (x0, z1)), ((x1, z1), (x1, z0)), ((x1, z0), (x0, z0)))
    for (start, end), colour in zip(corners, colours, strict=True):
        build.quads.append(
            upright(start, end, (0.0, height_m), build.paint(indoor.plaster(painter, (512, 2048), colour)))
        )
    floor = build.paint(indoor.planks(painter, (1024, 2048), (158, 116, 76), rows=32))
    edge_u, edge_v = (x1 - x0, 0.0, 0.0), (0.0, 0.0, z0 - z1)
    build.quads.append(Quad(corner=(x0, 0.0, z1), edge_u=edge_u, edge_v=edge_v, texture=floor))
    above = build.paint(indoor.ceiling(painter, (1024, 1024)))
    gain = (0.9, 0.9, 0.9)
    build.quads.append(Quad(corner=(x0, -height_m, z1), edge_u=edge_u, edge_v=edge_v, texture=above, gain=gain))


def _sofa(build: Builder, cloth: int, z: float) -> None:
    faces = Faces(side=cloth, top=cloth)
    build.box((0.0, 0.0, z), (2.0, 0.42, 0.85), faces)
    build.box((0.0, 0.42, z + 0.32), (2.0, 0.45, 0.22), faces)
    for x in (-1.1, 1.1):
        build.box((x, 0.0, z), (0.2, 0.6, 0.85), faces)
    cushion = Faces(side=build.paint(indoor.rug(build.painter, (256, 256))), top=cloth)
    build.box((-0.6, 0.42, z + 0.1), (0.42, 0.38, 0.14), cushion, 12.0)
    build.box((0.55, 0.42, z + 0.1), (0.4, 0.36, 0.14), cushion, -16.0)


def _table(
    build: Builder,
    at: tuple[float, float, float],
    size: tuple[float, float],
    skins: tuple[int, int],
    heading_deg: float,
) -> None:
    """A slab on four legs: `at` = (x, height, z), `size` = (width, depth), `skins` = textures of slab and legs."""
    x, height, z = at
    cos, sin = float(np.cos(np.radians(heading_deg))), float(np.sin(np.radians(heading_deg)))
    slab = 0.05
    build.box((x, height - slab, z), (size[0], slab, size[1]), Faces(side=skins[0], top=skins[0]), heading_deg)
    for right in (-0.44, 0.44):
        for ahead in (-0.42, 0.42):
            dx, dz = right * size[0], ahead * size[1]
            foot = (x + cos * dx + sin * dz, 0.0, z - sin * dx + cos * dz)
            build.box(foot, (0.07, height - slab, 0.07), Faces(side=skins[1], top=skins[1]), heading_deg)


def _armchair(build: Builder, cloth: int, at: tuple[float, float], heading_deg: float) -> None:
    faces = Faces(side=cloth, top=cloth)
    turn = np.radians(heading_deg)
    back = (at[0] + 0.28 * float(np.sin(turn)), 0.4, at[1] + 0.28 * float(np.cos(turn)))
    build.box((at[0], 0.0, at[1]), (0.7, 0.4, 0.7), faces, heading_deg)
    build.box(back, (0.7, 0.42, 0.14), faces, heading_deg)


def _plant(build: Builder, at: tuple[float, float], leaf: int, pot: int) -> None:
    x, z = at
    build.box((x, 0.0, z), (0.34, 0.36, 0.34), Faces(side=pot, top=leaf, tint=(1.2, 0.8, 0.7)), 15.0)
    build.box((x, 0.36, z), (0.42, 0.45, 0.42), Faces(side=leaf, top=leaf), 30.0)
    build.box((x + 0.04, 0.81, z), (0.3, 0.35, 0.3), Faces(side=leaf, top=leaf, tint=(1.1, 1.1, 1.1)), 60.0)


def _picture(build: Builder, index: int, at: tuple[float, float], span: tuple[float, float, float]) -> None:
    """A framed picture on the far wall: `at` = (x, z) of its middle, `span` = (width, low, high) in metres."""
    half = span[0] / 2
    canvas = indoor.painting(build.painter, (512, 512), index)
    build.quads.append(upright((at[0] - half, at[1]), (at[0] + half, at[1]), (span[1], span[2]), build.paint(canvas)))


def _side_picture(build: Builder, index: int, at: tuple[float, float, float], span_m: tuple[float, float]) -> None:
    """A framed picture on a side wall: `at` = (x, z of its left edge as seen, z of its right edge)."""
    canvas = indoor.painting(build.painter, (512, 512), index)
    build.quads.append(upright((at[0], at[1]), (at[0], at[2]), span_m, build.paint(canvas)))


def _window(build: Builder, line: tuple[tuple[float, float], tuple[float, float]], span_m: tuple[float, float]) -> None:
    pane = build.paint(indoor.window(build.painter, (512, 512)))
    build.quads.append(upright(line[0], line[1], span_m, pane, (1.25, 1.25, 1.25)))


def small_room(name: str = "small_room", seed: int = 0) -> World:
    """A 4 x 4.5 x 2.6 m room, x in [-2, 2], z in [-1.5, 3], with three boxes and small textures: quick to build."""
    build = Builder(painter=Painter(rng=rng_for(seed, name, "textures")))
    painter = build.painter
    photos = ("brick.png", "gravel.png", "motorcycle_left.png", "ihc.png", "coffee.png", "astronaut.png")
    skins = [build.paint(crop(painter.rng, painter.photo(photo), (256, 256), 0.8)) for photo in photos]
    _plain_shell(build, [skins[index] for index in (2, 0, 5, 3, 1, 3)])
    for at, skin in (((-0.9, 1.6), 4), ((0.2, 2.1), 0), ((1.1, 1.3), 5)):
        turn = float(painter.rng.uniform(0, 90))
        build.box((at[0], 0.0, at[1]), (0.6, 0.8, 0.5), Faces(side=skins[skin], top=skins[4]), turn)
    return build.world(name)


def painted_room(name: str = "painted_room", seed: int = 0) -> World:
    """A 4 x 4.5 x 2.6 m room, x in [-2, 2], z in [-1.5, 3], empty; large patches of strong colour under fine grain.

    A picture of 16 px still tells its places apart: patches are 0.4 to 0.8 m wide. The grain is there for what looks
    at the full picture.
    """
    build = Builder(painter=Painter(rng=rng_for(seed, name, "textures")))
    skins = [build.paint(indoor.patches(build.painter, (256, 256))) for _ in range(6)]
    _plain_shell(build, skins)
    return build.world(name)


def _plain_shell(build: Builder, skins: list[int]) -> None:
    """The small rooms' walls (far, left, right, near), floor and ceiling, a texture each."""
    x, z0, z1, high = 2.0, -1.5, 3.0, 2.6
    ring = (((-x, z1), (x, z1)), ((-x, z0), (-x, z1)), ((x, z1), (x, z0)), ((x, z0), (-x, z0)))
    for (start, end), skin in zip(ring, skins[:4], strict=True):
        build.quads.append(upright(start, end, (0.0, high), skin))
    edge_u, edge_v = (2 * x, 0.0, 0.0), (0.0, 0.0, z0 - z1)
    build.quads.append(Quad(corner=(-x, 0.0, z1), edge_u=edge_u, edge_v=edge_v, texture=skins[4]))
    build.quads.append(Quad(corner=(-x, -high, z1), edge_u=edge_u, edge_v=edge_v, texture=skins[5]))
