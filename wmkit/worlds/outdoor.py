"""Textures of streets: facades, road, pavement, sky, cars, bark."""

import cv2
import numpy as np

from wmkit.worlds.indoor import leaves
from wmkit.worlds.paint import Canvas, Colour, Painter, crop, grain, letter, noise, piece, ramp, scaled

__all__ = ["bark", "car_end", "car_side", "facade", "glass", "kerb", "paving", "road", "sign", "sky"]

SIGNS = ("CAFE", "BOOKS", "HOTEL", "BAKERY", "MUSIC", "FLOWERS", "OPTIK", "TAILOR", "WINE", "PHOTO")
BEHIND_GLASS = ("motorcycle_left.png", "coffee.png", "rocket.jpg", "astronaut.png", "chelsea.png")


def facade(painter: Painter, size: tuple[int, int], colour: Colour, floors: int, bays: int) -> Canvas:
    """A house front: brick or render, rows of windows that all differ, a shop floor with a sign, a cornice."""
    rng = painter.rng
    height, width = size
    canvas = _masonry(painter, size, colour)
    floor_px, bay_px = height // (floors + 1), width // bays
    for floor in range(floors):
        for bay in range(bays):
            wide, tall = int(bay_px * rng.uniform(0.45, 0.6)), int(floor_px * rng.uniform(0.55, 0.68))
            left = bay * bay_px + (bay_px - wide) // 2
            top = int(floor * floor_px + floor_px * 0.25)
            _window(painter, canvas, (top, left, tall, wide))
    _shop(painter, canvas[floors * floor_px :])
    canvas[: height // 28] = ramp(0.2 * noise(rng, (height // 28, width), (2, 30)), (188, 180, 166), 1.0)
    canvas[height // 28 : height // 28 + 6] *= 0.5
    band = floors * floor_px
    canvas[band - 8 : band] = ramp(0.2 * noise(rng, (8, width), (1, 60)), (170, 162, 150), 1.0)
    stains = noise(rng, size, (4, 12), 5)
    return canvas * (1 + 0.10 * stains[..., None])


def _masonry(painter: Painter, size: tuple[int, int], colour: Colour) -> Canvas:
    rng = painter.rng
    if rng.random() < 0.5:
        canvas = np.empty((*size, 3), dtype=np.float32)
        tile, bricks = 128, scaled(painter.photo("brick.png"), 0.42).mean(axis=2)
        middle = float(bricks.mean())
        for top in range(0, size[0], tile):
            for left in range(0, size[1], tile):
                brick = piece(rng, bricks, (tile, tile))
                canvas[top : top + tile, left : left + tile] = ramp((brick - middle) / middle, colour, 0.7)
        return canvas
    value = 0.10 * grain(rng, painter.photo("gravel.png"), size, 0.5) + 0.10 * noise(rng, size, (3, 3), 6)
    return ramp(value, colour, 1.0)


def _window(painter: Painter, canvas: Canvas, at: tuple[int, int, int, int]) -> None:
    """Glass with something dark behind it, curtains now and then, a frame, a sill and a lintel."""
    top, left, tall, wide = at
    rng = painter.rng
    photo = painter.photo(BEHIND_GLASS[int(rng.integers(0, len(BEHIND_GLASS)))])
    glass = crop(rng, photo, (tall, wide), 0.6) * np.float32(rng.uniform(0.25, 0.6)) + 12
    glass += np.linspace(45, 0, tall, dtype=np.float32)[:, None, None] * np.array([0.7, 0.9, 1.1], dtype=np.float32)
    if rng.random() < 0.45:
        drop = int(tall * rng.uniform(0.25, 0.95))
        folds = noise(rng, (drop, wide), (1, 8), 3)
        red, green, blue = rng.uniform(150, 230, 3).tolist()
        glass[:drop] = ramp(0.12 * folds, (red, green, blue), 1.0)
    canvas[top - 7 : top, left - 8 : left + wide + 8] = (176, 168, 154)
    canvas[top : top + tall, left : left + wide] = glass
    tone = rng.uniform(60, 240)
    for row in (top, top + tall // 2, top + tall - 4):
        canvas[row : row + 4, left : left + wide] = tone
    for column in (left, left + wide // 2 - 2, left + wide - 4):
        canvas[top : top + tall, column : column + 4] = tone
    canvas[top + tall : top + tall + 7, left - 10 : left + wide + 10] = (196, 190, 178)
    canvas[top + tall + 7 : top + tall + 12, left - 8 : left + wide + 8] *= 0.6


def _shop(painter: Painter, canvas: Canvas) -> None:
    """The ground floor: a painted front with display windows, a door and a sign."""
    rng = painter.rng
    height, width = canvas.shape[:2]
    red, green, blue = rng.uniform(40, 130, 3).tolist()
    canvas[:] = ramp(0.08 * noise(rng, (height, width), (3, 8)), (red, green, blue), 1.0)
    bays = int(rng.integers(2, 4))
    bay = width // bays
    door_bay = int(rng.integers(0, bays))
    for index in range(bays):
        left, top = index * bay + bay // 12, int(height * 0.30)
        wide, tall = bay - bay // 6, int(height * (0.68 if index == door_bay else 0.52))
        photo = painter.photo(BEHIND_GLASS[int(rng.integers(0, len(BEHIND_GLASS)))])
        canvas[top : top + tall, left : left + wide] = crop(rng, photo, (tall, wide), 1.0) * 0.7 + 15
        for column in (left, left + wide // 2, left + wide - 5):
            canvas[top : top + tall, column : column + 5] = 210
    board = canvas[int(height * 0.06) : int(height * 0.24), width // 12 : -width // 12]
    board[:] = tuple(float(x) for x in rng.uniform(20, 90, 3))
    word = SIGNS[int(rng.integers(0, len(SIGNS)))]
    reach = min(0.45, 0.05 * len(word))
    letter(board, word, (0.12, 0.5 - reach, 0.88, 0.5 + reach), (238, 224, 176))


def road(painter: Painter, size: tuple[int, int]) -> Canvas:
    """Asphalt along the width: aggregate, repairs, cracks, tyre tracks, a dashed centre line, a manhole, leaves."""
    rng = painter.rng
    height, width = size
    value = 0.16 * grain(rng, painter.photo("gravel.png"), size, 0.45) + 0.10 * noise(rng, size, (3, 6), 6)
    canvas = ramp(value, (104, 103, 104), 1.0)
    for _ in range(7):  # repairs of another mix
        w, h = int(rng.integers(60, 420)), int(rng.integers(40, 260))
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        canvas[y : y + h, x : x + w] *= np.float32(rng.uniform(0.72, 1.2))
    for _ in range(26):  # cracks: random walks
        steps = rng.normal(0, 14, (40, 2)).cumsum(axis=0) + np.linspace(0, rng.uniform(-260, 260), 40)[:, None]
        line = (steps + rng.uniform(0, 1, 2) * (width, height)).astype(np.int32)
        cv2.polylines(canvas, [line], False, (52, 50, 50), int(rng.integers(1, 4)), cv2.LINE_AA)
    worn = 1 + 0.25 * noise(rng, size, (16, 32), 4)[..., None]
    dash = np.zeros((*size, 1), dtype=np.float32)
    for start in range(width // 16, width, width // 4):
        dash[height // 2 - 9 : height // 2 + 9, start : start + width // 8] = 0.85
    canvas = canvas * (1 - dash) + dash * 214 * worn
    for edge in (height // 22, height - height // 22 - 10):
        canvas[edge : edge + 10] = canvas[edge : edge + 10] * 0.4 + 126 * worn[edge : edge + 10]
    for _ in range(3):
        centre = (int(rng.integers(80, width - 80)), int(height * rng.choice([0.27, 0.74])))
        cv2.circle(canvas, centre, 46, (62, 60, 58), -1, cv2.LINE_AA)
        for radius in (46, 36, 24, 12):
            cv2.circle(canvas, centre, radius, (120, 116, 110), 3, cv2.LINE_AA)
    for _ in range(420):  # fallen leaves and litter
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        tone = tuple(float(x) for x in rng.uniform((90, 60, 20), (210, 160, 90)))
        cv2.ellipse(canvas, at, (int(rng.integers(3, 8)), 3), float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
    return canvas


def paving(painter: Painter, size: tuple[int, int], slab_px: int = 64) -> Canvas:
    """Pavement slabs, each with its own tone and crop of gravel, dark joints, gum and leaves."""
    rng = painter.rng
    height, width = size
    canvas = np.empty((height, width, 3), dtype=np.float32)
    gravel = scaled(painter.photo("gravel.png"), 0.5).mean(axis=2)
    for top in range(0, height, slab_px):
        for left in range(0, width, slab_px):
            shape = (min(slab_px, height - top), min(slab_px, width - left))
            part = piece(rng, gravel, shape)
            tone = float(rng.uniform(0.82, 1.12))
            slab = ramp((part - part.mean()) / 128, (158, 152, 144), 0.75) * np.float32(tone)
            canvas[top : top + slab_px, left : left + slab_px] = slab
            canvas[top : top + 2, left : left + slab_px] *= 0.5
            canvas[top : top + slab_px, left : left + 2] *= 0.5
    for _ in range(width * height // 4000):
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        tone = tuple(float(x) for x in rng.uniform(60, 110) * np.array([1.1, 0.95, 0.7]))
        cv2.circle(canvas, at, int(rng.integers(1, 4)), tone, -1, cv2.LINE_AA)
    return canvas


def kerb(painter: Painter, size: tuple[int, int]) -> Canvas:
    """Kerb stones in a row."""
    width = size[1]
    value = 0.18 * noise(painter.rng, size, (2, 64), 5)
    canvas = ramp(value, (150, 146, 140), 1.0)
    for left in range(0, width, width // 20):
        canvas[:, left : left + 3] *= 0.5
    return canvas


def sky(painter: Painter, size: tuple[int, int], low: bool) -> Canvas:
    """Clouds on blue; `low` fades to haze and a wooded skyline at the bottom."""
    height, width = size
    rng = painter.rng
    cloud = np.clip(0.35 + 0.7 * noise(rng, size, (3, 5), 7), 0, 1)[..., None]
    blue = np.array([112, 156, 214], dtype=np.float32)
    canvas = blue + cloud * (np.array([236, 238, 240], dtype=np.float32) - blue)
    if low:
        haze = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 2
        canvas = canvas * (1 - 0.6 * haze) + 0.6 * haze * np.array([216, 222, 228], dtype=np.float32)
        line = (0.9 + 0.04 * noise(rng, (1, width), (1, 24), 5)[0]) * height
        wood = 0.5 * leaves(painter, size) + 70
        canvas = np.where((np.arange(height)[:, None] > line[None, :])[..., None], wood, canvas)
    return canvas.astype(np.float32)


def car_side(painter: Painter, size: tuple[int, int], colour: Colour) -> Canvas:
    """A car's flank: body, doors, wheels, and a dark gap below."""
    height, width = size
    rng = painter.rng
    body = ramp(0.10 * noise(rng, size, (3, 6), 5), colour, 1.0)
    body *= np.linspace(1.15, 0.6, height, dtype=np.float32)[:, None, None]
    for at in (0.36, 0.62):
        body[: int(height * 0.85), int(width * at) : int(width * at) + 3] *= 0.4
        body[height // 5 : height // 5 + 6, int(width * at) + 12 : int(width * at) + 40] = 200
    body[int(height * 0.82) :] *= 0.3
    for at in (0.19, 0.79):
        centre = (int(width * at), int(height * 0.70))
        cv2.circle(body, centre, int(height * 0.31), (26, 26, 28), -1, cv2.LINE_AA)
        cv2.circle(body, centre, int(height * 0.19), (170, 172, 176), -1, cv2.LINE_AA)
        for spoke in range(5):
            angle = 2 * np.pi * spoke / 5 + float(rng.uniform(0, 1))
            tip = (int(centre[0] + height * 0.18 * np.cos(angle)), int(centre[1] + height * 0.18 * np.sin(angle)))
            cv2.line(body, centre, tip, (60, 60, 64), 5, cv2.LINE_AA)
    return body


def car_end(painter: Painter, size: tuple[int, int], colour: Colour) -> Canvas:
    """A car's front or rear: lamps, bumper, number plate."""
    height, width = size
    body = ramp(0.10 * noise(painter.rng, size, (3, 4), 5), colour, 1.0)
    body[int(height * 0.62) :] *= 0.45
    lamp = (slice(int(height * 0.2), int(height * 0.42)), slice(int(width * 0.05), int(width * 0.24)))
    body[lamp] = (186, 44, 36)
    body[lamp[0], int(width * 0.76) : int(width * 0.95)] = (186, 44, 36)
    plate = (slice(int(height * 0.45), int(height * 0.6)), slice(int(width * 0.36), int(width * 0.64)))
    body[plate] = (232, 230, 214)
    number = "".join(str(int(d)) for d in painter.rng.integers(0, 10, 5))
    letter(body, number, (0.46, 0.38, 0.59, 0.62), (30, 30, 40))
    return body


def glass(painter: Painter, size: tuple[int, int], colour: Colour) -> Canvas:
    """A car's upper side: tinted windows with reflections between painted pillars."""
    height, width = size
    pane = crop(painter.rng, painter.photo("rocket.jpg"), size, 0.8) * 0.5 + 34
    pane += 40 * noise(painter.rng, size, (2, 4), 4)[..., None]
    pillar = max(4, width // 40)
    for column in (0, width // 2 - pillar // 2, width - pillar):
        pane[:, column : column + pillar] = colour
    pane[: height // 8] = colour
    return pane


def bark(painter: Painter, size: tuple[int, int], colour: Colour = (92, 74, 58)) -> Canvas:
    """A trunk or post: vertical streaks."""
    streaks = 0.22 * noise(painter.rng, size, (4, 16), 5) + 0.1 * noise(painter.rng, size, (1, 24), 4)
    return ramp(streaks, colour, 1.0)


def sign(painter: Painter, size: tuple[int, int]) -> Canvas:
    """A poster: a photo above a band with a word."""
    height = size[0]
    rng = painter.rng
    canvas = crop(rng, painter.photo(BEHIND_GLASS[int(rng.integers(0, len(BEHIND_GLASS)))]), size, 1.0)
    canvas[int(height * 0.75) :] = tuple(float(x) for x in rng.uniform(30, 220, 3))
    word = SIGNS[int(rng.integers(0, len(SIGNS)))]
    letter(canvas, word, (0.78, 0.06, 0.97, 0.94), (245, 245, 240))
    return canvas
