"""SQL over a corpus's ledger and sources, by DuckDB (extra `query`).

Tables: `clips`, the last row of every clip with one column a filter, its value or NULL where it is UNMEASURED;
`verdicts`, one row a clip and filter with unit and reason; `ledger`, every attempt as it was recorded; `sources`.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import LEDGER_SCHEMA, source_table
from wmkit.corpus.store import Corpus
from wmkit.errors import InputError

__all__ = ["QueryResult", "query_corpus"]

NESTED = ("verdicts", "timings", "scale_cues", "scale_absent")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """Column names, and rows of plain values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_json(self) -> list[dict[str, Any]]:
        """One object a row; what JSON has no word for (a time, a NaN) is a text or null."""
        return [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]

    def lines(self) -> list[str]:
        """An aligned table with a head, numbers to six digits."""
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def query_corpus(corpus: Path, sql: str) -> QueryResult:
    """What the SQL answers. Raises InputError for what DuckDB refuses, in one line, and where it is not installed."""
    try:
        duckdb: Any = importlib.import_module("duckdb")
    except ImportError:
        raise InputError("query: expected the package duckdb; run: pip install 'wmkit[query]'") from None
    opened = Corpus.open(corpus)
    makers: dict[str, Callable[[], pa.Table]] = {
        "clips": lambda: _clips(opened.columns()),
        "verdicts": lambda: _verdicts(opened.columns()),
        "ledger": opened.ledger_table,
        "sources": lambda: source_table(opened.sources()),
    }
    with duckdb.connect(":memory:") as connection:
        for name, make in makers.items():
            if name in sql.lower():  # a ledger of 213,000 clips takes seconds to lay out
                connection.register(name, make())
        try:
            answer = connection.sql(sql) if sql.strip() else None
            if answer is None:
                raise InputError("query: expected one question in SQL, got none")
            table: pa.Table = answer.to_arrow_table()
        except duckdb.Error as error:
            told = f"{' '.join(str(error).split())[:400]} (tables: {', '.join(makers)})"
            raise InputError(f"query: {told}") from None
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return QueryResult(columns=tuple(table.column_names), rows=tuple(rows))


def _clips(columns: LedgerColumns) -> pa.Table:
    table = columns.table.drop_columns(list(NESTED))
    for name, verdict in columns.verdicts.items():
        word = name if name not in table.column_names else f"verdict_{name}"
        table = table.append_column(word, pa.array(verdict.value, mask=~verdict.measured))
    return table


def _verdicts(columns: LedgerColumns) -> pa.Table:
    lists = columns.table["verdicts"].combine_chunks()
    flat: Any = lists.flatten()
    parents: Any = pa.compute.list_parent_indices(lists)  # pyright: ignore[reportAttributeAccessIssue]
    ids = columns.table["clip_id"].take(parents)
    fields = {field.name: flat.field(field.name) for field in LEDGER_SCHEMA.field("verdicts").type.value_type}
    return pa.table({"clip_id": ids, **fields})


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float | Decimal) else " ".join(str(value).split())
