"""One shard of `wmkit precompute`, in a worker: its samples with latents and text states added, as a new shard.

The tar appears by one rename, then a note beside it of what it holds; a shard with a note is never made again.

    OUT/.made/<shard>.json   {"shard": its row of the head, "parts": [[key, [[name, offset, size, xxh3], ...]], ...]}
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wmkit.atomic import json_bytes, write_atomic
from wmkit.dataset.decode import as_video, decode_frames, fit_frames
from wmkit.dataset.latents import (
    LATENT,
    TEXT,
    Precomputed,
    TextRows,
    Window,
    latent_bytes,
    text_bytes,
    windows_of,
)
from wmkit.dataset.schema import Folder, Part, Sample, Shard, Shelf, open_shards, opened, sample_parts
from wmkit.dataset.tar import ShardFile
from wmkit.dataset.writer import add_parts
from wmkit.errors import ClipError, WmkitError
from wmkit.model.latent import LatentCodec
from wmkit.model.text import TextEncoder
from wmkit.train.encoders import CodecChoice, TextChoice
from wmkit.train.threads import cpu_threads

__all__ = ["MADE", "EncodeTask", "encode_shard", "note_of", "read_note"]

MADE = ".made"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeTask:
    """What a worker is told: from where, to where, what to add, and with what."""

    source: str
    out: str
    made: Precomputed
    vae: CodecChoice
    text: TextChoice | None
    device: str


def encode_shard(task: EncodeTask, name: str) -> None:
    """Make the shard `name`; ClipError with what is wrong with the source, the weights or the disk."""
    try:
        folder, shards = _opened(task.source)
        codec, encoder = _loaded(task.vae, task.text, task.device)
        with cpu_threads(1):
            _write(task, name, folder, shards[name], codec, encoder)
    except WmkitError as error:
        raise ClipError("precompute", "input", str(error)) from error
    except OSError as error:
        raise ClipError("precompute", "disk", f"{task.out}: {error.strerror or error}") from error


def note_of(shard: Shard, samples: Sequence[tuple[str, Sequence[Part]]]) -> bytes:
    """The note of a shard that is whole: what the index needs to know of its `samples`, (key, parts) in their order."""
    parts = [[key, [astuple(part) for part in own]] for key, own in samples]
    return json_bytes({"shard": asdict(shard), "parts": parts})


def read_note(out: Path, name: str) -> tuple[Shard, dict[str, tuple[Part, ...]]] | None:
    """The shard `name` and the parts of its samples by key; None without a whole note."""
    try:
        note = json.loads((out / MADE / f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    parts = {
        key: tuple(Part(name=part, offset=offset, size=size, xxh3=xxh3) for part, offset, size, xxh3 in own)
        for key, own in note["parts"]
    }
    return Shard(**note["shard"]), parts


@lru_cache(maxsize=1)
def _opened(source: str) -> tuple[Shelf, Mapping[str, list[Sample]]]:
    folder = open_shards(source)
    held = defaultdict[str, list[Sample]](list)
    for sample in folder.samples:
        held[sample.shard].append(sample)
    return folder.path, held


@lru_cache(maxsize=1)
def _loaded(vae: CodecChoice, text: TextChoice | None, device: str) -> tuple[LatentCodec, TextEncoder | None]:
    return vae.load(device), None if text is None else text.load(device)


def _write(
    task: EncodeTask,
    name: str,
    folder: Shelf,
    samples: Sequence[Sample],
    codec: LatentCodec,
    encoder: TextEncoder | None,
) -> None:
    path = Path(task.out) / name
    file, written = ShardFile(path), []
    try:
        for sample in samples:
            with opened(folder, sample) as place:
                parts = {name: bytes(data) for name, data in sample_parts(folder, sample).items()}
                parts |= _added(task, place, sample, parts, codec, encoder)
            written.append((sample.key, add_parts(file, sample.key, parts)))
        shard = file.close(len(samples))
    finally:
        file.discard()
    write_atomic(path.parent / MADE / f"{name}.json", note_of(shard, written))


def _added(
    task: EncodeTask,
    folder: Folder,
    sample: Sample,
    parts: Mapping[str, bytes],
    codec: LatentCodec,
    encoder: TextEncoder | None,
) -> dict[str, bytes]:
    """The new parts of one sample."""
    record, added = json.loads(parts["json"]), {}
    windows = windows_of(sample.posed, task.made.latents)
    try:
        if windows:
            latents = np.stack([_latent(task, folder, sample, window, codec) for window in windows])
            added[LATENT] = latent_bytes(latents, windows, task.made, record["frames"]["fps"])
        if encoder is not None and task.made.texts is not None:
            added[TEXT] = text_bytes(_text(encoder, record["caption"] or ""), task.made.texts)
    except ValueError as error:
        raise ClipError(
            "precompute", "out_of_range", f"sample {sample.key}: {error}; use --precision float32"
        ) from None
    return added


def _latent(
    task: EncodeTask, folder: Folder, sample: Sample, window: Window, codec: LatentCodec
) -> NDArray[np.float32]:
    """(T, C, h, w) of one window, as a model sees it."""
    facts = task.made.latents
    rgb = decode_frames(folder, sample, window.start, window.frames, facts.frame_stride)
    picture, _ = fit_frames(rgb, np.zeros((0, 4)), facts.width, facts.height)
    video = torch.from_numpy(as_video(picture))[None].to(task.device)
    with torch.no_grad():
        latent = codec.normalise(codec.encode(video))
    return latent[0].float().cpu().numpy()


def _text(encoder: TextEncoder, caption: str) -> TextRows:
    batch = encoder.encode([caption, ""])
    states, mask = batch.states.float().cpu().numpy(), batch.mask.cpu().numpy()
    return TextRows(states[0], mask[0], states[1], mask[1])
