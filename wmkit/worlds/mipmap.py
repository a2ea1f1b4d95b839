"""All textures of a world packed into one flat array with their mip levels: the form that both renderers read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.worlds.scene import MAX_LEVELS, Texture

__all__ = ["TexturePool", "pack_textures"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TexturePool:
    """Mip-mapped texels of T textures.

    texel   (M,) uint32, r | g << 8 | b << 16, rows top to bottom.
    offset  (T, MAX_LEVELS) int32: where a level starts in `texel`; levels past the last repeat the last.
    width   (T, MAX_LEVELS) int32, height likewise: size of a level, texels.
    levels  (T,) int32: number of levels; the last is one texel.
    """

    texel: NDArray[np.uint32]
    offset: NDArray[np.int32]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    levels: NDArray[np.int32]


def pack_textures(textures: tuple[Texture, ...]) -> TexturePool:
    """Build the mip pyramids (2x2 box filter, rounded to 8 bits at every level) and lay them out one after another."""
    parts: list[NDArray[np.uint32]] = []
    count = len(textures)
    offset, width, height = (np.zeros((count, MAX_LEVELS), dtype=np.int32) for _ in range(3))
    levels = np.zeros(count, dtype=np.int32)
    start = 0
    for index, texture in enumerate(textures):
        rgb = texture.rgb.astype(np.uint16)
        for level in range(MAX_LEVELS):
            offset[index, level:] = start
            height[index, level:], width[index, level:] = rgb.shape[:2]
            levels[index] = level + 1
            parts.append(_pack(rgb))
            start += parts[-1].size
            if rgb.shape[:2] == (1, 1):
                break
            rgb = _halve(rgb)
    return TexturePool(texel=np.concatenate(parts), offset=offset, width=width, height=height, levels=levels)


def _pack(rgb: NDArray[np.uint16]) -> NDArray[np.uint32]:
    wide = rgb.astype(np.uint32)
    return (wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16).ravel().astype(np.uint32, copy=False)


def _halve(rgb: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Next level: the mean of 2x2 texels, or of 2 where one side is down to a single texel."""
    if rgb.shape[1] > 1:
        rgb = rgb[:, ::2] + rgb[:, 1::2]
    else:
        rgb = rgb * 2
    rgb = rgb[::2] + rgb[1::2] if rgb.shape[0] > 1 else rgb * 2
    return ((rgb + 2) >> 2).astype(np.uint16, copy=False)
