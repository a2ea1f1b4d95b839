"""The report of a real run in a real browser: it renders, its script works, and the console stays empty."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.faults.dummy import dummy_config, write_clips
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.report import write_report
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
