"""`--out`: a benchmark's figures as a JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmkit.errors import InputError

__all__ = ["write_figures"]


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write them; nothing where no file was named. InputError when it cannot be written."""
    if path is None:
        return
    try:
        path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: expected a writable file at {path}, got: {error.strerror}") from None
