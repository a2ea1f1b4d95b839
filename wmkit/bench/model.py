"""`wmkit bench model`: what a preset costs: parameters and PFLOP by part, and a block's CPU time and memory."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wmkit.bench.model_block import BlockCost, compare_blocks
from wmkit.bench.out import write_figures
from wmkit.bench.table import aligned
from wmkit.errors import InputError
from wmkit.model.presets import preset
from wmkit.model.work import Grid, ModuleWork, count_work

__all__ = ["ModelBench", "ModelBenchOptions", "bench_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBenchOptions:
    """What to count and what to time.

    preset, grid              of the counted forward pass.
    block_preset, block_grid  of the timed block; None: no block is timed.
    rounds                    timed passes, after one that is not.
    out                       where the JSON is also written.
    """

    preset: str = "sana-wm-2.6b"
    grid: Grid = field(default_factory=lambda: Grid(frames=121, rows=22, columns=40))
    block_preset: str | None = "sana-wm-66m"
    block_grid: Grid = field(default_factory=lambda: Grid(frames=8, rows=11, columns=20, text_tokens=100))
    rounds: int = 3
    out: Path | None = None

    def __post_init__(self) -> None:
        for grid in (self.grid, self.block_grid):
            if min(grid.frames, grid.rows, grid.columns, grid.text_tokens) < 1:
                raise InputError(f"--grid: expected positive frames, rows and columns, got {grid}")
        if self.rounds < 1:
            raise InputError(f"--rounds: expected at least 1, got {self.rounds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBench:
    """The figures."""

    options: ModelBenchOptions
    work: tuple[ModuleWork, ...]
    blocks: tuple[BlockCost, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values; the keys are frozen by a test."""
        return {
            "preset": self.options.preset,
            "grid": asdict(self.options.grid),
            "parameters": sum(row.parameters for row in self.work),
            "pflop": sum(row.flop for row in self.work) / 1e15,
            "parts": [asdict(row) for row in self.work],
            "block_preset": self.options.block_preset,
            "block_grid": asdict(self.options.block_grid),
            "blocks": [asdict(row) for row in self.blocks],
        }

    def lines(self) -> list[str]:
        """Tables for people."""
        grid, total = self.options.grid, sum(row.flop for row in self.work)
        rows = [
            (row.part, f"{row.parameters / 1e6:.2f}", f"{row.flop / 1e15:.4f}", f"{100 * row.flop / max(total, 1):.1f}")
            for row in self.work
        ]
        parameters = sum(row.parameters for row in self.work)
        rows.append(("all", f"{parameters / 1e6:.2f}", f"{total / 1e15:.4f}", "100.0"))
        lines = [
            f"{self.options.preset}: one forward pass of {grid.frames} x {grid.rows} x {grid.columns} tokens, "
            f"{grid.text_tokens} of text; two operations a multiply-add",
            *aligned([("part", "10^6 parameters", "PFLOP", "%"), *rows], left=1),
        ]
        if not self.blocks:
            return lines
        size = self.options.block_grid
        lines.append(
            f"one block of {self.options.block_preset}, {size.frames} x {size.rows} x {size.columns} tokens, CPU ms "
            "of one thread and peak MiB over the inputs; both: forward and backward"
        )
        costs = [(row.kind, row.engine, *_cells(row, self._ours(row.kind))) for row in self.blocks]
        head = ("block", "engine", "forward", "both", "MiB", "MiB both", "differs")
        return [*lines, *aligned([head, *costs], left=2)]

    def _ours(self, kind: str) -> BlockCost:
        return next(row for row in self.blocks if row.kind == kind and row.engine == "wmkit")


def bench_model(options: ModelBenchOptions, note: Callable[[str], None] | None = None) -> ModelBench:
    """Count, then time. Raises ConfigError for an unknown preset, InputError when `out` cannot be written."""
    config = preset(options.preset)
    timed = None if options.block_preset is None else preset(options.block_preset)
    if note is not None:
        note(f"counting {options.preset}")
    work = count_work(config, options.grid)
    blocks: list[BlockCost] = []
    if timed is not None:
        if note is not None:
            note(f"timing a block of {options.block_preset}")
        blocks = compare_blocks(timed, options.block_grid, options.rounds)
        if note is not None and {row.engine for row in blocks} == {"wmkit"}:
            note("diffusers: not installed, so not beside it")
    result = ModelBench(options=options, work=work, blocks=tuple(blocks))
    write_figures(options.out, result.to_json())
    return result


def _cells(row: BlockCost, ours: BlockCost) -> tuple[str, ...]:
    """Figures with their ratio to ours."""
    pairs = [
        (row.forward_ms, ours.forward_ms),
        (row.both_ms, ours.both_ms),
        (row.forward_mib, ours.forward_mib),
        (row.both_mib, ours.both_mib),
    ]
    told = "-" if row.difference is None else f"{row.difference:.1e}"
    return (*(f"{value:.0f} ({value / max(own, 1e-9):.2f}x)" for value, own in pairs), told)
