"""`precompute`: shards with latents and text states added, as new shards; a shard is an item of the executor.

As SANA-WM trains its minute-long stages: no VAE and no text encoder runs beside the model, and no frame is decoded.
What is added is a function of source, weights and options alone, whoever computes it: the same bytes with any number
of workers. A killed run is done again by the same command, without the shards that were done; so are damaged shards.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from wmkit.atomic import json_bytes, write_atomic
from wmkit.dataset.latents import CONVENTIONS, LatentFacts, Precision, Precomputed, TextFacts, windows_of
from wmkit.dataset.output import DROPPED_NAME, Built, begin, check_output, seal, unseal
from wmkit.dataset.schema import (
    BUILDING_NAME,
    SHARDS_NAME,
    ShardsFolder,
    head_sha256,
    head_shards,
    open_shards,
    read_head,
    read_index,
)
from wmkit.dataset.verify import shard_damage
from wmkit.errors import CorruptShardError, InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items
from wmkit.train.encoders import CodecChoice, TextChoice
from wmkit.train.precompute_shard import MADE, EncodeTask, encode_shard, note_of, read_note

__all__ = ["Addition", "PrecomputeOptions", "PrecomputeSummary", "precompute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecomputeOptions:
    """What is added to every sample.

    vae, text     codec and text encoder; see `wmkit.train.encoders`. Without `text` no captions are encoded.
    size          (height, width) px that frames are made to cover and cropped to; None: the samples' own, if it is one.
    frames, frame_stride, hop, precision   see `LatentFacts`.
    device        of torch.
    executor      who works; changes no byte.
    """

    vae: CodecChoice
    text: TextChoice | None = None
    size: tuple[int, int] | None = None
    frames: int | None = None
    frame_stride: int = 1
    hop: int | None = None
    precision: Precision = "float16"
    device: str = "cpu"
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecomputeSummary:
    """What became of every sample.

    encoded    samples with latents; the others have no window of posed frames.
    windows    of all samples, `frames` in them.
    made       shards that this run wrote, `kept` those that were there already, whole.
    bytes      of all shards.
    failed     shard -> why it could not be made; the folder is none until it is.
    components what encoded, each in a line with its licence.
    """

    out: str
    samples: int
    encoded: int
    windows: int
    frames: int
    captions: bool
    shards: int
    made: int
    kept: int
    bytes: int
    failed: dict[str, str]
    components: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 when a shard could not be made, else 0."""
        return 1 if self.failed else 0

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        lines = [*self.components]
        lines.append(
            f"{self.encoded} of {self.samples} samples have latents: {self.windows} windows, {self.frames} frames"
        )
        lines += [f"{name}: {why}" for name, why in self.failed.items()]
        if self.failed:
            return [*lines, f"{self.out}: {len(self.failed)} of {self.shards} shards could not be made; run it again"]
        done = f", {self.kept} of them as before" if self.kept else ""
        return [*lines, f"shards: {self.out} ({self.shards}{done}, {self.bytes / 1e6:.1f} MB)"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What decides the bytes of precomputed shards: those they are made from, and what is added."""

    source_sha256: str
    made: Precomputed
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What the head says of it."""
        return {"precomputed": {**self.made.to_json(), "source_sha256": self.source_sha256}}

    def tars(self, out: Path) -> list[Path]:
        """What it may have written into `out`."""
        return [out / name for name in self.names if (out / name).exists()]


def precompute(
    source: Path | str, out: Path, options: PrecomputeOptions, progress: Callable[[int, int], None] | None = None
) -> PrecomputeSummary:
    """Write the shards of `source`, a folder or a URL, with latents and text states into the folder `out`.

    progress  called with (samples done, samples), from this thread.

    What a worker cannot do is in the summary. Raises InputError when options do not fit the source or its weights are
    not there, when `out` holds anything else, or the disk refuses; what `open_shards` raises.
    """
    folder = open_shards(source)
    if isinstance(folder.path, Path) and out.resolve().is_relative_to(folder.path.resolve()):
        raise InputError(f"{out}: expected another folder than the shards themselves, or one in it; pass another --out")
    if "precomputed" in folder.head:
        raise InputError(
            f"{source}: expected shards without latents, got precomputed ones; name what they were made of"
        )
    _check_device(options)
    made = _facts(folder, options)
    names = tuple(shard.name for shard in folder.shards)
    addition = Addition(source_sha256=head_sha256(folder.path), made=made, names=names)
    check_output(out, addition)
    try:
        finished = _finished(out)
        failed: dict[str, str] = {}
        kept = set(finished)
        if kept != set(names):
            kept, failed = _make(folder, out, addition, finished, options, progress)
    except OSError as error:
        raise InputError(
            f"{out}: expected a folder that can be written, got {error.strerror or error}; pass another --out"
        ) from error
    return _summary(folder, out, addition, kept, failed)


def _check_device(options: PrecomputeOptions) -> None:
    """InputError for a name that is no device of torch's, or one that is not on the machine that does all the work."""
    try:
        device = torch.device(options.device)
    except RuntimeError:
        raise InputError(f"--device: expected cpu, cuda or cuda:NUMBER, got {options.device!r}") from None
    if device.type == "cuda" and options.executor.kind == "local" and not torch.cuda.is_available():
        raise InputError(f"--device {options.device}: expected a GPU that torch can use, found none; use --device cpu")


def _facts(folder: ShardsFolder, options: PrecomputeOptions) -> Precomputed:
    """What will be added; the weights are loaded once here, so that what is wrong with them is said before any work."""
    spec = options.vae.load("cpu").spec()
    sizes = {(sample.height, sample.width) for sample in folder.samples}
    if options.size is None and len(sizes) > 1:
        raise InputError(
            f"--size: expected a size, since the samples have {len(sizes)} of their own; pass HEIGHTxWIDTH"
        )
    height, width = options.size or next(iter(sizes))
    latents = LatentFacts(
        codec=spec.name,
        channels=spec.channels,
        stride=spec.stride,
        downscale=spec.downscale,
        licence=spec.licence,
        weights=options.vae.weights(),
        height=height,
        width=width,
        frames=options.frames,
        frame_stride=options.frame_stride,
        hop=options.hop,
        precision=options.precision,
    )
    if not any(windows_of(sample.posed, latents) for sample in folder.samples):
        wanted = options.frames or 1 + spec.stride
        raise InputError(
            f"{folder.path}: expected a sample with {wanted} posed frames in a row, got none; ask for fewer"
        )
    if options.text is None:
        return Precomputed(latents=latents, texts=None)
    encoder = options.text.load("cpu")
    texts = TextFacts(
        encoder=options.text.name,
        channels=encoder.channels,
        tokens=encoder.encode([""]).mask.shape[1],
        licence=encoder.licence,
        weights=options.text.weights(),
        precision=options.precision,
    )
    return Precomputed(latents=latents, texts=texts)


def _finished(out: Path) -> dict[str, bytes]:
    """Of a folder that was sealed: shard -> note, of those with every byte. InputError when its index is damaged."""
    if not (out / SHARDS_NAME).exists():
        return {}
    head = read_head(out)
    try:
        samples = read_index(out, head)
    except CorruptShardError:
        raise InputError(f"{out}: expected a whole index, got another; run wmkit repair {out}") from None
    notes = {}
    for shard in head_shards(out, head):
        if shard_damage(out, shard) is None:
            own = [(sample.key, sample.parts) for sample in samples if sample.shard == shard.name]
            notes[shard.name] = note_of(shard, own)
    return notes


def _noted(out: Path, names: Sequence[str]) -> set[str]:
    """Shards of an unfinished folder that have a note and every byte of it."""
    found = set()
    for name in names:
        note = read_note(out, name)
        if note is not None and shard_damage(out, note[0]) is None:
            found.add(name)
    return found


def _began(out: Path, addition: Addition) -> bool:
    path = out / BUILDING_NAME
    return path.is_file() and path.read_bytes() == json_bytes(addition.to_json())


def _make(
    folder: ShardsFolder,
    out: Path,
    addition: Addition,
    finished: Mapping[str, bytes],
    options: PrecomputeOptions,
    progress: Callable[[int, int], None] | None,
) -> tuple[set[str], dict[str, str]]:
    """Make what is not there whole, and the folder's index and head; what was kept, and shard -> why not of the rest.

    `finished` are notes of shards that a sealed folder has whole.
    """
    held = {shard.name: shard.samples for shard in folder.shards}
    failed: dict[str, str] = {}
    done, goes_on = 0, _began(out, addition)

    def record(outcome: Outcome) -> None:
        nonlocal done
        if outcome.final and outcome.failure is not None:
            failed[outcome.key] = outcome.failure.message
        if outcome.final and progress is not None:
            done += held[outcome.key]
            progress(done, len(folder.samples))

    with begin(out, addition):
        if not goes_on:
            shutil.rmtree(out / MADE, ignore_errors=True)  # another addition's, or nobody's
        (out / MADE).mkdir(exist_ok=True)
        for name, note in finished.items():
            write_atomic(out / MADE / f"{name}.json", note)
        unseal(out)
        kept = _noted(out, addition.names)
        done = sum(held[name] for name in kept)
        task = EncodeTask(
            source=str(folder.path),
            out=str(out),
            made=addition.made,
            vae=options.vae,
            text=options.text,
            device=options.device,
        )
        items = [Item(key=name, payload=name) for name in addition.names if name not in kept]
        run_items(items, ItemTask(function=encode_shard, config=task), options.executor, record)
        if not failed:
            _copy_dropped(folder, out)
            seal(out, addition, _built(folder, out), _kept_head(folder))
            shutil.rmtree(out / MADE)
    return kept, failed


def _built(folder: ShardsFolder, out: Path) -> Built:
    """Shards and index rows of `out`, by the notes of its shards; what is not in them is as in the source."""
    notes = [read_note(out, shard.name) for shard in folder.shards]
    whole = [note for note in notes if note is not None]
    if len(whole) != len(notes):
        raise AssertionError("a shard was made without a note")
    parts = {key: own for _, held in whole for key, own in held.items()}
    samples = tuple(replace(sample, parts=parts[sample.key]) for sample in folder.samples)
    return tuple(shard for shard, _ in whole), samples


def _kept_head(folder: ShardsFolder) -> dict[str, Any]:
    """What the head says of the corpus stays true; conventions of the new parts come in."""
    kept = {name: value for name, value in folder.head.items() if name not in ("bytes", "index", "shards")}
    return {**kept, "conventions": {**folder.head.get("conventions", {}), **CONVENTIONS}}


def _copy_dropped(folder: ShardsFolder, out: Path) -> None:
    if isinstance(folder.path, Path) and (folder.path / DROPPED_NAME).is_file():
        write_atomic(out / DROPPED_NAME, (folder.path / DROPPED_NAME).read_bytes())


def _summary(
    folder: ShardsFolder, out: Path, addition: Addition, kept: set[str], failed: dict[str, str]
) -> PrecomputeSummary:
    made = addition.made
    windows = [windows_of(sample.posed, made.latents) for sample in folder.samples]
    told = [f"{made.latents.spec}, licence {made.latents.licence}"]
    told += [] if made.texts is None else [f"{made.texts.spec}, licence {made.texts.licence}"]
    size = 0 if failed else sum(row["bytes"] for row in json.loads((out / SHARDS_NAME).read_bytes())["shards"])
    return PrecomputeSummary(
        out=str(out),
        samples=len(folder.samples),
        encoded=sum(1 for own in windows if own),
        windows=sum(map(len, windows)),
        frames=sum(window.frames for own in windows for window in own),
        captions=made.texts is not None,
        shards=len(addition.names),
        made=len(addition.names) - len(kept) - len(failed),
        kept=len(kept),
        bytes=size,
        failed=failed,
        components=tuple(told),
    )
