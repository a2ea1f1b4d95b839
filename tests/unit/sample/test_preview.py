"""`wmkit trajectory preview`: a picture, a recording, figures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from wmkit import cli
from wmkit.sample.preview import path_facts
from wmkit.sample.request import asked_path
from wmkit.train.checkpoint import MotionFacts


def test_the_picture_and_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "path.png"
    assert cli.main(["trajectory", "preview", "simple/figure-eight", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "source", "meaning", "poses", "seconds", "unit", "length", "fastest_step", "fastest_turn_deg", "beyond",
    ]  # fmt: skip
    assert (told["poses"], told["seconds"], told["unit"]) == (961, 60, "m")
    assert told["fastest_step"] <= 0.4 / 16 + 1e-9
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.shape == (500, 1200, 3)
    # The path is drawn: its blue (31, 119, 180) is somewhere in the left half, and it is no empty page.
    assert (np.abs(picture[:, :600].astype(int) - [180, 119, 31]).max(axis=2) < 8).sum() > 200
    again = tmp_path / "again.png"
    assert cli.main(["trajectory", "preview", "simple/figure-eight", "--out", str(again)]) == 0
    assert out.read_bytes() == again.read_bytes()


def test_a_recording(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is an extra")
    arguments = ["trajectory", "preview", "w-8", "--out", str(tmp_path / "p.png"), "--rrd", str(tmp_path / "p.rrd")]
    assert cli.main(arguments) == 0
    assert (tmp_path / "p.rrd").stat().st_size > 1000


def test_speeds_against_a_training() -> None:
    path = asked_path("w-4,d-4", (1, 1))
    slow = MotionFacts(step=(0.0, 0.001, 0.002, 0.003), turn_deg=(0.0, 0.1, 0.2, 0.3), samples=3)
    fast = MotionFacts(step=(0.0, 0.1, 0.2, 0.3), turn_deg=(0.0, 1.0, 2.0, 3.0), samples=3)
    assert [line.split()[3] for line in path_facts(path, slow).beyond] == ["moves", "turns"]
    assert path_facts(path, fast).beyond == path_facts(path).beyond == ()


@pytest.mark.parametrize(("arguments", "word"), [(["w-4", "--out", "x.jpg"], ".png"), (["q-4"], "'q-4'")])
def test_bad_input(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trajectory", "preview", *arguments]) == 2
    assert word in capsys.readouterr().err
