"""Small clips whose every frame carries its own number in its pixels, so that a wrong frame cannot pass.

A row of ten blocks at the top of the upright picture is the number in binary, white for 1, most significant bit
first; a red block at the bottom left shows which way is up.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.video import ClipFile, clip_id_of

Picture = NDArray[np.uint8]

BITS = 10


def numbered_picture(number: int, width: int, height: int) -> Picture:
    """Upright RGB (height, width, 3): gradients below, the number above."""
    x = np.linspace(40, 200, width)[None, :]
    y = np.linspace(40, 200, height)[:, None]
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[..., 0] = np.broadcast_to(x, (height, width))
    picture[..., 1] = np.broadcast_to(y, (height, width))
    picture[..., 2] = (x + y) / 2
    edges = np.linspace(0, width, BITS + 1).astype(int)
    for bit in range(BITS):
        on = number >> (BITS - 1 - bit) & 1
        picture[: height // 3, edges[bit] : edges[bit + 1]] = 230 if on else 25
    picture[-height // 4 :, : width // 4] = (220, 30, 30)
    return picture


def read_number(picture: Picture) -> int:
    """The number in an upright picture of any size; raises ValueError where a block is neither black nor white."""
    height, width = picture.shape[:2]
    edges = np.linspace(0, width, BITS + 1)
    number = 0
    for bit in range(BITS):
        left, right = edges[bit], edges[bit + 1]
        middle = picture[
            height // 9 : height * 2 // 9 + 1, int(left + (right - left) / 3) : int(right - (right - left) / 3) + 1
        ]
        level = float(middle.mean())
        if 90 < level < 165:
            raise ValueError(f"bit {bit} is neither black nor white: {level:.0f}")
        number = number << 1 | int(level > 128)
    corner = picture[-height // 8 :, : width // 8].reshape(-1, 3).mean(axis=0)
    if not (corner[0] > 150 and corner[1] < 90):
        raise ValueError(f"the red corner is not at the bottom left: {corner.round()}")
    return number


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How `write_clip` stores pictures: `turn` is what `np.rot90` is given, `ratio` the sample aspect ratio."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    time_base: Fraction = Fraction(1, 30)
    options: tuple[tuple[str, str], ...] = (("crf", "8"), ("bf", "2"), ("g", "12"), ("preset", "veryfast"))
    turn: int = 0
    ratio: Fraction | None = None


def write_clip(path: Path, ticks: Sequence[int], size: tuple[int, int], encoding: Encoding = Encoding()) -> Path:
    """Frame k holds number k and is shown at ticks[k] * time_base; `size` is that of the upright picture."""
    import av

    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream(encoding.codec, rate=Fraction(30))
        stream.time_base = encoding.time_base
        stream.codec_context.time_base = encoding.time_base
        stream.width, stream.height = size[::-1] if encoding.turn % 2 else size  # type: ignore[attr-defined]
        stream.pix_fmt = encoding.pixel_format  # type: ignore[attr-defined]
        stream.codec_context.thread_count = 1
        stream.options = dict(encoding.options)
        if encoding.ratio is not None:
            stream.codec_context.sample_aspect_ratio = encoding.ratio  # type: ignore[attr-defined]
        for number, tick in enumerate(ticks):
            stored = np.ascontiguousarray(np.rot90(numbered_picture(number, *size), encoding.turn))
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = tick, encoding.time_base
            container.mux(stream.encode(frame))  # type: ignore[arg-type]
        container.mux(stream.encode(None))  # type: ignore[arg-type]
    return path


def remux(source: Path, target: Path, *, before: Sequence[str] = (), after: Sequence[str] = ()) -> Path:
    """Copies the packets with another container header, by imageio-ffmpeg's binary."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *before, "-i", str(source), "-c", "copy", *after]
    subprocess.run([*command, str(target)], check=True)
    return target


def clip_file(path: Path, images: tuple[str, ...] = ()) -> ClipFile:
    """A ClipFile without hashing; the id is of the path's name."""
    content = path.name.encode().hex()
    return ClipFile(path=str(path), name=path.name, content_hash=content, clip_id=clip_id_of(content), images=images)
