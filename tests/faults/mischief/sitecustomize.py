"""A decoder that hangs or crashes, and a wall clock that is set, when a file says so (`tests.faults.chaos_kinds`).

Python imports a module of this name when it starts: with this folder in PYTHONPATH a run and all its workers are under
it. A worker that decodes a frame and finds the file `hang` or `segfault` renames it, so that one worker is hit once.
"""

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("WMKIT_CHAOS_FOLDER", "")
GUARD = "wmkit.video.guard"  # every decoder asks its `IndexBuilder.keeps` about every frame

_true_s, _true_ns = time.time, time.time_ns


def _shift_s() -> float:
    try:
        with open(f"{FOLDER}/clock") as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0


def _hit(what: str) -> bool:
    try:
        os.rename(f"{FOLDER}/{what}", f"{FOLDER}/{what}.hit")
    except OSError:
        return False
    return True


def _sick(keeps: Any) -> Any:
    def asked(builder: Any, *arguments: Any, **named: Any) -> Any:
        if _hit("hang"):
            time.sleep(86_400)
        if _hit("segfault"):
            ctypes.string_at(0)
        return keeps(builder, *arguments, **named)

    return asked


class _Finder:
    """Finds the guard once, and makes its decoders sick."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != GUARD:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            module.IndexBuilder.keeps = _sick(module.IndexBuilder.keeps)

        spec.loader.exec_module = exec_module
        return spec


if FOLDER:
    time.time = lambda: _true_s() + _shift_s()
    time.time_ns = lambda: _true_ns() + int(_shift_s() * 1e9)
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
