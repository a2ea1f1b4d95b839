"""The report of a real run in a real browser: it renders, its script works, and the console stays empty."""

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from tests.faults.dummy import dummy_config, write_clips
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.report import write_report
from wmkit.annotate.report.wide import review_sizes
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.executor import ExecutorOptions

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr"),
    "--force-device-scale-factor=1",
)


@pytest.fixture(scope="module")
def browser() -> str:
    """Path of a Chromium; $WMKIT_CHROMIUM overrides the search."""
    named = os.environ.get("WMKIT_CHROMIUM")
    found = named or next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed; WMKIT_CHROMIUM may name one")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of a run with every outcome and a file named like a script."""
    folder = tmp_path_factory.mktemp("run")
    inputs = write_clips(folder / "in", ["good_<script>alert(1)<|script>", "static_1", "bad_1", "twin=static_1"])
    (inputs / "text.mp4").write_text("not a video\n")
    options = RunOptions(executor=ExecutorOptions(kind="local", workers=2, timeout_s=60.0))
    run_annotate([inputs], folder / "corpus", dummy_config(), options, SilentProgress())
    return write_report(folder / "corpus")


def browse(browser: str, url: str, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """(stdout, console messages) of one headless page load."""
    command = [browser, *FLAGS, f"--user-data-dir={profile}", *flags, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout, re.findall(r"CONSOLE[^\n]*", done.stderr)


def shown_outcomes(dom: str) -> list[str]:
    """data-status of every card that is not hidden."""
    cards = re.findall(r"<article ([^>]*)>", dom)
    return [re.findall(r'data-status="(\w+)"', card)[0] for card in cards if " hidden" not in card]


def test_the_run_is_on_the_page(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert sorted(shown_outcomes(text)) == ["failed", "failed", "no_trajectory", "ok"]
    assert "pose/diverged" in text
    assert "decode/" in text
    assert text.count('class="command"') == 4  # in the list of dead letters, and on the cards


def test_the_page_renders_without_console_messages(browser: str, report: Path, tmp_path: Path) -> None:
    for width in (1280, 390):
        picture = tmp_path / f"{width}.png"
        _, console = browse(
            browser, report.as_uri(), tmp_path, f"--screenshot={picture}", f"--window-size={width},1600"
        )
        assert console == []
        pixels = cv2.imread(str(picture))
        assert pixels is not None
        assert pixels.shape[:2] == (1600, width)
        # A blank page has one colour; tiles, bars and text of ours have dozens.
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 30


def test_the_filter_works(browser: str, report: Path, tmp_path: Path) -> None:
    dom, console = browse(browser, report.as_uri() + "#failed", tmp_path, "--dump-dom")
    assert console == []
    assert shown_outcomes(dom) == ["failed", "failed"]
    assert "2 of 4 shown" in dom


def test_a_foreign_script_does_not_run_and_is_noticed(browser: str, report: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = report.read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", "</main><script>document.title = 'taken'</script>"), encoding="utf-8")
    dom, console = browse(browser, page.as_uri(), tmp_path / "profile", "--dump-dom")
    assert "<title>taken</title>" not in dom
    assert any("Content Security Policy" in line for line in console)


def called_in(browser: str, folder: Path, calls: list[str]) -> list:
    """What expressions over the functions of review.js come to in the browser."""
    code = files("wmkit.annotate.report").joinpath("review.js").read_text(encoding="utf-8")
    page = folder / "calls.html"
    page.write_text(f"<pre></pre><script>{code}\ndocument.querySelector('pre').textContent = "
                    f"JSON.stringify([{','.join(calls)}]);</script>", encoding="utf-8")  # fmt: skip
    dom, console = browse(browser, page.as_uri(), folder / "profile", "--dump-dom")
    assert console == []
    return json.loads(re.findall(r"<pre>(.*?)</pre>", dom)[0])


def test_the_calculator_is_the_table_for_any_number(browser: str, tmp_path: Path) -> None:
    totals, bounds = (90, 1_000, 213_000), (0.1, 0.02, 0.005)
    asked = [(total, bound, found) for total in totals for bound in bounds for found in range(3)]
    calls = [f"sampleFor({found}, {total}, {bound}, 0.05)" for total, bound, found in asked]
    wanted = [review_sizes(total, [bound])[0].clips[found] for total, bound, found in asked]
    assert called_in(browser, tmp_path, calls) == wanted
    assert None in wanted


def test_the_calculator_allows_for_wrong_ones_that_are_expected(browser: str, tmp_path: Path) -> None:
    asked = [(213_000, 0.02, 0.05, 0.01), (5_000, 0.05, 0.01, 0.02), (300, 0.1, 0.05, 0.0), (20, 0.02, 0.05, 0.01)]
    found = called_in(browser, tmp_path, [f"reviewSize({', '.join(map(str, case))})" for case in asked])
    for (total, bound, doubt, expected), size in zip(asked[:3], found[:3], strict=True):
        wrong = int(bound * total) + 1
        proves = [
            n
            for n in range(1, 3_000 if total > 3_000 else total + 1)
            if hypergeom.cdf(np.ceil(expected * n - 1e-9), total, wrong, n) <= doubt
        ]
        assert size["drawn"] == proves[0]
        assert size["allowed"] == np.ceil(expected * proves[0] - 1e-9)
    assert found[0]["drawn"] == pytest.approx(  # nearly endless: Clopper and Pearson's bound, of the binomial
        next(n for n in range(1, 3_000) if binom.cdf(np.ceil(0.01 * n - 1e-9), n, 0.02) <= 0.05), rel=0.01
    )
    assert found[3] is None, "one wrong of 20 is too many already, and one is expected"
    assert called_in(browser, tmp_path, ["zeroFailureSize(0.01, 0.05)"]) == [299]


def test_the_calculator_answers_on_the_page(browser: str, report: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(re.sub(r'(name="clips"[^>]*value=)"\d+"', r'\1"213000"', report.read_text(encoding="utf-8")))
    dom, _ = browse(browser, page.as_uri(), tmp_path / "profile", "--dump-dom")
    answer = re.findall(r'<output id="review-answer">(.*?)</output>', dom)
    assert answer == ["Review 298 clips; it holds if none of them is found wrong. "
                      "Of endlessly many clips, with none wrong: ln 0.050 / ln(1 − 0.010) = 299."]  # fmt: skip
