"""The benchmark as text: what a person compares at a glance, in at most 120 columns."""

from collections.abc import Sequence

from wmkit.bench.report import BenchReport, EngineResult, SequenceResult

__all__ = ["aligned", "render_table"]

HEAD: tuple[str, ...] = (
    "sequence",
    "engine",
    "posed",
    "ATE",
    "ATE %",
    "SE3",
    "scale %",
    "rot °",
    "RPE t",
    "RPE °",
    "focal %",
    "core-s/fr",
)
ABSENT = "-"


def render_table(report: BenchReport) -> str:
    """Figures, then core-seconds a frame by stage, then limits; see `wmkit.bench.score` for definitions."""
    rows = [HEAD]
    for sequence in report.sequences:
        if sequence.error is not None:
            rows.append((sequence.name, "failed", *[ABSENT] * (len(HEAD) - 2)))
        rows += [_row(sequence, engine) for engine in sequence.engines]
    lines = aligned(rows, left=2)
    lines += ["", "ATE, RPE t: m or the reference's unit (u), after Sim(3); SE3: as it stands; ATE %: of the path"]
    lines += ["", "core-seconds a frame by stage"]
    stages = [(s.name, e.engine, _stages(e)) for s in report.sequences for e in s.engines]
    lines += aligned(stages, left=3)
    for sequence in report.sequences:
        if sequence.peer_cost_ratio is not None:
            times, ours = sequence.peer_cost_ratio, sequence.engines[0].engine
            lines.append(f"{sequence.name}: {sequence.engines[1].engine} costs {times:.3g} times what {ours} does")
    lines += _notes(report)
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows of cells as lines of columns two blanks apart, the first `left` flush left, the others flush right."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _row(sequence: SequenceResult, engine: EngineResult) -> tuple[str, ...]:
    figures, estimate = engine.score, engine.estimate

    def length(name: str) -> str:
        metric = figures.metrics.get(name)
        if metric is None:
            return ABSENT
        return f"{metric.value:.3f}" + ("" if metric.unit == "m" else " u")

    def number(name: str, digits: int) -> str:
        value = figures.value(name)
        return ABSENT if value is None else f"{value:.{digits}f}"

    return (
        sequence.name,
        engine.engine,
        f"{estimate.posed}/{estimate.frames}",
        length("ate_sim3"),
        number("ate_percent", 2),
        length("ate_se3"),
        number("scale_error", 1),
        number("rotation_error", 2),
        length("rpe_translation"),
        number("rpe_rotation", 2),
        number("focal_error", 1),
        f"{engine.core_seconds_per_frame:.3f}",
    )


def _stages(engine: EngineResult) -> str:
    frames = engine.estimate.frames
    shown = [(stage, seconds / frames) for stage, seconds in engine.core_seconds.items()]
    return "  ".join(f"{stage} {value:.3f}" for stage, value in shown if value >= 0.0005)


def _notes(report: BenchReport) -> list[str]:
    lines = []
    for sequence in report.sequences:
        if sequence.error is not None:
            lines.append(f"{sequence.name}: {sequence.error}")
        for engine in sequence.engines:
            if engine.estimate.reason:
                lines.append(f"{sequence.name}: {engine.engine}: no trajectory ({engine.estimate.reason})")
    checks = [check for sequence in report.sequences for check in sequence.checks]
    if checks:
        lines += ["", "limits"]
        lines += [f"{'held  ' if check.held else 'MISSED'}  {check.line}" for check in checks]
    if report.limits_not_run:
        lines.append(f"limits of sequences that were not run: {', '.join(report.limits_not_run)}")
    return lines
