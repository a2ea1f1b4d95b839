"""`write_report`: gather, render, replace report.html by one rename."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from wmkit.annotate.report.borderline import borderline, by_turns
from wmkit.annotate.report.cards import Card, card_of, stage_shares, video_config
from wmkit.annotate.report.data import choose_cards, totals, waterfall
from wmkit.annotate.report.honesty import honesty
from wmkit.annotate.report.paths import path_map
from wmkit.annotate.report.svg import histogram_svg, number
from wmkit.annotate.report.wide import (
    all_histograms,
    correlations,
    failing,
    full_rows,
    letter_groups,
    light_rows,
    review_sizes,
    source_groups,
    threshold_steps,
)
from wmkit.atomic import write_atomic
from wmkit.corpus import Corpus, DeadLetter, LedgerRow, SourceRow
from wmkit.corpus.store import CONVENTIONS
from wmkit.errors import InputError
from wmkit.thresholds import read_thresholds

__all__ = ["MAX_CARDS", "write_report"]

MAX_CARDS = 200  # about 100 kB each: the page stays below 20 MB whatever the corpus


def write_report(corpus: Path, max_cards: int = MAX_CARDS, thresholds: Path | str | None = None) -> Path:
    """Write `corpus`/report.html, one self-contained page, and return its path.

    Waterfall and histograms count the last attempt of every clip; at most `max_cards` clips get a card (see
    `choose_cards`), for which their source is decoded again. `thresholds` (a file, a preset or the default ones) are
    drawn into the histograms and counted. Raises InputError when `corpus` is no corpus or cannot be written, or the
    thresholds are wrong, ConfigError for another schema version.
    """
    opened = Corpus.open(corpus)
    limits = read_thresholds(thresholds)
    columns, sources = opened.columns(), opened.sources()
    latest, first = light_rows(columns), failing(columns, limits)
    letters = opened.dead_letters()
    drawn = {row.filter: row for row in limits.rows}
    near = borderline(columns, limits)
    choice = choose_cards(latest, max_cards, opened.config_hash, by_turns(near))
    cards = tuple(_cards(opened, full_rows(columns, choice.rows), sources, letters))
    counted = totals(latest.values())
    script = _part("review.js") + _part("script.js")
    page = (
        _environment()
        .get_template("template.html")
        .render(
            name=opened.path.name,
            corpus=opened,
            steps=threshold_steps(waterfall(sources, latest), columns, limits, first),
            thresholds=str(thresholds or "the default thresholds"),
            groups=source_groups(columns, first),
            pairs=correlations(columns),
            letters=letter_groups(letters),
            reviews=review_sizes(int((first == -1).sum())),
            totals=counted,
            stages=stage_shares(counted.core_s),
            histograms=[
                (data, histogram_svg(data, drawn.get(data.name)), drawn.get(data.name))
                for data in all_histograms(columns)
            ],
            honesty=honesty(columns, opened.config),
            paths=path_map(opened, columns, first),
            near=near,
            cards=cards,
            by_clip={card.row.clip_id: card for card in cards},
            note=choice.note,
            conventions=CONVENTIONS,
            config=json.dumps(opened.config, indent=1, sort_keys=True),
            style=_part("style.css"),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        )
    )
    path = opened.path / "report.html"
    try:
        write_atomic(path, page.encode("utf-8", errors="replace"))  # a name may hold what UTF-8 cannot
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be written, got {error.strerror}") from None
    return path


def _cards(
    corpus: Corpus, rows: Sequence[LedgerRow], sources: Sequence[SourceRow], dead: Sequence[DeadLetter]
) -> Iterator[Card]:
    """One card at a time: a card holds text and small pictures, and no more than one clip's arrays are in memory."""
    paths: dict[str, list[str]] = {}
    for source in sources:
        paths.setdefault(source.clip_id, []).append(source.path)
    letters = {letter.clip_id: letter for letter in dead}
    video = video_config(corpus.config)
    for row in rows:
        yield card_of(corpus, row, paths.get(row.clip_id, ()), letters.get(row.clip_id), video)


def _part(name: str) -> str:
    return files("wmkit.annotate.report").joinpath(name).read_text(encoding="utf-8")


def _environment() -> Environment:
    """Escapes every value; names a missing one instead of printing nothing."""
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"
    return environment
