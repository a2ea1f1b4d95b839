"""`build_shards`: a corpus and its thresholds become WebDataset tars with an index; what is dropped is counted.

The folder is good when shards.json is there, which comes last; a killed build leaves whole shards and building.json
and is done again by the same command. Clips are prepared on threads and written in the order of their ids, so the
bytes do not depend on how many threads there are.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wmkit.camera import ScaleKind
from wmkit.corpus import Corpus
from wmkit.dataset.depth import has_depth
from wmkit.dataset.output import Built, Recipe, begin, check_output, earlier_result, finish, unseal
from wmkit.dataset.plan import Dropped, Plan, PlanSummary, count_reasons, idle_words, plan_clips
from wmkit.dataset.sample import Prepared, SampleOptions, check_copy, prepare_samples
from wmkit.dataset.schema import VAL, Part, Sample, Shard, checksum
from wmkit.dataset.scores import read_scores
from wmkit.dataset.splits import SplitBy, splits_of
from wmkit.dataset.tar import ShardFile, padded
from wmkit.errors import InputError
from wmkit.thresholds import read_thresholds

__all__ = ["BuildOptions", "BuildSummary", "add_parts", "build_shards", "try_thresholds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What becomes a sample, and how.

    thresholds   TOML file or the name of a preset; None is the default one.
    scores       JSON file of values that other tools measured, for thresholds on them.
    scale        "metric" drops clips whose trajectory is up to scale.
    video        "copy" puts the source file itself in the shard; refused unless every transform is the identity.
    size         (height, width) px that every frame is made to cover and cropped to, its cameras too; even.
    depth        put the depth maps of clips that have any into their samples.
    split        first part of the shards' names.
    val_share    of the sources, whose clips go into shards named val; see `splits_of`.
    split_by     what stays together in a split: parts and copies of a file, or whole folders.
    shard_bytes  a shard ends before the sample that would make it larger; a larger sample has a shard of its own.
    workers      samples in work at once, one core each; None is one a core. Changes no byte.
    """

    thresholds: Path | str | None = None
    scores: Path | None = None
    scale: Literal["any", "metric"] = "any"
    video: Literal["encode", "copy"] = "encode"
    size: tuple[int, int] | None = None
    depth: bool = False
    split: str = "train"
    val_share: float = 0.0
    split_by: SplitBy = "source"
    shard_bytes: int = 1 << 30
    workers: int | None = None

    def __post_init__(self) -> None:
        if not self.split or set(self.split) & set("./\\") or self.split.startswith("_"):
            raise InputError(f"split: expected a word without dots, slashes or a leading _, got {self.split!r}")
        if self.shard_bytes < 1:
            raise InputError(f"--max-shard-size: expected at least 1 byte, got {self.shard_bytes}")
        if not 0 <= self.val_share < 1 or (self.val_share and self.split == VAL):
            raise InputError(f"--val: expected a share of the sources in [0, 1), got {self.val_share}")
        if self.size is not None and (min(self.size) < 2 or self.size[0] % 2 or self.size[1] % 2):
            raise InputError(f"--size: expected even HEIGHTxWIDTH of at least 2x2 px, got {self.size}")
        if self.size is not None and self.video == "copy":
            raise InputError("--size and --video copy: expected one of the two, got both")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers: expected at least 1, got {self.workers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """What became of every clip: clips = samples + the sum of `dropped`.

    dropped    reason -> clips.
    bytes      of all shards.
    metric     samples whose unit is the metre.
    depth      samples that have depth maps.
    idle       thresholds on what no clip has: filters that never ran, scores that nobody brought.
    unchanged  the same shards were there already, whole, and nothing was written.
    """

    out: str
    clips: int
    samples: int
    metric: int
    depth: int
    frames: int
    posed_frames: int
    shards: int
    bytes: int
    dropped: dict[str, int]
    idle: tuple[str, ...]
    unchanged: bool

    @property
    def exit_code(self) -> int:
        """1 when nothing passed, else 0."""
        return 0 if self.samples else 1

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """What became of every clip, in a few lines for people."""
        if not self.clips:
            return [f"no clips in the corpus, no shards written to {self.out}; run wmkit annotate"]
        lines = [f"{self.samples} of {self.clips} clips became samples" + (", as before" if self.unchanged else "")]
        if self.dropped:
            lines.append("dropped: " + ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()))
        if not self.samples:
            return ["; ".join((*lines, f"no shards written to {self.out}")), *idle_words(self.idle)]
        lines += [
            f"{self.posed_frames} of {self.frames} frames posed; {self.metric} samples metric, "
            f"{self.samples - self.metric} up to scale (unit: the clip's median depth)",
            *([f"{self.depth} samples have depth maps"] if self.depth else []),
            f"shards: {self.out} ({self.shards} {'tar' if self.shards == 1 else 'tars'}, {self.bytes / 1e6:.1f} MB)",
        ]
        return [*lines, *idle_words(self.idle)]


def try_thresholds(corpus: Path, options: BuildOptions = BuildOptions()) -> PlanSummary:
    """What a build would let pass, from the ledger alone, without reading a clip or writing a byte.

    Sources that have changed since, and folders that are damaged, only show when shards are built.
    Raises InputError when there is no corpus, or thresholds or scores are wrong.
    """
    thresholds, scores = read_thresholds(options.thresholds), read_scores(options.scores)
    return PlanSummary.of(plan_clips(Corpus.open(corpus), thresholds, options.scale, scores))


def build_shards(
    corpus: Path, out: Path, options: BuildOptions = BuildOptions(), progress: Callable[[int, int], None] | None = None
) -> BuildSummary:
    """Write the shards of a corpus; when nothing passes, nothing is written.

    progress  called with (clips done, clips that passed the thresholds), from this thread.

    Raises InputError when there is no corpus, a thresholds file is wrong, `out` holds anything but shards of this
    corpus with these options, `--video copy` is not possible, or the disk refuses.
    """
    store = Corpus.open(corpus)
    thresholds, scores = read_thresholds(options.thresholds), read_scores(options.scores)
    recipe = Recipe(
        corpus_hash=store.corpus_hash(),
        thresholds=thresholds.to_json(),
        options={
            "scale": options.scale,
            "scores": scores.sha256,
            "video": options.video,
            "shard_bytes": options.shard_bytes,
            **({} if options.size is None else {"size": list(options.size)}),
            **({"depth": True} if options.depth else {}),
            **({"val_share": options.val_share, "split_by": options.split_by} if options.val_share else {}),
        },
        split=options.split,
    )
    plan = plan_clips(store, thresholds, options.scale, scores)
    check_output(out, recipe)
    earlier = earlier_result(out, plan)
    if earlier is not None:
        return _summary(out, plan, plan.dropped, earlier, unchanged=True)
    if options.video == "copy":
        for candidate in plan.passed:
            check_copy(store, candidate)
    if not plan.passed:
        return _summary(out, plan, plan.dropped, ((), ()), unchanged=False)
    try:
        return _build(store, plan, out, recipe, options, progress)
    except OSError as error:
        raise InputError(f"{out}: expected a folder that can be written, got {error.strerror or error}") from error


def add_parts(file: ShardFile, key: str, named: Mapping[str, bytes]) -> tuple[Part, ...]:
    """Append the parts of one sample, in their order; where each of them lies now."""
    parts = []
    for name in sorted(named):
        data = named[name]
        offset = file.add(f"{key}.{name}", data)
        parts.append(Part(name=name, offset=offset, size=len(data), xxh3=checksum(data)))
    return tuple(parts)


def _build(
    store: Corpus,
    plan: Plan,
    out: Path,
    recipe: Recipe,
    options: BuildOptions,
    progress: Callable[[int, int], None] | None,
) -> BuildSummary:
    splits = splits_of(plan.passed, options.split, options.val_share, options.split_by)
    with begin(out, recipe) as scratch, contextlib.ExitStack() as stack:
        names = (options.split, VAL) if options.val_share else (options.split,)
        writers = {name: stack.enter_context(contextlib.closing(_Writer(out, options, name))) for name in names}
        dropped: list[Dropped] = []
        sampling = SampleOptions(video=options.video, size=options.size, depth=options.depth)
        made = prepare_samples(store, plan.passed, sampling, scratch, options.workers)
        for done, result in enumerate(made, start=1):
            if isinstance(result, Dropped):
                dropped.append(result)
            else:
                writers[splits[result.key]].add(result)
            if progress is not None:
                progress(done, len(plan.passed))
        for writer in writers.values():
            writer.end_shard()
        dropped = sorted((*plan.dropped, *dropped), key=lambda drop: drop.clip_id)
        shards = tuple(shard for writer in writers.values() for shard in writer.shards)
        built: Built = (shards, tuple(sample for writer in writers.values() for sample in writer.samples))
        if built[1]:
            finish(out, recipe, built, dropped)
    return _summary(out, plan, dropped, built, unchanged=False)


class _Writer:
    """Samples of one split into shards of bounded size, with the index rows that go with them."""

    def __init__(self, out: Path, options: BuildOptions, split: str) -> None:
        self.shards: list[Shard] = []
        self.samples: list[Sample] = []
        self._out, self._options, self._split = out, options, split
        self._file: ShardFile | None = None
        self._held = 0

    def add(self, sample: Prepared) -> None:
        """Append one sample, in a new shard if it would make the open one too large."""
        size = sum(padded(len(data)) for data in sample.parts.values())
        if self._file is not None and self._file.offset + size > self._options.shard_bytes:
            self.end_shard()
        if self._file is None:
            self._name = f"{self._split}-{len(self.shards):06d}.tar"
            self._file = ShardFile(self._out / self._name)
        parts = add_parts(self._file, sample.key, sample.parts)
        self._held += 1
        self.samples.append(
            Sample(
                shard=self._name,
                key=sample.key,
                frames=len(sample.trajectory),
                width=sample.width,
                height=sample.height,
                scale=ScaleKind(sample.trajectory.scale),
                posed=sample.trajectory.posed,
                parts=parts,
            )
        )

    def end_shard(self) -> None:
        """Finish the open shard, if there is one."""
        if self._file is not None:
            if not self.shards:
                unseal(self._out)
            self.shards.append(self._file.close(self._held))
            self._file, self._held = None, 0

    def close(self) -> None:
        """Forget a shard that was not finished."""
        if self._file is not None:
            self._file.discard()


def _summary(
    out: Path,
    plan: Plan,
    dropped: Sequence[Dropped],
    built: Built,
    *,
    unchanged: bool,
) -> BuildSummary:
    shards, samples = built
    return BuildSummary(
        out=str(out),
        clips=plan.clips,
        samples=len(samples),
        metric=sum(1 for sample in samples if sample.scale is ScaleKind.METRIC),
        depth=sum(map(has_depth, samples)),
        frames=sum(sample.frames for sample in samples),
        posed_frames=sum(int(sample.posed.sum()) for sample in samples),
        shards=len(shards),
        bytes=sum(shard.size for shard in shards),
        dropped=count_reasons(dropped),
        idle=plan.idle,
        unchanged=unchanged,
    )
