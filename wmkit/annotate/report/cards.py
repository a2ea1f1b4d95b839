"""Everything one clip's card shows, read from its folder, its source and its dead letter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wmkit.annotate.report.pictures import DepthPreview, Sheet, contact_sheet, depth_preview
from wmkit.annotate.report.svg import colour_bar, number
from wmkit.annotate.report.topdown import TopDown, top_down, unit_of
from wmkit.camera import ScaleEstimate
from wmkit.clip import Annotation, MeasureState, Verdict
from wmkit.corpus import Corpus, DeadLetter, LedgerRow
from wmkit.errors import InputError
from wmkit.video import VideoConfig
from wmkit.video.frames import DecodeLimits

__all__ = ["Card", "DepthBlock", "StageShare", "card_of", "scale_words", "stage_shares", "video_config"]

STAGE_ORDER = ("decode", "filters", "pose", "scale", "depth")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShare:
    """Core-seconds of one stage and its share, 0 to 1, of all stages; `colour` is the same on every bar."""

    stage: str
    core_s: float
    share: float
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthBlock:
    """The depth preview with its legend; `preview` None when no pixel is valid."""

    preview: DepthPreview | None
    bar_svg: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One clip on the page; what does not apply is None or empty, and `problem` says what could not be read.

    paths    every source with this content.
    facts    (word, value) pairs about the clip and how it was made.
    """

    row: LedgerRow
    paths: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()
    sheet: Sheet = Sheet()
    plot: TopDown | None = None
    depth: DepthBlock | None = None
    scale: tuple[str, ...] = ()
    stages: tuple[StageShare, ...] = ()
    letter: DeadLetter | None = None
    problem: str = ""

    @property
    def posed_share(self) -> float:
        """Posed frames over frames; 0 when failed."""
        return (self.row.posed_frames or 0) / self.row.frames if self.row.frames else 0.0

    @property
    def core_s(self) -> float:
        """Core-seconds of the last attempt."""
        return sum(self.row.timings.values())

    @property
    def verdicts(self) -> tuple[tuple[str, str, str], ...]:
        """(name, value with unit or "unmeasured", reason) of every verdict."""
        return tuple(_verdict_words(verdict) for verdict in self.row.verdicts)


def card_of(
    corpus: Corpus, row: LedgerRow, paths: Sequence[str], letter: DeadLetter | None, video: VideoConfig | str
) -> Card:
    """The card of one clip. `video` is how its source is decoded again, or why that cannot be.

    A failed clip's source is not opened: whatever ended a worker may end the report too.
    """
    paths = tuple(paths)
    if not row.done:
        return Card(row=row, paths=paths, letter=letter, stages=stage_shares(row.timings))
    try:
        annotation = corpus.read(row.clip_id)
    except InputError as error:
        return Card(row=row, paths=paths, stages=stage_shares(row.timings), problem=str(error))
    trajectory, depth = annotation.trajectory, annotation.depth
    preview = None if depth is None else depth_preview(depth)
    block = None
    if trajectory is not None and depth is not None:
        unit = unit_of(depth.scale)
        bar = "" if preview is None else colour_bar(preview.low, preview.high, unit)
        block = DepthBlock(preview=preview, bar_svg=bar, unit=unit)
    if isinstance(video, str):
        sheet = Sheet(problem=video)
    else:
        sheet = contact_sheet(annotation, paths, video, None if preview is None else preview.frame)
    return Card(
        row=row,
        paths=paths,
        facts=_facts(annotation),
        sheet=sheet,
        plot=None if trajectory is None else top_down(trajectory, annotation.intrinsics, annotation.points),
        depth=block,
        scale=scale_words(annotation),
        stages=stage_shares(row.timings),
    )


def video_config(config: Mapping[str, Any]) -> VideoConfig | str:
    """The VideoConfig that corpus.json records, or one line on why it cannot be used."""
    try:
        recorded = {name: value for name, value in config["video"].items() if name != "class"}
        limits = {name: value for name, value in recorded.pop("limits").items() if name != "class"}
        return VideoConfig(**recorded, limits=DecodeLimits(**limits))
    except (KeyError, TypeError, AttributeError, InputError):
        return "corpus.json records no video settings that this version can use"


def scale_words(annotation: Annotation) -> tuple[str, ...]:
    """How many metres a trajectory unit has, or why nobody knows; first line the outcome. () without trajectory."""
    if annotation.trajectory is None:
        return ()
    if annotation.scale is not None:
        return _metric_words(annotation.scale)
    why = [f"{absence.name}: {absence.reason}" for absence in annotation.absences if absence.part == "scale"]
    if why:
        return ("up to scale", f"no cue could vote: {'; '.join(why)}", "unit: median depth of the sparse points")
    return ("up to scale", "no scale cue was given", "unit: median depth of the sparse points")


def _metric_words(scale: ScaleEstimate) -> tuple[str, ...]:
    lines = ["metric", f"{number(scale.value)} m per median depth, 95 % {number(scale.low)} to {number(scale.high)}"]
    for vote in scale.votes:
        spread = "exact" if vote.sigma_log == 0 else f"± {number(100 * vote.sigma_log)} %"
        lines.append(f"{vote.cue}: {number(vote.value)} m, {spread}")
    if scale.disagreement is not None:
        lines.append(f"largest disagreement between cues: {number(scale.disagreement)} sigma")
    return tuple(lines)


def stage_shares(timings: Mapping[str, float]) -> tuple[StageShare, ...]:
    """Stages in the order they run, filters together, unknown ones last; () when nothing was timed."""
    merged: dict[str, float] = {}
    for stage, seconds in timings.items():
        name = "filters" if stage.startswith("filter") else stage
        merged[name] = merged.get(name, 0.0) + seconds
    total = sum(merged.values())
    if total <= 0:
        return ()
    order = [*STAGE_ORDER, *sorted(merged.keys() - set(STAGE_ORDER))]
    return tuple(
        StageShare(stage=stage, core_s=merged[stage], share=merged[stage] / total, colour=min(place, len(STAGE_ORDER)))
        for place, stage in enumerate(order)
        if stage in merged
    )


def _verdict_words(verdict: Verdict) -> tuple[str, str, str]:
    if verdict.state is MeasureState.MEASURED and verdict.value is not None:
        return verdict.name, f"{number(verdict.value)} {verdict.unit}".strip(), ""
    return verdict.name, "unmeasured", verdict.reason


def _facts(annotation: Annotation) -> tuple[tuple[str, str], ...]:
    clip, view, made = annotation.clip, annotation.view, annotation.provenance
    turned = f", turned {view.rotation_deg}°" if view.rotation_deg else ""
    stretched = "" if view.sample_aspect_ratio == 1 else f", pixel aspect {number(view.sample_aspect_ratio)}"
    facts = [
        ("source picture", f"{view.decoded_width}×{view.decoded_height} px{turned}{stretched}"),
        ("frames", f"{len(view)} of {view.width}×{view.height} px, native {number(clip.fps)} fps, {view.decoder}"),
        ("span", f"{number(clip.span_s[0])} to {number(clip.span_s[1])} s of the source"),
    ]
    if annotation.intrinsics:
        middle = annotation.intrinsics[len(annotation.intrinsics) // 2]
        facts.append(("camera", f"fx {number(middle.fx)}, fy {number(middle.fy)} px"))
    if view.lens is not None:
        parameters = " ".join(number(value) for value in view.lens.params)
        facts.append(("lens, undistorted", f"{view.lens.model} {parameters}"))
    if annotation.points is not None:
        facts.append(("sparse points", f"{len(annotation.points):,}"))
    for part in dict.fromkeys(record.part for record in made.backends):
        records = [record for record in made.backends if record.part == part]
        facts.append((part, ", ".join(f"{record.name} {record.version} ({record.licence})" for record in records)))
    facts.append(("wmkit", f"{made.tool_version}, seed {made.seed}"))
    facts.append(("config hash", made.config_hash))
    facts.append(("content hash", made.input_hash))
    return tuple(facts)
