"""`wmkit sample --keys-overlay`: a copy of the video with the keys drawn that steer it. The video itself stays clean,
since `wmkit eval` looks for its cameras in every pixel.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.video import VideoConfig, discover, identify, open_source
from wmkit.video.encode import write_mp4

__all__ = ["draw_keys", "write_keys_video"]

# (row, column) of a key from the lower left corner of its block; left block, right block.
PADS = ({"w": (1, 1), "a": (0, 0), "s": (0, 1), "d": (0, 2)}, {"i": (1, 1), "j": (0, 0), "k": (0, 1), "l": (0, 2)})
SHARE, LEAST_PX = 0.09, 5  # side of a key over the picture's smaller side
UP, DOWN, INK = (70, 70, 70), (255, 196, 0), (20, 20, 20)
OPAQUE = 0.65


def write_keys_video(video: Path, out: Path, keys: Sequence[frozenset[str]], fps: float) -> None:
    """Copy `video` to `out` with `keys[i]` drawn on frame i, none where `keys` has ended; InputError as `write_mp4`."""
    (found,) = discover([video]).clips
    source = open_source(identify(found), VideoConfig(fps=None))

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for window in source.windows():
            for index, rgb in enumerate(window.rgb, start=window.start):
                yield draw_keys(rgb, keys[index] if index < len(keys) else frozenset())

    write_mp4(out, pictures(), fps, (source.view.width, source.view.height))


def draw_keys(rgb: NDArray[np.uint8], pressed: frozenset[str]) -> NDArray[np.uint8]:
    """A copy of the picture (h, w, 3): w a s d in its lower left corner, i j k l in its right, lit where pressed."""
    height, width = rgb.shape[:2]
    side = min(max(LEAST_PX, round(SHARE * min(height, width))), max(1, width // 6 - 1))  # six abreast, a gap each
    gap = max(1, side // 8)
    drawn = rgb.copy()
    for pad, left in zip(PADS, (gap, width - 3 * (side + gap)), strict=True):
        for key, (row, column) in pad.items():
            x, y = left + column * (side + gap), height - (row + 1) * (side + gap)
            cv2.rectangle(drawn, (x, y), (x + side - 1, y + side - 1), DOWN if key in pressed else UP, -1)
            scale = side / 34  # Hershey capitals are 22 px high at scale 1
            cv2.putText(
                drawn,
                key.upper(),
                (x + side // 4, y + side - side // 4),
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                INK,
                1,
                cv2.LINE_AA,
            )
    blended = OPAQUE * drawn.astype(np.float32) + (1 - OPAQUE) * rgb
    return np.where((drawn != rgb).any(axis=2, keepdims=True), blended.round(), rgb).astype(np.uint8)
