"""Which frames may look at which later ones: frames in chunks, as one value.

Every frame reads all of the past; of the future it reads the rest of its own chunk. So one chunk is the
bidirectional op, chunks of one frame are the causal op, and the released chunk-causal model has 121 = 4 + 39 * 3.
"""

from dataclasses import dataclass

from wmkit.errors import ConfigError

__all__ = ["ChunkLayout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLayout:
    """`frames`: latent frames of each chunk, in order; raises ConfigError unless each has at least one."""

    frames: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.frames or min(self.frames) < 1:
            raise ConfigError(f"chunks: expected at least one chunk of at least one frame, got {self.frames}")

    @classmethod
    def whole(cls, total: int) -> "ChunkLayout":
        """One chunk: every frame sees every other."""
        return cls(frames=(total,))

    @classmethod
    def causal(cls, total: int) -> "ChunkLayout":
        """Every frame is a chunk: nothing is seen ahead."""
        return cls(frames=(1,) * total)

    @classmethod
    def first_plus_one(cls, total: int, chunk: int = 3) -> "ChunkLayout":
        """As released: the picture's own frame joins the first chunk, a rest is a shorter last chunk."""
        if total < 1 or chunk < 1:
            raise ConfigError(f"chunks: expected positive frames and chunk size, got {total} and {chunk}")
        first = min(total, 1 + chunk)
        whole, rest = divmod(total - first, chunk)
        return cls(frames=(first,) + (chunk,) * whole + ((rest,) if rest else ()))

    def spans(self, start: int, stop: int) -> tuple[tuple[int, int], ...]:
        """Of the frames from `start` to `stop`, chunk by chunk: how many there are, and where the whole chunk ends."""
        spans, end = [], 0
        for frames in self.frames:
            begin, end = end, end + frames
            if begin < stop and end > start:
                spans.append((min(end, stop) - max(begin, start), end))
        return tuple(spans)

    def cut(self, start: int, stop: int) -> "ChunkLayout":
        """The chunks of the frames from `start` to `stop` alone; there must be one."""
        return ChunkLayout(frames=tuple(frames for frames, _ in self.spans(start, stop)))

    @property
    def total(self) -> int:
        """Frames in all."""
        return sum(self.frames)

    @property
    def ends(self) -> tuple[bool, ...]:
        """For every frame, whether it is the last of its chunk."""
        return tuple(within == count - 1 for count in self.frames for within in range(count))
