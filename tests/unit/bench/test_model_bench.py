"""`wmkit bench model`: counted operations against sums by hand, a timed block against diffusers', the surface."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from wmkit.bench.model import ModelBenchOptions, bench_model
from wmkit.bench.model_block import compare_blocks
from wmkit.cli import main
from wmkit.errors import InputError
from wmkit.model.presets import preset
from wmkit.model.work import Grid, count_work

GRID = Grid(frames=3, rows=4, columns=5, text_tokens=7)
TINY = preset("tiny")


def flop_by_part(**changes: object) -> dict[str, int]:
    return {row.part: row.flop for row in count_work(replace(TINY, **changes), GRID)}  # type: ignore[arg-type]


def test_counts_are_those_by_hand() -> None:
    """Tiny: width 64, 2 heads of 32, 4 blocks, the last one softmax; N = 60 video tokens, L = 7 of text."""
    N, C, L, blocks = 60, 64, 7, 4
    flop = flop_by_part()
    linear = 2 * N * C * C * blocks
    assert flop["block attn.qkv"] == 3 * linear
    for name in ("attn.proj", "attn.output_gate", "attn.q_proj_cam", "attn.out_proj_cam", "plucker_proj"):
        assert flop[f"block {name}"] == linear, name
    assert flop["block cross_attn.kv_linear"] == 2 * 2 * L * C * C * blocks
    assert flop["block cross_attn"] == 4 * N * L * C * blocks
    # q kᵀ and its product with v, main and camera half, one block; the camera half maps groups of four, too.
    softmax = 2 * 4 * N * N * C
    maps = 4 * 2 * N * (C // 2) * 4
    assert flop["block attn (softmax)"] == softmax + maps
    assert flop["block mlp 1x1"] == 2 * N * C * (2 * 3 * C + 3 * C) * blocks
    assert flop["block mlp.t_conv"] == 2 * N * C * C * 3 * blocks
    assert flop["block mlp.depth_conv"] == 2 * N * 9 * 6 * C * blocks
    assert flop["x_embedder"] == 2 * N * 16 * C


def test_softmax_grows_with_the_square_and_gdn_with_the_length() -> None:
    short, long = (
        {row.part: row.flop for row in count_work(TINY, replace(GRID, frames=frames))} for frames in (10, 40)
    )
    softmax, gdn = "block attn (softmax)", "block attn (frame-gdn)"
    assert 12 < long[softmax] / short[softmax] < 16
    assert long[gdn] / short[gdn] == pytest.approx(4, rel=0.05)  # the first frame of a scan costs a product less


def test_parameters_are_all_counted() -> None:
    assert sum(row.parameters for row in count_work(TINY, GRID)) == 508_912


@pytest.mark.timeout(300)
def test_blocks_do_the_same_and_are_measured() -> None:
    """No figure is judged here but that both engines say the same: a busy machine would decide otherwise."""
    rows = compare_blocks(TINY, GRID, rounds=1)
    assert [(row.kind, row.engine) for row in rows] == [
        ("gdn", "wmkit"), ("gdn", "diffusers"), ("softmax", "wmkit"), ("softmax", "diffusers"),
    ]  # fmt: skip
    for row in rows:
        assert min(row.forward_ms, row.both_ms) > 0
        assert row.both_mib >= 0
        if row.engine == "diffusers":
            assert row.difference is not None
            assert row.difference < (1e-5 if row.kind == "gdn" else 2**-7), "softmax rounds to bfloat16 there"


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    arguments = ["bench", "model", "--preset", "tiny", "--grid", "3x4x5", "--count-only", "--out", str(out)]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(out.read_text())
    assert list(told) == [
        "preset", "grid", "parameters", "pflop", "parts", "block_preset", "block_grid", "blocks",
    ]  # fmt: skip
    assert told["blocks"] == []
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "0.51", "0.0000", "100.0"]
    assert main(["bench", "model", "--grid", "3x4"]) == 2
    assert "such as 121x22x40, got '3x4'" in capsys.readouterr().err


def test_bad_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected at least 1, got 0"):
        ModelBenchOptions(rounds=0)
    with pytest.raises(InputError, match="positive frames"):
        ModelBenchOptions(grid=replace(GRID, rows=0))
    options = ModelBenchOptions(preset="tiny", grid=GRID, block_preset=None, out=tmp_path / "absent" / "x.json")
    with pytest.raises(InputError, match="--out: expected a writable file"):
        bench_model(options)
