"""Textures of rooms: walls, floors, rugs, bookshelves, fabric, pictures."""

import cv2
import numpy as np

from wmkit.worlds.paint import Canvas, Colour, Painter, framed, grain, noise, ramp, vignette

__all__ = [
    "books",
    "cabinet",
    "ceiling",
    "fabric",
    "leaves",
    "painting",
    "patches",
    "planks",
    "plaster",
    "rug",
    "veneer",
    "window",
]

PICTURES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "camera.png",
    "ihc.png",
)


def plaster(painter: Painter, size: tuple[int, int], colour: Colour, skirting: bool = True) -> Canvas:
    """A painted wall with roller grain, stains and scratches; a skirting board below."""
    height, width = size
    rng = painter.rng
    value = 0.05 * grain(rng, painter.photo("gravel.png"), size, 0.5) + 0.10 * noise(rng, size, (3, 6))
    canvas = ramp(value, colour, 1.0)
    for _ in range(60):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        dx, dy = rng.integers(-30, 31, 2)
        shade = float(rng.uniform(0.75, 1.12))
        tone = tuple(float(c * shade) for c in colour)
        cv2.line(canvas, (x, y), (x + int(dx), y + int(dy)), tone, int(rng.integers(1, 3)), cv2.LINE_AA)
    canvas = vignette(canvas)
    if skirting:
        board = height // 24
        canvas[-board:] = ramp(0.08 * noise(rng, (board, width), (1, 40)), (214, 208, 196), 1.0)
        canvas[-board - 2 : -board] *= 0.6
    return canvas


def ceiling(painter: Painter, size: tuple[int, int]) -> Canvas:
    """Off-white acoustic panels with faint grain and dark joints."""
    width = size[1]
    value = 0.06 * grain(painter.rng, painter.photo("gravel.png"), size, 0.35) + 0.05 * noise(painter.rng, size, (4, 4))
    canvas = ramp(value, (222, 219, 211), 1.0)
    pitch = width // 8
    for at in range(0, max(size), pitch):
        canvas[at : at + 2] *= 0.72
        canvas[:, at : at + 2] *= 0.72
    return vignette(canvas)


def planks(painter: Painter, size: tuple[int, int], colour: Colour, rows: int = 16) -> Canvas:
    """A parquet of boards along the width: every board has its own tone, streaks and length."""
    height, width = size
    rng = painter.rng
    canvas = np.empty((height, width, 3), dtype=np.float32)
    board = height // rows
    for row in range(rows):
        top = row * board
        start = -int(rng.integers(0, width // 3))
        while start < width:
            length = int(rng.integers(width // 6, width // 3))
            left, right = max(start, 0), min(start + length, width)
            start += length
            if right <= left:
                continue
            shape = (board, right - left)
            streaks = 0.10 * noise(rng, shape, (max(2, board // 4), 3), 3) + 0.05 * noise(rng, shape, (2, 2), 5)
            tone = float(rng.uniform(0.78, 1.15))
            canvas[top : top + board, left:right] = ramp(streaks, colour, 1.0) * np.float32(tone)
            canvas[top : top + board, left : left + 2] *= 0.55
        canvas[top : top + 2] *= 0.55
    canvas *= 1 + 0.03 * grain(rng, painter.photo("gravel.png"), size, 0.4)[..., None]
    return canvas


def veneer(painter: Painter, size: tuple[int, int], colour: Colour) -> Canvas:
    """Furniture wood: one sheet of long grain along the width with knots of darker tone."""
    height = size[0]
    rng = painter.rng
    streaks = 0.16 * noise(rng, size, (max(2, height // 8), 3), 4) + 0.12 * noise(rng, size, (3, 3), 5)
    streaks += 0.05 * grain(rng, painter.photo("gravel.png"), size, 0.4)
    return vignette(ramp(streaks, colour, 1.0), 0.2, 0.04)


def rug(painter: Painter, size: tuple[int, int]) -> Canvas:
    """A woven rug: nested borders and a field of small motifs in a few colours."""
    height, width = size
    rng = painter.rng
    palette = [(146, 44, 38), (38, 58, 92), (204, 178, 128), (72, 84, 62), (112, 62, 40)]
    canvas = np.empty((height, width, 3), dtype=np.float32)
    canvas[:] = palette[0]
    inset = 0
    for index in (1, 2, 3, 2, 0):
        inset += int(min(size) * rng.uniform(0.025, 0.05))
        canvas[inset:-inset, inset:-inset] = palette[index]
    step = min(size) // 12
    for y in range(inset + step // 2, height - inset - step // 2, step):
        for x in range(inset + step // 2, width - inset - step // 2, step):
            tone = palette[int(rng.integers(1, len(palette)))]
            half = int(rng.integers(step // 6, step // 2))
            turned = cv2.boxPoints(((float(x), float(y)), (2.0 * half, 2.0 * half), float(rng.choice([0, 45]))))
            cv2.fillPoly(canvas, [turned.astype(np.int32)], tone, cv2.LINE_AA)
    return canvas * (1 + 0.12 * grain(rng, painter.photo("grass.png"), size, 0.5)[..., None])


def books(painter: Painter, size: tuple[int, int], shelves: int = 5) -> Canvas:
    """The front of a full bookshelf: spines of random width, height and colour with a title band."""
    height, width = size
    rng = painter.rng
    canvas = np.empty((height, width, 3), dtype=np.float32)
    canvas[:] = (66, 44, 30)
    pitch = height // shelves
    for shelf in range(shelves):
        floor = (shelf + 1) * pitch - pitch // 12
        x = width // 40
        while x < width - width // 40:
            thick = int(rng.integers(width // 60, width // 22))
            tall = int(pitch * rng.uniform(0.55, 0.82))
            if rng.random() < 0.08:
                x += thick * 2  # a gap on the shelf
                continue
            tone = 0.5 * rng.uniform(25, 215, 3) + 0.5 * rng.uniform(40, 200)
            right = min(x + thick, width - width // 40)
            canvas[floor - tall : floor, x:right] = tone
            band = floor - int(tall * rng.uniform(0.5, 0.9))
            canvas[band : band + max(2, tall // 9), x:right] = 235 - 0.8 * tone
            canvas[floor - tall : floor, x : x + 1] *= 0.5
            x += thick
        canvas[floor : floor + pitch // 12] = ramp(0.15 * noise(rng, (pitch // 12, width), (1, 30)), (122, 84, 54), 1.0)
    return canvas * (1 + 0.05 * noise(rng, size, (8, 8))[..., None])


def cabinet(painter: Painter, size: tuple[int, int], colour: Colour, doors: int = 3) -> Canvas:
    """Wooden doors with panels and handles."""
    height, width = size
    canvas = veneer(painter, size, colour)
    door = width // doors
    for index in range(doors):
        left = index * door
        inner = (slice(height // 10, -height // 10), slice(left + door // 8, left + door - door // 8))
        canvas[inner] *= 0.86
        canvas[:, left : left + 3] *= 0.45
        handle = left + (door - door // 10 if index % 2 == 0 else door // 14)
        canvas[height // 2 - height // 12 : height // 2, handle : handle + max(3, door // 28)] = (196, 190, 178)
    return canvas


def fabric(painter: Painter, size: tuple[int, int], colour: Colour) -> Canvas:
    """Upholstery: coarse weave, folds, and a scatter of light motifs."""
    rng = painter.rng
    weave = 0.12 * grain(rng, painter.photo("grass.png"), size, 0.6) + 0.15 * noise(rng, size, (3, 3))
    canvas = ramp(weave, colour, 1.0)
    for _ in range(70):
        centre = (int(rng.integers(0, size[1])), int(rng.integers(0, size[0])))
        tone = tuple(float(min(255.0, c * rng.uniform(1.2, 1.7) + 20)) for c in colour)
        cv2.circle(canvas, centre, int(rng.integers(2, max(3, size[0] // 50))), tone, -1, cv2.LINE_AA)
    return vignette(canvas, 0.3, 0.06)


def leaves(painter: Painter, size: tuple[int, int], colour: Colour = (74, 118, 48)) -> Canvas:
    """Foliage: the grass photo at high contrast in greens, light and dark clumps."""
    rng = painter.rng
    value = 0.38 * grain(rng, painter.photo("grass.png"), size, 1.0) + 0.3 * noise(rng, size, (5, 5))
    return ramp(np.clip(value, -0.85, 1.2).astype(np.float32), colour, 1.0)


def painting(painter: Painter, size: tuple[int, int], index: int) -> Canvas:
    """One of the photos, framed; `index` walks through them."""
    colours: tuple[Colour, ...] = ((40, 30, 24), (176, 148, 92), (222, 222, 218), (92, 40, 30))
    return framed(painter.photo(PICTURES[index % len(PICTURES)]), size, colours[index % len(colours)])


def window(painter: Painter, size: tuple[int, int]) -> Canvas:
    """A bright window: garden and sky behind four panes."""
    height, width = size
    rng = painter.rng
    sky = ramp(0.16 * noise(rng, size, (3, 4), 6), (198, 218, 240), 1.0)
    tree = leaves(painter, size, (104, 142, 84)) * 1.1
    line = (0.55 + 0.22 * noise(rng, (1, width), (1, 6), 4)[0]) * height
    below = np.arange(height)[:, None] > line[None, :]
    canvas = np.where(below[..., None], tree, sky).astype(np.float32)
    bar = max(4, min(size) // 28)
    for at in (0, height // 2 - bar // 2, height - bar):
        canvas[at : at + bar] = (236, 234, 228)
    for at in (0, width // 2 - bar // 2, width - bar):
        canvas[:, at : at + bar] = (236, 234, 228)
    return canvas


def patches(painter: Painter, size: tuple[int, int]) -> Canvas:
    """Soft patches of strong colour, six a side, under the grain of gravel."""
    rng = painter.rng
    canvas = np.stack([128 + 160 * noise(rng, size, (6, 6), octaves=1) for _ in range(3)], axis=2)
    canvas += 14 * grain(rng, painter.photo("gravel.png"), size, 0.5)[..., None]
    return np.clip(canvas, 0, 255)
