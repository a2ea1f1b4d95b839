"""Overlays: logos, subtitles, a dashboard; edges that stay where they are while everything else moves."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["OverlayShareConfig"]

NAME = "overlay_share"
MOVES, TILES, FEWEST = 3.0, (8, 6), 8  # grey levels from the frame before, median of tiles; frames that must move
STEADY, EDGE = 0.92, 40.0  # of the gradients' length that is left when they are added up; grey levels (Sobel)
REACH_PX, SMALLEST, LONGEST = 5, 12, 0.9  # of a thumbnail; px of edges in one piece; of a side


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayShareConfig:
    """Share of the picture, 0 to 1, in and around edges that keep place and direction in every frame that moves.

    Lines as long as the picture are bars, not overlays. UNMEASURED where fewer than 8 frames move as a whole. A camera
    that hardly moves among things that do keeps its own edges too: what is behind a moving crowd reads like an overlay.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _OverlayShare()


class _OverlayShare:
    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.moving = 0
        self.x = self.y = self.length = np.zeros(1)

    def see(self, picture: Picture) -> None:
        import cv2

        now = picture.small_grey.astype(np.float32)
        before, self.before = self.before, now
        if (
            before is None
            or np.median(cv2.resize(cv2.absdiff(now, before), TILES, interpolation=cv2.INTER_AREA)) < MOVES
        ):
            return
        x, y = cv2.Sobel(now, cv2.CV_32F, 1, 0), cv2.Sobel(now, cv2.CV_32F, 0, 1)
        self.moving += 1
        self.x, self.y, self.length = self.x + x, self.y + y, self.length + np.hypot(x, y)

    def verdict(self, facts: DecodeFacts) -> Verdict:
        if self.moving < FEWEST or min(self.length.shape) < 16:
            return Verdict.unmeasured(NAME, "", "nothing_moves")
        import cv2

        steady = (np.hypot(self.x, self.y) > STEADY * self.length) & (self.length > EDGE * self.moving)
        edges = steady.astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8)
        height, width = edges.shape
        for piece in range(1, count):
            _, _, wide, high, area = stats[piece]
            if area < SMALLEST or wide > LONGEST * width or high > LONGEST * height:
                edges[pieces == piece] = 0
        kernel = np.ones((REACH_PX, REACH_PX), np.uint8)
        return Verdict.measured(NAME, float(cv2.morphologyEx(edges, cv2.MORPH_CLOSE, kernel).mean()), "")
