"""JSON files that hold one object, read with one line that says what is wrong."""

import json
from pathlib import Path
from typing import Any

from wmkit.errors import InputError

__all__ = ["read_json"]


def read_json(path: Path, advice: str = "") -> dict[str, Any]:
    """The JSON object in a UTF-8 file; InputError naming file and line when it is absent or holds anything else.

    `advice` is what to do about a damaged one.
    """
    ending = f"; {advice}" if advice else ""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a file, found none") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable text file, got: {error}{ending}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: expected JSON, got: {error.msg}{ending}") from error
    except RecursionError as error:
        raise InputError(f"{path}: expected JSON, got brackets nested too deeply to read{ending}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(plain).__name__}{ending}")
    return plain
