"""`wmkit trajectory record` at a real pseudo-terminal: what is typed is what is written."""

import json
import os
import pty
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from wmkit.camera import ScaleKind
from wmkit.camera_actions import action_map, action_path
from wmkit.errors import InputError
from wmkit.sample.record import TOGETHER_S, record_actions, write_recorded
from wmkit.sample.request import asked_path

ROOT = Path(__file__).parents[3]
APART_S = 5 * TOGETHER_S


def typed(portions: list[str], frames: int = 4) -> tuple[str, list[str]]:
    """The action string of keys typed one portion after the other, and what was told meanwhile."""
    keyboard, terminal = pty.openpty()
    before, told = termios.tcgetattr(terminal), []

    def write() -> None:
        for portion in portions:
            time.sleep(APART_S)  # each is its own press
            os.write(keyboard, portion.encode())

    hand = threading.Thread(target=write)
    hand.start()
    try:
        return record_actions(terminal, frames, told.append), told
    finally:
        hand.join()
        assert termios.tcgetattr(terminal) == before
        os.close(keyboard)
        os.close(terminal)


def test_presses_become_blocks_of_frames() -> None:
    actions, told = typed(["w", "w", "dw", " ", "i", "\x7f", "L", "\r"])
    assert actions == "w-8,wd-4,none-4,l-4"
    assert told[:4] == ["w-4", "w-8", "w-8,wd-4", "w-8,wd-4,none-4"]
    assert len(action_path(actions)) == 21


def test_what_is_no_key_does_nothing() -> None:
    """An arrow is an escape sequence that ends in a letter; x, 7 and ü mean nothing."""
    assert typed(["\x1b[A", "x", "7", "ü", "s", "\x1b[D", "\n"], frames=1)[0] == "s-1"


@pytest.mark.parametrize(
    ("portions", "word"), [(["w", "q"], "given up"), (["w", "\x03"], "given up"), (["\r"], "got none")]
)
def test_nothing_to_write(portions: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        typed(portions)


def test_no_terminal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+") as file, pytest.raises(InputError, match="expected a terminal"):
        record_actions(file.fileno(), 4, print)
    with pytest.raises(InputError, match="--frames: expected at least 1"):
        record_actions(0, 0, print)


def test_the_file_is_a_path_in_metres(tmp_path: Path) -> None:
    out = tmp_path / "recorded.npz"
    assert write_recorded("w-8,d-4", out, action_map("sana-v1")) == 13
    asked = asked_path(str(out), (1, 1))
    rolled = action_path("w-8,d-4", action_map("sana-v1")).world_from_cam
    assert np.abs(asked.world_from_cam - rolled).max() < 1e-9  # rotations made orthonormal again
    assert (asked.scale, asked.fps) == (ScaleKind.METRIC, 16.0)
    with pytest.raises(InputError, match=r"ending in \.npz"):
        write_recorded("w-8", tmp_path / "recorded.txt", action_map("sana-v1"))
    with pytest.raises(InputError, match="can be written"):
        write_recorded("w-8", tmp_path / "nowhere" / "recorded.npz", action_map("sana-v1"))


def test_the_verb_in_a_terminal_of_its_own(tmp_path: Path) -> None:
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "wmkit", "trajectory", "record", "--out", str(tmp_path / "r.npz"), "--json"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as verb:
        assert verb.stderr is not None
        while "deg/s" not in verb.stderr.readline():
            assert verb.poll() is None
        for key in ("w", "d", "\r"):
            os.write(keyboard, key.encode())
            time.sleep(APART_S)
        out, err = verb.communicate(timeout=60)
    os.close(keyboard)
    os.close(terminal)
    assert verb.returncode == 0, err
    told = json.loads(out)
    assert (list(told), told["poses"]) == (["actions", "action_map", "poses", "out"], 9)
    assert told["actions"] == "w-4,d-4"
    assert (tmp_path / "r.npz").exists()


def test_the_verb_without_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wmkit", "trajectory", "record", "--out", str(tmp_path / "r.npz")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert "expected a terminal" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "r.npz").exists()
