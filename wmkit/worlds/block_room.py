"""A room painted with random blocks by numpy alone, for machines that have little else; see `wmkit.worlds.rooms`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.clip import rng_for
from wmkit.worlds.scene import Faces, Quad, Texture, World, box, upright

__all__ = ["BlockRoom"]

SIDE_PX = 256
CELLS = (4, 8, 16)  # blocks a side of the three layers of a texture, the coarse ones the strongest
STRENGTH = (0.45, 0.35, 0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRoom:
    """4 x 4.5 x 2.6 m, x in [-2, 2], z in [-1.5, 3], two boxes in it; blocks of 0.25 to 1 m in strong colours.

    A picture of 64 px tells its places apart, and has corners for whoever looks for a camera in it.
    """

    seed: int = 0

    def build(self) -> World:
        """See `wmkit.worlds.clips.Scene.build`."""
        x, z0, z1, high = 2.0, -1.5, 3.0, 2.6
        ring = (((-x, z1), (x, z1)), ((-x, z0), (-x, z1)), ((x, z1), (x, z0)), ((x, z0), (-x, z0)))
        walls = [upright(start, end, (0.0, high), skin) for skin, (start, end) in enumerate(ring)]
        edge_u, edge_v = (2 * x, 0.0, 0.0), (0.0, 0.0, z0 - z1)
        floor = Quad(corner=(-x, 0.0, z1), edge_u=edge_u, edge_v=edge_v, texture=4)
        ceiling = Quad(corner=(-x, -high, z1), edge_u=edge_u, edge_v=edge_v, texture=5)
        boxes = [
            *box((-1.5, 0.0, 2.5), (0.7, 1.3, 0.6), Faces(side=6, top=7), 20.0),
            *box((1.5, 0.0, -1.0), (0.6, 0.9, 0.6), Faces(side=7, top=6), -30.0),
        ]
        rng = rng_for(self.seed, "block_room", "textures")
        textures = tuple(Texture(rgb=_blocks(rng)) for _ in range(8))
        return World(name="block_room", quads=(*walls, floor, ceiling, *boxes), textures=textures)


def _blocks(rng: np.random.Generator) -> NDArray[np.uint8]:
    total = np.zeros((SIDE_PX, SIDE_PX, 3))
    for cells, strength in zip(CELLS, STRENGTH, strict=True):
        times = SIDE_PX // cells
        total += strength * rng.random((cells, cells, 3)).repeat(times, axis=0).repeat(times, axis=1)
    spread = np.clip((total - 0.5) * 1.9 + 0.5, 0, 1)  # sums of draws crowd round the middle
    return np.round(255 * spread).astype(np.uint8)
