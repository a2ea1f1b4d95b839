"""Synthetic worlds with exact cameras and exact z-depth: the oracle of tests, bench and demo.

`DEMO_CLIPS` and `SMALL_CLIPS` are ready-made clips, `write_world` renders one to a video with its truth beside it, and
`render` draws any world from any cameras.
"""

from wmkit.worlds.clips import DEMO_CLIPS, SMALL_CLIPS, WorldClip, WrittenClip, write_world
from wmkit.worlds.render import RENDERERS, RenderedFrame, render, renderer_used
from wmkit.worlds.scene import Quad, Texture, World

__all__ = [
    "DEMO_CLIPS",
    "RENDERERS",
    "SMALL_CLIPS",
    "Quad",
    "RenderedFrame",
    "Texture",
    "World",
    "WorldClip",
    "WrittenClip",
    "render",
    "renderer_used",
    "write_world",
]
