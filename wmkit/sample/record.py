"""`wmkit trajectory record`: keys pressed in a terminal become an action string, a block of frames a press.

A terminal tells of presses, not of releases: a press holds its key for a fixed number of frames, and so does every
repeat of a key that stays down. Keys that arrive together are pressed together.
"""

import os
import re
import select
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wmkit.atomic import npz_bytes, write_atomic
from wmkit.camera_actions import KEYS, ActionConfig, action_path, actions_of
from wmkit.clock import monotonic_s
from wmkit.errors import InputError

__all__ = ["HELP", "record_actions", "write_recorded"]

HELP = "w a s d i j k l: a press each, together if typed at once; space: none; backspace: undo; enter: done; q: give up"
TOGETHER_S = 0.02  # bytes of one press arrive within this; a key that repeats does so every 0.03 s or more
UNDO, DONE, GIVE_UP = ("\x7f", "\b"), ("\r", "\n", "\x04"), ("q", "\x03")
SEQUENCE = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]")  # arrows and the like: they end with letters that nobody typed


def record_actions(terminal: int, frames: int, told: Callable[[str], None]) -> str:
    """The action string typed at the file descriptor of a terminal, `frames` a press; `told` has it after each.

    The terminal is as before afterwards, whatever happens. Raises InputError when it is none, for less than a frame a
    press, when nothing was typed or the recording was given up, and where the terminal goes away.
    """
    if frames < 1:
        raise InputError(f"--frames: expected at least 1 frame a press, got {frames}")
    if not os.isatty(terminal):
        raise InputError("trajectory record: expected a terminal to type in; write actions such as w-40,dw-20 instead")
    presses: list[frozenset[str]] = []
    with _by_the_key(terminal):
        for typed in _typed(terminal):
            if any(end in typed for end in GIVE_UP):
                raise InputError("trajectory record: given up, nothing is written")
            keys = frozenset(typed.lower()) & frozenset(KEYS)
            if any(key in typed for key in UNDO):
                presses = presses[:-1]
            elif keys or " " in typed:
                presses.append(keys)
            told(actions_of(press for press in presses for _ in range(frames)))
            if any(end in typed for end in DONE):
                break
    if not presses:
        raise InputError("trajectory record: expected at least one key, got none; nothing is written")
    return actions_of(press for press in presses for _ in range(frames))


def write_recorded(actions: str, out: Path, config: ActionConfig) -> int:
    """The path of `actions` as .npz that `--trajectory` reads: world_from_cam, time_s, metric; how many poses.

    InputError for another suffix and where it cannot be written.
    """
    if out.suffix.lower() != ".npz":
        raise InputError(f"--out: expected a name ending in .npz, got {out}")
    import numpy as np

    path = action_path(actions, config)
    arrays = {"world_from_cam": path.world_from_cam, "time_s": path.time_s, "metric": np.array(True)}
    try:
        write_atomic(out, npz_bytes(arrays))
    except OSError as error:
        raise InputError(f"--out: expected a file that can be written at {out}, got: {error.strerror}") from error
    return len(path)


def _typed(terminal: int) -> Iterator[str]:
    """What is typed, in portions that arrived together; ends with the terminal."""
    while True:
        typed = os.read(terminal, 64)
        until_s = monotonic_s() + TOGETHER_S
        while (left_s := until_s - monotonic_s()) > 0 and select.select([terminal], [], [], left_s)[0]:
            more = os.read(terminal, 64)
            if not more:
                break
            typed += more
        if not typed:
            return
        yield SEQUENCE.sub("", typed.decode("utf-8", errors="replace"))


@contextmanager
def _by_the_key(terminal: int) -> Iterator[None]:
    """Every key at once and unseen, Ctrl-C a key like others."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
