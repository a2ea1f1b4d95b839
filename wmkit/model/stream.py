"""What a frame may read besides itself: a whole clip, its chunk, or what a stream kept of the chunks before.

A streamed clip goes through the model chunk by chunk. Recurrent blocks keep one state, convolutions over time the
frames they still see, softmax blocks keys and values: of all chunks, or of the first one (the sink) and the latest.
A pass reads the past and gives the past of the next chunk; it changes nothing, so the steps that denoise a chunk all
start from the same past, and the last pass, with the clean chunk at sigma 0, gives the one to go on with.
Shapes: B batch, T frames, S tokens a frame, C width, H heads, N kept tokens, D channels of a head, h w rows, columns.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_exchange import all_frames, with_neighbours
from wmkit.model.ops.frame_gdn import ChunkLayout, GdnState
from wmkit.model.ops.frame_gdn.context_parallel import FrameShards

__all__ = ["BlockPast", "Scope", "StreamConfig", "StreamState", "Tape"]

KeysAndValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What softmax blocks keep: the latest `window` chunks besides the current one (None: all), and with `sink` the
    first. Released: window 1 and the sink (`num_cached_blocks` 2). Raises ConfigError for a negative window.
    """

    window: int | None = None
    sink: bool = True

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 0:
            raise ConfigError(f"stream: expected a window of at least 0 chunks, got {self.window}")

    def kept(self, chunks: tuple[KeysAndValues, ...]) -> tuple[KeysAndValues, ...]:
        """Of all chunks so far, those that the next one reads."""
        if self.window is None or len(chunks) <= self.window:
            return chunks
        latest = chunks[len(chunks) - self.window :]
        return (chunks[0], *latest) if self.sink else latest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockPast:
    """What one block keeps.

    main, camera              states of the recurrence (GDN blocks); the camera half has no normaliser.
    keys, keys_camera         (B, up to K-1, S, C) latest keys before their convolution (GDN blocks).
    chunks, chunks_camera     keys and values (B, H, N, D) of kept chunks, as attention sees them (softmax blocks).
    mlp                       (B, 1, h, w, C) latest frame before the MLP's convolution over time.
    """

    main: GdnState | None = None
    camera: Tensor | None = None
    keys: Tensor | None = None
    keys_camera: Tensor | None = None
    chunks: tuple[KeysAndValues, ...] = ()
    chunks_camera: tuple[KeysAndValues, ...] = ()
    mlp: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamState:
    """A stream after `frames` latent frames: one past a block."""

    frames: int
    blocks: tuple[BlockPast, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Tape:
    """One block's pass: the past it reads, and the values that it leaves for the next chunk."""

    past: BlockPast
    config: StreamConfig
    left: BlockPast = field(default_factory=BlockPast)

    def next_past(self) -> BlockPast:
        """The past of the next chunk."""
        kept = self.config.kept
        return replace(self.left, chunks=kept(self.left.chunks), chunks_camera=kept(self.left.chunks_camera))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scope:
    """What the frames of one pass may read.

    valid   (B, T), frames with false are not read; None: all are.
    chunks  ahead, a frame reads its own chunk alone; None: the whole clip.
    tape    a stream's past; None: there is nothing before the first frame.
    shards  other processes hold the rest of the clip, of which `chunks` speaks then; None: the pass has all frames.
    """

    valid: Bool[Tensor, "B T"] | None = None
    chunks: ChunkLayout | None = None
    tape: Tape | None = None
    shards: FrameShards | None = None

    def with_near(
        self, x_BTSC: Float[Tensor, "B T S C"], camera: bool, frames: int
    ) -> tuple[Float[Tensor, "B t S C"], int, ChunkLayout | None]:
        """Keys between up to `frames` of those before and after them, how many are before, and the layout of all.

        A stream knows those before alone, and leaves its latest `frames` keys on the tape.
        """
        if self.shards is not None:
            joined, before = with_neighbours(x_BTSC, self.shards, frames)
            start = self.shards.start - before
            return joined, before, None if self.chunks is None else self.chunks.cut(start, start + joined.shape[1])
        if self.tape is None:
            return x_BTSC, 0, self.chunks
        tail = self.tape.past.keys_camera if camera else self.tape.past.keys
        joined = x_BTSC if tail is None else torch.cat([tail, x_BTSC], dim=1)
        kept = joined[:, max(joined.shape[1] - frames, 0) :]
        left = self.tape.left
        self.tape.left = replace(left, keys_camera=kept) if camera else replace(left, keys=kept)
        before = joined.shape[1] - x_BTSC.shape[1]
        layout = ChunkLayout(frames=(before, x_BTSC.shape[1])) if before else None
        return joined, before, layout

    def of_clip(
        self, k: Float[Tensor, "B H T S D"], v: Float[Tensor, "B H T S D"]
    ) -> tuple[Float[Tensor, "B H t S D"], Float[Tensor, "B H t S D"]]:
        """Keys and values of all the clip's frames, T of which are given."""
        if self.shards is None:
            return k, v
        return all_frames(k, self.shards, 2), all_frames(v, self.shards, 2)

    def valid_of_clip(self) -> Bool[Tensor, "B t"] | None:
        """`valid` of all the clip's frames."""
        if self.valid is None or self.shards is None:
            return self.valid
        return all_frames(self.valid.float(), self.shards, 1) > 0

    def spans(self, frames: int) -> tuple[tuple[int, int], ...]:
        """Of this pass' frames, those that see the same: how many, and how many of the clip's first they see."""
        start, total = (0, frames) if self.shards is None else (self.shards.start, self.shards.total)
        chunks = ChunkLayout.whole(total) if self.chunks is None else self.chunks
        return chunks.spans(start, start + frames)

    def with_chunks(self, k: Float[Tensor, "B H N D"], v: Float[Tensor, "B H N D"], camera: bool) -> KeysAndValues:
        """Keys and values with those of the kept chunks in front; leaves them all on the tape."""
        if self.tape is None:
            return k, v
        # The sink stays the first entry as chunks are dropped, since `kept` puts it there.
        before = self.tape.past.chunks_camera if camera else self.tape.past.chunks
        chunks = (*before, (k, v))
        left = self.tape.left
        self.tape.left = replace(left, chunks_camera=chunks) if camera else replace(left, chunks=chunks)
        return torch.cat([part for part, _ in chunks], dim=2), torch.cat([part for _, part in chunks], dim=2)
