"""Manifests: a CSV or Parquet table with one clip a row.

    path              a file, a folder of images (relative to the manifest's own folder) or a URL
    start_s, end_s    part of it, seconds from its first frame; either may be left empty
    caption           its text
    fov_deg | fx fy cx cy width height, sigma_log       its camera, as in --priors
    camera_height_m, camera_height_sigma_m              as --camera-height

`path` is the one column that must be there. Other columns are not used, and named. An empty cell is nothing known.
"""

import csv
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from wmkit.annotate.clip_facts import ClipFacts
from wmkit.errors import InputError
from wmkit.video import FoundClip
from wmkit.video.discover import found_file
from wmkit.video.reference import checked_span, is_url

__all__ = ["MANIFESTS", "read_manifest"]

MANIFESTS = (".csv", ".parquet")
FACTS = tuple(field.name for field in fields(ClipFacts) if field.name != "beside")
SPAN = ("start_s", "end_s")
TEXTS = ("path", "caption")
ASKED_AT_ONCE = 16
COLUMNS = ("path", *SPAN, *FACTS)

Row = tuple[str, dict[str, Any]]  # where it stands, for messages; its cells by column, empty ones left out


def read_manifest(path: Path) -> tuple[list[FoundClip], list[str]]:
    """The clips of a manifest in its order, and the columns that are not used.

    A file that is not there is a clip nevertheless, which fails alone. Raises InputError, naming row and column, for
    a table that cannot be read, a cell that cannot be, a clip that is listed twice.
    """
    try:
        columns, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
        if "path" not in columns:
            raise InputError(f"{path}: expected a column 'path', got {', '.join(columns) or 'none'}; add it")
        found: list[FoundClip] = []
        seen: dict[str, str] = {}
        with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:  # a remote file is asked for its size
            told = list(rows)
            clips = list(threads.map(lambda row: _clip(path, *row), told))
        for (where, _), clip in zip(told, clips, strict=True):
            if clip.path in seen:
                raise InputError(f"{where}: expected a clip once, got {clip.path} as in {seen[clip.path]}; remove one")
            seen[clip.path] = where
            found.append(clip)
    except OSError as error:
        raise InputError(f"{path}: expected a readable manifest, got {error.strerror or error}") from error
    if not found:
        raise InputError(f"{path}: expected at least one row, got none")
    return found, [name for name in columns if name not in COLUMNS]


def _csv(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Columns and rows; the file is UTF-8, with or without a mark, its cells perhaps quoted."""
    text = path.read_text(encoding="utf-8-sig", errors="strict") if _is_utf8(path) else None
    if text is None:
        raise InputError(f"{path}: expected a CSV in UTF-8, got other bytes; save it as UTF-8")
    lines = csv.reader(text.splitlines(keepends=True), strict=True)
    head = [name.strip() for name in next(lines, [])]
    _check_head(path, head)
    return head, _csv_rows(path, head, lines)


def _csv_rows(path: Path, head: list[str], lines: Any) -> Iterator[Row]:
    while True:
        where = f"{path} line {lines.line_num + 1}"
        try:
            cells = next(lines, None)
        except csv.Error as error:
            raise InputError(f"{where}: expected a row of CSV, got {error}; check its quotes") from None
        if cells is None:
            return
        if not cells:
            continue  # an empty line
        if len(cells) != len(head):
            raise InputError(f"{where}: expected {len(head)} cells, got {len(cells)}; quote a text that has commas")
        yield where, {name: cell.strip() for name, cell in zip(head, cells, strict=True) if cell.strip()}


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        head = list(file.schema_arrow.names)
        _check_head(path, head)
        table = file.read(columns=[name for name in head if name in COLUMNS])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a Parquet table, got {' '.join(str(error).split())}") from error
    return head, _parquet_rows(path, table)


def _parquet_rows(path: Path, table: Any) -> Iterator[Row]:
    number = 0
    for batch in table.to_batches():
        for cells in batch.to_pylist():
            number += 1
            known = {
                name: value
                for name, value in cells.items()
                if value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))
            }
            yield f"{path} row {number}", known


def _check_head(path: Path, head: Sequence[str]) -> None:
    twice = sorted({name for name in head if head.count(name) > 1})
    if twice:
        raise InputError(f"{path}: expected every column once, got {twice[0]!r} twice; rename one")


def _clip(manifest: Path, where: str, cells: dict[str, Any]) -> FoundClip:
    text = cells.get("path")
    if not isinstance(text, str):
        got = "nothing" if text is None else repr(text)
        raise InputError(f"{where}, column path: expected a file or URL, got {got}")
    known = [name for name in (*SPAN, *FACTS) if name in cells and name not in TEXTS]
    numbers: dict[str, Any] = {name: _number(where, name, cells[name]) for name in known}
    caption = cells.get("caption")
    if caption is not None and not isinstance(caption, str):
        raise InputError(f"{where}, column caption: expected a text, got {caption!r}")
    start_s, end_s = numbers.pop("start_s", 0.0), numbers.pop("end_s", None)
    try:
        span_s = checked_span(start_s, end_s)
        given = ClipFacts(caption=caption, **numbers).text()
        clip = found_file(*_location(manifest, text))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return replace(clip.part(span_s), given=given)


def _location(manifest: Path, text: str) -> tuple[str, str]:
    """Where a row's file is, and its name: below the manifest's folder as it is written, else the file's alone."""
    if is_url(text):
        return text, PurePosixPath(text.partition("?")[0]).name
    text = text.removeprefix("file://")
    below = os.path.normpath(text)
    inside = not os.path.isabs(text) and not below.startswith("..")
    return str(manifest.absolute().parent / text), Path(below).as_posix() if inside else Path(below).name


def _number(where: str, column: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or not math.isfinite(number := float(value)):
            raise ValueError
    except (TypeError, ValueError):
        message = f"expected a number, got {value!r}; correct the cell or leave it empty"
        raise InputError(f"{where}, column {column}: {message}") from None
    return number
