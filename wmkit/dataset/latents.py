"""What `wmkit precompute` adds to samples: latents of windows of frames, and states of captions.

::

    .latent.safetensors  latent  (W, T, C, h, w) float16 or float32: W windows of the mp4, each encoded as a clip of its
                                 own, in the scale that a model sees (the codec's `normalise`)
                         covers  (W, T, 2) int64: first and last frame of the mp4 that a latent frame covers
    .text.safetensors    states  (n, C) of the caption's tokens; mask (L,) uint8: which of the L places they have
                         empty_states, empty_mask: the same of an empty caption

The header of each holds one text, `wmkit`: JSON of what shards.json has under `precomputed`, and the mp4's `fps`.
A causal codec's first latent frame is one frame of the video, every other one `stride` frames. So a window can begin
only where one was encoded: a latent out of the middle of another has seen what came before it. A window's beginning is
a shorter window, the same latents: the codec is causal.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wmkit.dataset.schema import Folder, Sample, read_part
from wmkit.errors import ConfigError, CorruptShardError

__all__ = [
    "CONVENTIONS",
    "LATENT",
    "TEXT",
    "LatentFacts",
    "Precomputed",
    "TextFacts",
    "TextRows",
    "Window",
    "added_damage",
    "covers",
    "latent_bytes",
    "latents_told",
    "precomputed",
    "read_latent",
    "read_text",
    "text_bytes",
    "texts_told",
    "windows_of",
]

LATENT, TEXT = "latent.safetensors", "text.safetensors"
Precision = Literal["float16", "float32"]
CONVENTIONS = {
    LATENT: "latent (W, T, C, h, w): windows of the mp4, each encoded as a clip of its own, normalised as a model sees "
    "it; covers (W, T, 2): first and last frame of the mp4 behind each latent frame, every frame_stride-th of them",
    TEXT: "states (n, C) of the caption's tokens, mask (L,) 1 at their places; empty_*: the same of an empty caption",
}


def latents_told(codec: str, channels: int, stride: int, downscale: int) -> str:
    """Latents for people, as `ltx2 (128 channels, 8 frames, 32 px)`; equal texts are latents of one kind."""
    return f"{codec} ({channels} channels, {stride} frames, {downscale} px)"


def texts_told(encoder: str, channels: int, tokens: int) -> str:
    """Text states likewise, as `gemma-2 (2304 channels, 300 tokens)`."""
    return f"{encoder} ({channels} channels, {tokens} tokens)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentFacts:
    """Which latents a folder's samples have.

    codec          name of the codec, with `channels`, `stride` and `downscale` as in `LatentSpec`; `licence` of its
                   weights, `weights` their sha256, "" for a codec without.
    height, width  px that frames were made to cover and cropped to, as the loader does it.
    frames         of a window; None: one window a sample, as long as its longest run of posed frames allows.
    frame_stride   frames of the mp4 from one of a window to the next.
    hop            frames from the beginning of one window to that of the next, at least; None: windows do not overlap.
    precision      how values are stored.

    ConfigError when a number is out of range.
    """

    codec: str
    channels: int
    stride: int
    downscale: int
    licence: str
    weights: str
    height: int
    width: int
    frames: int | None = None
    frame_stride: int = 1
    hop: int | None = None
    precision: Precision = "float16"

    def __post_init__(self) -> None:
        given = {"--frames": self.frames, "--hop": self.hop, "--stride": self.frame_stride}
        for flag, value in given.items():
            if value is not None and value < 1:
                raise ConfigError(f"{flag}: expected at least 1, got {value}")
        if min(self.channels, self.stride, self.downscale) < 1 or self.precision not in ("float16", "float32"):
            raise ConfigError(f"latents: expected numbers of at least 1 and a precision, got {self}")
        if self.frames is not None and (self.frames == 1 or (self.frames - 1) % self.stride):
            raise ConfigError(f"--frames: expected 1 + {self.stride} k, the stride of {self.codec}, got {self.frames}")
        if min(self.height, self.width) < 1 or self.height % self.downscale or self.width % self.downscale:
            raise ConfigError(
                f"--size: expected sides that divide by {self.downscale} px, a latent cell of {self.codec}, got "
                f"{self.height}x{self.width}"
            )

    @property
    def spec(self) -> str:
        """What a model has to have been made for; see `latents_told`."""
        return latents_told(self.codec, self.channels, self.stride, self.downscale)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacts:
    """Which text states a folder's samples have: `tokens` L places of `channels` C; see `LatentFacts`."""

    encoder: str
    channels: int
    tokens: int
    licence: str
    weights: str
    precision: Precision = "float16"

    @property
    def spec(self) -> str:
        """See `texts_told`."""
        return texts_told(self.encoder, self.channels, self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precomputed:
    """What a folder's samples hold besides frames and cameras."""

    latents: LatentFacts
    texts: TextFacts | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, as shards.json has them."""
        return asdict(self)


class Window(NamedTuple):
    """Frames `start`, `start + frame_stride`, ... of a sample's mp4, `frames` of them."""

    start: int
    frames: int


class TextRows(NamedTuple):
    """States (L, C) float32, zero where `mask` (L,) is false, of a caption and of an empty one."""

    states: NDArray[np.float32]
    mask: NDArray[np.bool_]
    empty_states: NDArray[np.float32]
    empty_mask: NDArray[np.bool_]


def precomputed(head: Mapping[str, Any]) -> Precomputed | None:
    """What shards.json says was precomputed, None where nothing was; ConfigError when it cannot be read."""
    plain = head.get("precomputed")
    if plain is None:
        return None
    try:
        texts = plain["texts"]
        return Precomputed(latents=LatentFacts(**plain["latents"]), texts=None if texts is None else TextFacts(**texts))
    except (KeyError, TypeError) as error:
        raise ConfigError(f"shards.json: expected latents of this version, got {error}; precompute again") from None


def windows_of(posed: NDArray[np.bool_], facts: LatentFacts) -> tuple[Window, ...]:
    """The windows of a sample whose frames are posed so: every frame of a window is.

    With a length, from the first frame on wherever one fits, `hop` or more after the last; without, the first of the
    longest. None where there are not 1 + stride posed frames in a row.
    """
    run = _runs(posed, facts.frame_stride)
    if facts.frames is None:
        frames = 1 + (int(run.max(initial=0)) - 1) // facts.stride * facts.stride
        return (Window(int((run >= frames).argmax()), frames),) if frames > 1 else ()
    starts, found = np.flatnonzero(run >= facts.frames), list[Window]()
    hop = facts.frames * facts.frame_stride if facts.hop is None else facts.hop
    place = 0
    while place < len(starts):
        found.append(Window(int(starts[place]), facts.frames))
        place = int(np.searchsorted(starts, starts[place] + hop))
    return tuple(found)


def _runs(posed: NDArray[np.bool_], stride: int) -> NDArray[np.int64]:
    """(N,) how many frames, `stride` apart and beginning with this one, are posed before one is not."""
    run = np.empty(len(posed), dtype=np.int64)
    for first in range(min(stride, len(posed))):
        own = posed[first::stride]
        place = np.arange(len(own))
        run[first::stride] = np.minimum.accumulate(np.where(own, len(own), place)[::-1])[::-1] - place
    return run


def covers(windows: tuple[Window, ...], facts: LatentFacts) -> NDArray[np.int64]:
    """(W, T, 2) first and last frame of the mp4 that each latent frame covers."""
    T = 1 + (windows[0].frames - 1) // facts.stride
    last = np.arange(T) * facts.stride
    first = np.maximum(last - facts.stride + 1, 0)
    starts = np.array([window.start for window in windows])
    return starts[:, None, None] + np.stack([first, last], axis=-1)[None] * facts.frame_stride


def latent_bytes(latents: NDArray[np.float32], windows: tuple[Window, ...], made: Precomputed, fps: str) -> bytes:
    """The part .latent.safetensors of latents (W, T, C, h, w); ValueError when a value does not fit its precision."""
    facts = made.latents
    stored = _stored(latents, facts.precision)
    return _packed({"latent": stored, "covers": covers(windows, facts)}, {**asdict(facts), "fps": fps})


def text_bytes(rows: TextRows, facts: TextFacts) -> bytes:
    """The part .text.safetensors; ValueError when a value does not fit its precision."""
    tensors = {
        "states": _stored(rows.states[rows.mask], facts.precision),
        "mask": rows.mask.astype(np.uint8),
        "empty_states": _stored(rows.empty_states[rows.empty_mask], facts.precision),
        "empty_mask": rows.empty_mask.astype(np.uint8),
    }
    return _packed(tensors, asdict(facts))


def read_latent(
    folder: Folder, sample: Sample, facts: LatentFacts, window: int, latent_frames: int, *, check: bool = True
) -> NDArray[np.float32]:
    """(T, C, h, w) float32: the first `latent_frames` of a sample's window of this number.

    CorruptShardError when the part is not what the index and the head promise. `check`: its bytes are held against the
    index first.
    """
    tensors = _tensors(folder, sample, LATENT, check=check)
    wrong = _latent_wrong(tensors, sample, facts)
    if wrong is not None:
        raise CorruptShardError(f"{sample.shard}: sample {sample.key}: {wrong}")
    return tensors["latent"][window, :latent_frames].astype(np.float32)


def read_text(folder: Folder, sample: Sample, facts: TextFacts, *, check: bool = True) -> TextRows:
    """A sample's text states; CorruptShardError when the part is not what index and head promise."""
    tensors = _tensors(folder, sample, TEXT, check=check)
    rows = []
    for name in ("", "empty_"):
        mask, states = tensors.get(f"{name}mask"), tensors.get(f"{name}states")
        if mask is None or states is None or not _fits(mask, states, facts):
            raise CorruptShardError(f"{sample.shard}: sample {sample.key}: expected .{TEXT} of {facts.spec}")
        wide = np.zeros((facts.tokens, facts.channels), dtype=np.float32)
        wide[mask != 0] = states
        rows += [wide, mask != 0]
    return TextRows(*rows)


def added_damage(folder: Folder, sample: Sample, made: Precomputed, *, full: bool) -> str | None:
    """What is wrong with what was added to a sample, None when nothing is; `full`: every value is a number, too."""
    has = {part.name for part in sample.parts}
    wanted = {LATENT} if windows_of(sample.posed, made.latents) else set()
    wanted |= set() if made.texts is None else {TEXT}
    if has & {LATENT, TEXT} != wanted:
        return f"expected the parts {', '.join(sorted(wanted)) or 'of plain shards'} besides, got others"
    try:
        if made.texts is not None:
            rows = read_text(folder, sample, made.texts)
            if full and not all(np.isfinite(states).all() for states in (rows.states, rows.empty_states)):
                return f"expected numbers in .{TEXT}, got NaN or infinity"
        if LATENT not in wanted:
            return None
        tensors = _tensors(folder, sample, LATENT, check=True)
    except CorruptShardError as error:
        return str(error)
    wrong = _latent_wrong(tensors, sample, made.latents)
    if wrong is None and full and not np.isfinite(tensors["latent"]).all():
        return f"expected numbers in .{LATENT}, got NaN or infinity"
    return wrong


def _fits(mask: NDArray[Any], states: NDArray[Any], facts: TextFacts) -> bool:
    """Whether the states are those of the places that the mask has, of which there is one at least."""
    if mask.shape != (facts.tokens,) or mask.dtype != np.uint8 or not mask.any():
        return False
    return states.shape == (int((mask != 0).sum()), facts.channels)


def _latent_wrong(tensors: Mapping[str, NDArray[Any]], sample: Sample, facts: LatentFacts) -> str | None:
    windows = windows_of(sample.posed, facts)
    want = covers(windows, facts)
    cells = (facts.channels, facts.height // facts.downscale, facts.width // facts.downscale)
    latent, found = tensors.get("latent"), tensors.get("covers")
    shape = (*want.shape[:2], *cells)
    if latent is None or latent.shape != shape or latent.dtype != np.dtype(facts.precision):
        got = "none" if latent is None else f"{latent.dtype} {latent.shape}"
        return f"expected .{LATENT} with latent as {facts.precision} {shape}, got {got}"
    if found is None or not np.array_equal(found, want):
        return f"expected .{LATENT} of the windows that its posed frames allow, got others"
    return None


def _stored(values: NDArray[np.float32], precision: Precision) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # told by what it leaves
        stored = np.ascontiguousarray(values.astype(precision))
    if not np.isfinite(stored).all():
        raise ValueError(f"expected finite values within {precision}, got at most {np.abs(values).max():.3g}")
    return stored


def _packed(tensors: dict[str, NDArray[Any]], facts: Mapping[str, Any]) -> bytes:
    """safetensors of fixed bytes: one text in its header, since the order of several is not fixed."""
    from safetensors.numpy import save

    return save(tensors, metadata={"wmkit": json.dumps(facts, sort_keys=True, ensure_ascii=False)})


def _tensors(folder: Folder, sample: Sample, name: str, *, check: bool) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(read_part(folder, sample, name, check=check))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptShardError(
            f"{sample.shard}: expected {sample.key}.{name} to be safetensors, got {error}"
        ) from None
