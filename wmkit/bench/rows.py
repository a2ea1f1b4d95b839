"""Cases worked on by processes, a row a case: appended to a JSON-lines file as each ends, so that a run resumes."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmkit.errors import ConfigError, InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items

__all__ = ["Row", "RowRun", "read_rows", "run_rows"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRun:
    """How rows are made and kept.

    engine     hash of what decides them: rows of two engines are not mixed.
    out        JSON-lines file of the rows; None keeps them in memory.
    resume     go on with the rows that are in `out` already; otherwise `out` must not exist.
    workers    processes.
    timeout_s  a case that takes longer is a failure of its own.
    """

    engine: str
    out: Path | None
    resume: bool
    workers: int
    timeout_s: float


def run_rows(
    heads: Mapping[str, Row],
    items: Mapping[str, Any],
    task: ItemTask,
    run: RowRun,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Row]:
    """Rows by case, of `items` (case -> payload): those that `out` holds and those that `task` makes.

    A case whose worker fails is its head (case -> the keys every row has) with outcome "failed".
    Raises InputError for an `out` that exists (without resume) or cannot be written, ConfigError when its rows are of
    another engine.
    """
    done = {row["case"]: row for row in _resumed(run) if row["case"] in items}
    start_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        stream = None if run.out is None else stack.enter_context(_appending(run.out))

        def record(outcome: Outcome) -> None:
            if not outcome.final:
                return
            row = outcome.result
            if row is None:
                failure = outcome.failure
                assert failure is not None
                row = {**heads[outcome.key], "outcome": "failed", "reason": f"{failure.stage}/{failure.code}"}
                row["detail"] = failure.message
            row |= {"engine": run.engine}
            done[outcome.key] = row
            if stream is not None:
                stream.write(json.dumps(row, sort_keys=True, allow_nan=False) + "\n")
                stream.flush()
            if progress is not None:
                spent_s = time.monotonic() - start_s
                progress(f"[{len(done)}/{len(items)}] {outcome.key}: {row['outcome']} {spent_s:.0f} s")

        executor = ExecutorOptions(kind="local", workers=run.workers, timeout_s=run.timeout_s, max_attempts=1)
        todo = [Item(key=key, payload=payload) for key, payload in items.items() if key not in done]
        run_items(todo, task, executor, record)
    return done


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON-lines file; a last line cut short by a kill is left out. InputError for anything else."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable JSON-lines file, got {error}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise InputError(f"{path}:{number}: expected a JSON object a line, got {line[:60]!r}") from None
        if not isinstance(row, dict) or not {"case", "outcome", "engine"} <= row.keys():
            raise InputError(f"{path}:{number}: expected a row that `wmkit bench` wrote")
        rows.append(row)
    return rows


def _resumed(run: RowRun) -> list[Row]:
    if run.out is None or not run.out.exists():
        return []
    if not run.resume:
        raise InputError(f"--out {run.out}: expected a new file, it exists; pass --resume to go on with it")
    rows = read_rows(run.out)
    if any(row["engine"] != run.engine for row in rows):
        raise ConfigError(f"--out {run.out}: expected rows of engine {run.engine}, got another's; pass another --out")
    text = run.out.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):  # a kill in mid-line
        run.out.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return rows


def _appending(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path}: expected a writable file, got: {error.strerror}") from error
