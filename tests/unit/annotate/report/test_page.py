import base64
import hashlib
import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.annotate.report.samples import (
    add,
    failed_row,
    letter_of,
    new_corpus,
    opened,
    posed,
    sources_of,
    still,
    write_pictures,
)
from wmkit.annotate.confidence.held_out import read_held_out
from wmkit.annotate.confidence.judge import shipped_calibration
from wmkit.annotate.report import write_report
from wmkit.annotate.report.cards import scale_words, stage_shares, video_config
from wmkit.clip import Absence, Verdict
from wmkit.corpus import Corpus, LedgerRow, Status
from wmkit.errors import ConfigError, InputError

VOID = {"meta", "link", "img", "input", "br", "hr"}
EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Tags with their attributes, visible text, and every tag closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def found(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        names = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [have for kind, have in self.tags if kind == tag and names.items() <= have.items()]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """One metric clip, one up to scale, one without a trajectory, one failure, one duplicate; evil names."""
    made = new_corpus(tmp_path / "corpus")
    folders = [f"good {EVIL.replace('/', '|')}", "plain", "still", "copy"]
    files = [write_pictures(tmp_path / "in" / name, 9, first=20 * (index % 3)) for index, name in enumerate(folders)]
    add(made, files[0], posed(opened(files[0]), metric=True))
    add(made, files[1], posed(opened(files[1])))
    add(made, files[2], still(opened(files[2])))
    failed = failed_row(7, code="timeout", source=f"<img src=x onerror=alert(1)>{EVIL}.mp4")
    made.append_ledger([failed])
    made.write_dead_letter(letter_of(failed, command=f"wmkit annotate '{EVIL}' --out corpus"))
    sources = sources_of(files)
    broken = sources_of([files[0]])[0]
    object.__setattr__(broken, "path", "/in/broken.mp4")
    object.__setattr__(broken, "clip_id", failed.clip_id)
    made.write_sources([*sources, broken])
    return made


def page_of(corpus: Corpus, max_cards: int = 200) -> tuple[Page, str]:
    path = write_report(corpus.path, max_cards)
    assert path == corpus.path / "report.html"
    text = path.read_text(encoding="utf-8")
    return Page(text), text


def on_cards(page: Page) -> list[dict[str, str]]:
    """Pictures of cards; those of the gallery repeat one of them and have no words of their own."""
    return [picture for picture in page.found("img") if picture["alt"]]


def test_every_clip_has_its_card_and_figures(corpus: Corpus) -> None:
    page, text = page_of(corpus)
    assert [have["data-status"] for have in page.found("article")] == ["failed", "no_trajectory", "ok", "ok"]
    assert "4 clips attempted 2 with a trajectory 1 without a trajectory 1 failed" in page.text
    assert "16 of 27 frames posed" in page.text
    assert "50.0 % 1 of 2 trajectories metric" in page.text
    assert len(on_cards(page)) == 3 * 8 + 2 * 2, "8 thumbnails a clip; a frame and its depth where there is depth"
    assert "Sources found 5 Duplicates same content as another source −1 Distinct clips 4" in page.text
    assert "Failed pose/timeout −1 No trajectory static −1 With a trajectory 2" in page.text
    assert "2 m per median depth, 95 % 1.8 to 2.2" in page.text
    assert "camera_height: 2 m, ± 5 %" in page.text
    assert "x, right (m)" in text
    assert "x, right (median depths)" in text
    assert "up to scale no scale cue was given" in page.text
    assert "50.0 % invalid" in page.text
    assert "unmeasured: no_points" in page.text
    assert "the camera does not move" in page.text
    assert "pose 1.5 s" in page.text
    assert corpus.config_hash in page.text
    assert "OpenCV: x right, y down, z forward" in page.text


def test_verdicts_show_what_could_not_be_measured(corpus: Corpus) -> None:
    page, _ = page_of(corpus)
    assert "2 measured, median 0.889, 5–95 % 0.889 to 0.889 1 unmeasured : no_trajectory: static (1)" in page.text
    assert "reprojection_px px nothing measured 0 measured 2 unmeasured : no_points (2)" in page.text.replace(
        "Histogram of reprojection_px: 0 values, 2 unmeasured ", ""
    )


def test_a_failed_clip_says_where_why_and_how_to_rerun(corpus: Corpus) -> None:
    page, _ = page_of(corpus)
    assert "pose/timeout expected an end, got timeout" in page.text
    assert f"wmkit annotate '{EVIL}' --out corpus" in page.text
    assert "Traceback (most recent call last): <module>" in page.text
    corpus.remove_dead_letter(f"{7:032x}")
    page, _ = page_of(corpus)
    assert "No dead letter" in page.text


def test_names_and_messages_are_escaped(corpus: Corpus) -> None:
    page, text = page_of(corpus)
    assert EVIL not in text
    assert len(page.found("script")) == 1
    assert not page.found("img", src="x")
    assert html.escape("<img src=x onerror=alert(1)>") in text.replace("&#34;", "&quot;")
    assert "</script><script>alert(1)</script>" not in text, "the config is text too"
    assert not [have for _, have in page.tags if any(name.startswith("on") for name in have)]


def test_the_page_is_self_contained(corpus: Corpus) -> None:
    page, text = page_of(corpus)
    for tag, have in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert have.get(name, "data:").startswith(("data:", "#clip-")), (tag, have)
    assert not re.search(r"https?://", text)
    assert not re.search(r"@import|url\(", text)


def test_links_lead_to_cards(corpus: Corpus) -> None:
    page, _ = page_of(corpus)
    cards = {have["id"] for have in page.found("article")}
    links = [have["href"] for have in page.found("a")]
    assert len(links) == 2, "both clips with a trajectory are on the map"
    assert {link.removeprefix("#") for link in links} < cards


def test_only_our_own_script_may_run(corpus: Corpus) -> None:
    page, text = page_of(corpus)
    (policy,) = page.found("meta", http_equiv="Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["content"].startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_the_same_corpus_gives_the_same_bytes(corpus: Corpus) -> None:
    first = write_report(corpus.path).read_bytes()
    assert write_report(corpus.path).read_bytes() == first


def test_a_missing_source_costs_only_the_pictures(corpus: Corpus, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "in")
    page, _ = page_of(corpus)
    assert len(page.found("article")) == 4
    assert page.text.count("No pictures: the source is gone from the path below") == 3
    assert len(page.found("img")) == 2, "depth comes from the corpus"


def test_a_damaged_clip_folder_costs_only_its_card(corpus: Corpus) -> None:
    ids = [key for key, row in corpus.latest().items() if row.source == "plain"]
    (corpus.folder(ids[0]) / "trajectory.npz").unlink()
    page, _ = page_of(corpus)
    assert page.text.count("expected a complete clip folder") == 1
    assert len(page.found("article")) == 4
    assert len(on_cards(page)) == 2 * 8 + 2


def test_too_many_clips_are_said_to_be_left_out(tmp_path: Path) -> None:
    corpus = new_corpus(tmp_path / "corpus")
    corpus.append_ledger([failed_row(number) for number in range(1, 30)])
    page, _ = page_of(corpus, max_cards=12)
    assert len(page.found("article")) == 12
    assert "Cards of 12 of 29 clips: 12 of 29 failed" in page.text
    assert "29 failed" in page.text, "the figures count all"


def test_an_empty_corpus_is_a_page(tmp_path: Path) -> None:
    page, _ = page_of(new_corpus(tmp_path / "corpus"))
    assert "No clip was attempted yet" in page.text
    assert "No clip has a verdict yet" in page.text
    assert "Sources found 0" in page.text


def test_a_config_of_another_shape_costs_only_the_pictures(corpus: Corpus) -> None:
    head = json.loads((corpus.path / "corpus.json").read_text())
    head["config"] = {"video": {"decoder": "pyav", "unheard_of": 1}}
    (corpus.path / "corpus.json").write_text(json.dumps(head))
    page, _ = page_of(corpus)
    assert page.text.count("No pictures: corpus.json records no video settings") == 3


def test_not_a_corpus_other_schema_and_unwritable(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a corpus"):
        write_report(tmp_path / "nowhere")
    (corpus.path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html: expected a file that can be written"):
        write_report(corpus.path)
    head = json.loads((corpus.path / "corpus.json").read_text()) | {"schema_version": 99}
    (corpus.path / "corpus.json").write_text(json.dumps(head))
    with pytest.raises(ConfigError, match="schema version"):
        write_report(corpus.path)


def test_p_good_is_on_the_page_with_its_reliability(tmp_path: Path) -> None:
    corpus = new_corpus(tmp_path / "corpus")
    verdicts = [(Verdict.measured("p_good", value, ""),) for value in (0.25, 0.5)]
    corpus.append_ledger(
        [
            LedgerRow(clip_id=f"{number:032x}", source="a", status=Status.OK, verdicts=verdict)
            for number, verdict in enumerate(verdicts)
        ]
    )
    page, _ = page_of(corpus)
    assert "p_good of 2 clips adds up to 0.75 : so many" in page.text
    assert "No held-out cases are known" in page.text
    assert "2 more could not be read" not in page.text, "without a path there is no map"
    cases = read_held_out(shipped_calibration())
    assert cases is not None
    head = json.loads((corpus.path / "corpus.json").read_text())
    head["config"]["confidence"] = {"calibration": shipped_calibration()}
    (corpus.path / "corpus.json").write_text(json.dumps(head))
    page, _ = page_of(corpus)
    assert f"{cases.cases:,} cases of known truth" in page.text
    assert "0.5 passes" in page.text
    assert "0.25 rejected" in page.text


def test_scale_words_name_the_cues_that_could_not_vote(tmp_path: Path) -> None:
    annotation = posed(opened(write_pictures(tmp_path / "a", 3)))
    absent = Absence(part="scale", name="camera_height", reason="no ground plane")
    annotation = replace(annotation, absences=(absent,))
    assert scale_words(annotation)[:2] == ("up to scale", "no cue could vote: camera_height: no ground plane")
    assert scale_words(still(opened(write_pictures(tmp_path / "b", 3)))) == ()


def test_stage_shares_add_the_filters_up() -> None:
    shares = stage_shares({"pose": 2.0, "filter.trajectory": 0.5, "filter.blur": 0.5, "decode": 1.0, "other": 0.0})
    assert [(entry.stage, entry.core_s, entry.share) for entry in shares] == [
        ("decode", 1.0, 0.25),
        ("filters", 1.0, 0.25),
        ("pose", 2.0, 0.5),
        ("other", 0.0, 0.0),
    ]
    assert [entry.colour for entry in shares] == [0, 1, 2, 5], "a stage keeps its colour where others are missing"
    assert stage_shares({}) == stage_shares({"pose": 0.0}) == ()


@pytest.mark.parametrize("config", [{}, {"video": None}, {"video": {"fps": -1.0, "limits": {}}}])
def test_video_settings_that_cannot_be_used(config: dict) -> None:
    assert isinstance(video_config(config), str)
