"""`plan_annotate`: what a run would do and cost, from the ledger and a few clips; it writes nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from wmkit.annotate.beside import beside_hash
from wmkit.annotate.costs import Costs, costs_of_corpus, shipped_costs
from wmkit.annotate.depth import PlaneSweepConfig
from wmkit.annotate.inputs import find_inputs
from wmkit.annotate.pipeline import AnnotateConfig, config_dict, config_hash
from wmkit.annotate.pose import TrackSfmConfig
from wmkit.annotate.sources import is_current
from wmkit.camera import Array
from wmkit.corpus import Corpus
from wmkit.corpus.columns import LedgerColumns
from wmkit.errors import ClipError
from wmkit.spread import evenly_spread
from wmkit.video import ClipFile, FoundClip, open_source

__all__ = ["DryRun", "plan_annotate"]

OPENED = 32  # clips decoded to learn how long they are; each costs what a run's first pass over it does
FOOTAGE_STAGES = ("decode", "filters")


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What `annotate` would do; nothing was written.

    sources = done + to_do. New sources are not read, so one that holds what another does counts as a clip.

    skipped      things that look like footage and are none: reason -> count.
    opened       clips to do that were decoded for their length; `unreadable` of them could not be.
    frames       output frames to do, footage_h their hours: exact when all were opened, else the mean times `to_do`,
                 and `length_sigma` is the relative standard error of that (None when fewer than two were opened).
    core_h       core-hours by stage. bytes: of the clips' folders; None where they would be unlike those measured.
    costs_from   "corpus": means of its `costs_clips` clips finished under this config; "shipped": of the package's.
    not_known    stages that would run and whose cost nobody has measured.
    """

    corpus: str
    sources: int
    done: int
    to_do: int
    skipped: dict[str, int]
    opened: int
    unreadable: int
    frames: int
    footage_h: float
    length_sigma: float | None
    core_h: dict[str, float]
    bytes: int | None
    costs_from: str
    costs_clips: int
    not_known: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        sigma = "" if self.length_sigma is None else f" ± {100 * self.length_sigma:.0f} %"
        every = "all opened" if self.opened == self.to_do else f"from {self.opened} clips opened{sigma}"
        total = sum(self.core_h.values())
        stages = ", ".join(f"{stage} {hours:.2g}" for stage, hours in self.core_h.items() if hours > 1e-3 * total)
        told = {
            "corpus": f"as the {self.costs_clips:,} clips of this corpus that are finished",
            "shipped": f"as {self.costs_clips} clips measured for this version; other machines and footage differ",
        }
        lines = [
            f"{self.sources:,} sources: {self.done:,} done by an earlier run, {self.to_do:,} to do",
            f"footage to do: {self.footage_h:.3g} h, {self.frames:,} frames ({every}, {self.unreadable} unreadable)",
            f"core-hours: {total:.3g}" + (f" ({stages})" if stages else ""),
            f"costs: {told[self.costs_from]}",
        ]
        if self.bytes is not None:
            lines.append(f"disk: {self.bytes / 1e9:.3g} GB more in {self.corpus}")
        if self.not_known:
            lines.append(f"not in these figures: {', '.join(self.not_known)}; annotate a few clips, then ask again")
        if self.skipped:
            lines.append("skipped: " + ", ".join(f"{count} {reason}" for reason, count in self.skipped.items()))
        return [*lines, "dry run: nothing was written"]


def plan_annotate(
    paths: Sequence[str | Path],
    out: str | Path,
    config: AnnotateConfig,
    *,
    update: bool,
    note: Callable[[str], None] = lambda _: None,
) -> DryRun:
    """What `run_annotate` would do with the same arguments; raises the errors it would raise before its first clip."""
    discovery = find_inputs(paths, note)
    digest = config_hash(config)
    corpus = Corpus.find(Path(out), cast("dict[str, Any]", config_dict(config)), digest, update=update)
    finished = None if corpus is None else corpus.columns().finished(digest, corpus.config_hashes(digest))
    to_do = _to_do(discovery.clips, corpus, finished, beside_hash(config))
    sample = _Sample.of(to_do, config)
    each = len(to_do) / sample.opened if sample.opened else 0.0
    frames, readable = each * float(sample.frames.sum()), each * (sample.opened - sample.unreadable)
    own = None if corpus is None or finished is None else costs_of_corpus(corpus, finished)
    costs, not_known = (own, []) if own is not None else _shipped_for(config)
    core_s = costs.core_s(readable, frames)
    return DryRun(
        corpus=str(Path(out).absolute()),
        sources=len(discovery.clips),
        done=len(discovery.clips) - len(to_do),
        to_do=len(to_do),
        skipped=dict(sorted(Counter(item.reason for item in discovery.skipped).items())),
        opened=sample.opened,
        unreadable=sample.unreadable,
        frames=round(frames),
        footage_h=each * sample.seconds / 3600,
        length_sigma=sample.relative_error(len(to_do)),
        core_h={stage: spent / 3600 for stage, spent in core_s.items()},
        bytes=round(readable * costs.bytes_per_clip) if own is not None or "depth" in core_s else None,
        costs_from="shipped" if own is None else "corpus",
        costs_clips=costs.clips,
        not_known=not_known,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """frames (n,) of each clip opened, 0 where it is unreadable; seconds of all of them together."""

    frames: Array
    seconds: float
    unreadable: int

    @property
    def opened(self) -> int:
        return len(self.frames)

    @classmethod
    def of(cls, clips: Sequence[FoundClip], config: AnnotateConfig) -> "_Sample":
        """At most `OPENED` clips, evenly among them."""
        chosen = evenly_spread(len(clips), OPENED)
        frames, seconds, unreadable = np.zeros(len(chosen)), 0.0, 0
        for place, index in enumerate(chosen.tolist()):
            clip = clips[index]
            # Its bytes are not hashed: nothing below the decoder asks for an id that is true.
            file = ClipFile(path=clip.path, name=clip.name, content_hash="", clip_id="0" * 32, images=clip.images)
            try:
                source = open_source(file, config.video)
            except ClipError:
                unreadable += 1
                continue
            frames[place] = len(source.view)
            seconds += source.clip.span_s[1] - source.clip.span_s[0]
        return cls(frames=frames, seconds=seconds, unreadable=unreadable)

    def relative_error(self, population: int) -> float | None:
        """Standard error of the mean over the mean, of a sample without putting back; 0 when all were opened."""
        if self.opened < 2 or not self.frames.any():
            return None
        left = np.sqrt(1 - self.opened / population)
        return float(self.frames.std(ddof=1) / np.sqrt(self.opened) * left / self.frames.mean())


def _to_do(
    found: Sequence[FoundClip],
    corpus: Corpus | None,
    finished: LedgerColumns | None,
    beside: Callable[[ClipFile], str] | None,
) -> list[FoundClip]:
    """Clips without a result under this config, as far as path, size and time tell."""
    if corpus is None or finished is None:
        return list(found)
    by_path = {row.path: row for row in corpus.sources()}
    done = set(finished.words("clip_id")) & set(corpus.clip_ids())
    known = {path for path, row in by_path.items() if row.clip_id in done}
    return [clip for clip in found if not (clip.path in known and is_current(clip, by_path[clip.path], beside))]


def _shipped_for(config: AnnotateConfig) -> tuple[Costs, list[str]]:
    """The package's figures without the stages that would not run, and the stages they say nothing of."""
    costs = shipped_costs()
    stages = costs.core_s_per_frame.keys() | costs.core_s_per_clip.keys()
    left_out, not_known = set[str](), list[str]()
    if config.stop_after == "footage":
        left_out = stages - set(FOOTAGE_STAGES)
    else:
        if config.depth is None:
            left_out.add("depth")
        elif config.depth != PlaneSweepConfig():  # of other frames, another size or by a network
            left_out.add("depth")
            not_known.append(f"depth by {config.depth.name} as it is set")
        if not isinstance(config.pose, TrackSfmConfig):
            left_out |= {stage for stage in stages if stage.startswith("pose")}
            not_known.append(f"pose by {config.pose.name}")
        if config.caption is not None:
            not_known.append(f"captions by {config.caption.name}")
        not_known += [f"scale by {cue.name}" for cue in config.scale]
    if "depth" in left_out:
        not_known.append("bytes of clips without depth")
    kept = replace(
        costs,
        core_s_per_frame={stage: cost for stage, cost in costs.core_s_per_frame.items() if stage not in left_out},
        core_s_per_clip={stage: cost for stage, cost in costs.core_s_per_clip.items() if stage not in left_out},
    )
    return kept, not_known
