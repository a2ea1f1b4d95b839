"""Reading and writing the text the formats share: numbers that survive a round trip, errors that name the line."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wmkit.camera import Array
from wmkit.errors import InputError

__all__ = ["number", "numbers", "parse_numbers", "read_lines", "read_table", "write_bytes", "write_lines"]


def number(value: float) -> str:
    """Shortest text that reads back as exactly this float64."""
    return repr(float(value))


def numbers(values: Iterable[float]) -> str:
    """`number` of each, blank-separated."""
    return " ".join(number(value) for value in values)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write UTF-8 lines with \\n endings, making parent folders; InputError when that is not possible."""
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, making parent folders; InputError when that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise InputError(f"{path}: expected a writable path, got: {error.strerror or error}") from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(line number from 1, text) of every line of a UTF-8 file; InputError when it cannot be read as such."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a file, found none") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable text file, got: {error}") from error
    return list(enumerate(text.splitlines(), start=1))


def read_table(path: Path, columns: int, what: str, skip: int = 0) -> Array:
    """(N, columns) numbers of a text file; blank lines and lines that begin with # are left out.

    `what` names the columns in errors, `skip` drops leading lines. Raises InputError naming file and line.
    """
    rows: list[list[float]] = []
    for line, text in read_lines(path)[skip:]:
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        fields = text.split()
        if len(fields) != columns:
            raise InputError(f"{path}:{line}: expected {columns} numbers ({what}), got {len(fields)} fields")
        rows.append(parse_numbers(path, line, fields))
    if not rows:
        raise InputError(f"{path}: expected at least one line of {columns} numbers ({what}), got none")
    return np.array(rows, dtype=np.float64)


def parse_numbers(path: Path, line: int, fields: list[str]) -> list[float]:
    """Finite floats of `fields`; InputError naming file and line."""
    try:
        row = [float(field) for field in fields]
    except ValueError as error:
        raise InputError(f"{path}:{line}: expected numbers, got {' '.join(fields)[:80]!r}") from error
    if not np.isfinite(row).all():
        raise InputError(f"{path}:{line}: expected finite numbers, got {' '.join(fields)[:80]!r}")
    return row
