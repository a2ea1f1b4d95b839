"""Calibrate p_good for the default pose engine: run, evaluate on what was not seen, fit, write the shipped file.

    python benchmarks/calibrate_p_good.py --work DIR [--real ../shared/data/posed] [--per-family 160] [--workers 2]

1. `wmkit bench worlds` on small cases of every motion family (--per-family; a quarter of that for the two families
   without a trajectory), seeds --seed0 and on, into DIR/worlds.jsonl. Run the same command again to go on after a stop:
   finished cases are kept, and another engine's rows are refused.
2. With --real, windows of the real sequences whose reference is fine enough, into DIR/real.jsonl.
3. Held-out evaluation: each synthetic case by the other four fifths of the seeds and all families but its own, each
   real one by everything but its own sequence. The reliability table for LOG.md goes to stdout and DIR/reliability.txt.
4. A fit on everything, written to --out (the package's wmkit/annotate/confidence/p_good.json), and beside it step 3's
   reliability of all cases, which the corpus report draws (p_good_held_out.json). --dry-run leaves both.

--rows FILE... evaluates and fits finished row files instead of running anything.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.annotate.confidence.calibration import SHIPPED
from wmkit.annotate.confidence.fit import Cases, fit_calibration
from wmkit.annotate.defaults import default_config
from wmkit.atomic import json_bytes, write_atomic
from wmkit.bench.held_out import REAL, held_out_probability
from wmkit.bench.real_windows import FINE_REFERENCES, real_rows
from wmkit.bench.rows import read_rows
from wmkit.bench.worlds import WorldsOptions, bench_worlds, engine_hash
from wmkit.bench.worlds_report import Reliability, WorldsReport
from wmkit.errors import WmkitError
from wmkit.worlds.families import MOVING_FAMILIES, STILL_FAMILIES

Row = dict[str, Any]


def main() -> int:
    """Run the steps; 2 when the input cannot be used."""
    options = _arguments()
    try:
        rows = _rows(options)
        report, held_out = _evaluate(rows)
        print(report)
        options.work.mkdir(parents=True, exist_ok=True)
        (options.work / "reliability.txt").write_text(report + "\n", encoding="utf-8")
        if not options.dry_run:
            _write(rows, held_out, options.out)
    except WmkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for rows and tables")
    parser.add_argument("--real", type=Path, help="folder of real sequences with references")
    parser.add_argument("--per-family", type=int, default=160, help="small cases of each moving family")
    parser.add_argument("--seed0", type=int, default=1000, help="seed of the first case")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--rows", type=Path, nargs="+", help="finished row files; nothing is run")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="the calibration to write")
    parser.add_argument("--dry-run", action="store_true", help="evaluate only")
    return parser.parse_args()


def _rows(options: argparse.Namespace) -> list[Row]:
    if options.rows:
        return [row for file in options.rows for row in read_rows(file)]
    tell = lambda line: print(line, file=sys.stderr)
    rows: list[Row] = []
    out = options.work / "worlds.jsonl"
    for families, count in ((MOVING_FAMILIES, options.per_family), (STILL_FAMILIES, max(1, options.per_family // 4))):
        part = WorldsOptions(
            families=families,
            per_family=count,
            seed0=options.seed0,
            workers=options.workers,
            out=out,
            resume=True,
        )
        rows += bench_worlds(part, tell)
    return rows + (_real(options) if options.real else [])


def _real(options: argparse.Namespace) -> list[Row]:
    """Rows of the windows of every fine enough sequence under --real."""
    out = options.work / "real.jsonl"
    engine = engine_hash(default_config(depth=None).pose)
    rows = [row for row in (read_rows(out) if out.exists() else []) if row["engine"] == engine]
    with out.open("a", encoding="utf-8") as stream:

        def emit(row: Row) -> None:
            row["engine"] = engine
            rows.append(row)
            stream.write(json.dumps(row, sort_keys=True, allow_nan=False) + "\n")
            stream.flush()
            print(f"{row['case']}: {row['outcome']} {row.get('good')}", file=sys.stderr)

        for name in FINE_REFERENCES:
            if (options.real / name).is_dir():
                real_rows(options.real / name, {row["case"] for row in rows}, emit)
    return rows


def _judged(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["outcome"] == "posed" and row.get("features")]


def _evaluate(rows: list[Row]) -> tuple[str, Reliability]:
    """The held-out figures as text: families, rates, reliability, and each family and real sequence on its own.

    And the reliability of all held-out cases together.
    """
    posed = _judged(rows)
    probability = held_out_probability(posed)
    unseen = {id(row): float(p) for row, p in zip(posed, probability, strict=True)}
    worlds = tuple(row | {"p_good": unseen.get(id(row))} for row in rows if not row["family"].startswith(REAL))
    lines = ["p_good by calibrations that saw neither the case's seeds nor its motion family", ""]
    lines += WorldsReport(rows=worlds).lines()
    good = np.array([float(row["good"]) for row in posed])
    lines += ["", "left out            cases   good  mean p_good  |difference|"]
    for name in dict.fromkeys(row["family"] for row in posed):
        own = np.array([row["family"] == name for row in posed])
        share, mean = good[own].mean(), probability[own].mean()
        lines.append(f"{name:<24}{own.sum():>5}  {share:>5.3f}  {mean:>11.3f}  {abs(share - mean):>11.3f}")
    real = np.array([row["family"].startswith(REAL) for row in posed])
    if real.any():
        lines += ["", "real windows, their sequence left out:", *Reliability.of(probability[real], good[real]).lines()]
    return "\n".join(lines), Reliability.of(probability, good)


def _write(rows: list[Row], held_out: Reliability, out: Path) -> None:
    """Fit on every row and write the calibration, and how honest its like was on what it had not seen."""
    posed = _judged(rows)
    engines = {row["engine"] for row in posed}
    count = Counter(row["family"] for row in posed)
    seeds = sorted({row["seed"] for row in posed if not row["family"].startswith(REAL)})
    fitted = fit_calibration(
        Cases.of(posed),
        backend=default_config(depth=None).pose.name,
        engine=",".join(sorted(engines)),
        fitted_on={
            "cases": len(posed),
            "good": sum(row["good"] for row in posed),
            "families": dict(sorted(count.items())),
            "seeds": [seeds[0], seeds[-1]],
            "code": "benchmarks/calibrate_p_good.py",
        },
    )
    data = json_bytes(fitted.to_json())
    write_atomic(out, data)
    beside = {"calibration": hashlib.sha256(data).hexdigest(), **held_out.to_json()}
    write_atomic(out.with_name(f"{out.stem}_held_out.json"), json_bytes(beside))
    print(f"calibration of {len(posed)} cases written to {out}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
